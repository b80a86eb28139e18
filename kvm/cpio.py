"""A bit-reproducible writer of newc cpio archives, the format of an initramfs; makes device nodes without root.

Format: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 512  # archives padded to whole blocks can be concatenated; the kernel skips the zeros between them


@dataclass(frozen=True)
class Entry:
    """One member, owned by root, with modification time 0; `mode` holds file type and permissions."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str, permissions: int = 0o755) -> Entry:
    """Describe a directory."""
    return Entry(name, stat.S_IFDIR | permissions)


def file(name: str, content: bytes, permissions: int = 0o644) -> Entry:
    """Describe a regular file."""
    return Entry(name, stat.S_IFREG | permissions, content)


def link(name: str, target: str) -> Entry:
    """Describe a symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    """Describe a character device node."""
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the archive of `entries`, in their order: a directory comes before what is in it."""
    members = [_member(number, entry) for number, entry in enumerate(entries, start=1)]
    return _padded(b"".join(members) + _member(0, Entry("TRAILER!!!", 0)), BLOCK)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name, 4) + _padded(entry.content, 4)


def _padded(content: bytes, multiple: int) -> bytes:
    return content + b"\0" * (-len(content) % multiple)
