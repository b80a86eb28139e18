"""What the cache holds, entry by entry, what of it can go, and how it goes."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm import disk
from orchestrator.cache import PARTS, aside, notes, set_aside


@dataclass(frozen=True)
class Entry:
    """One thing that can be made again: `size` in bytes on disk, `used` when a run last wanted it (seconds), and
    whether a run holds it now.
    """

    path: Path
    size: int
    used: float
    held: bool = False

    @property
    def part(self) -> str:
        """Which part of the cache it is in."""
        return self.path.parent.name

    @property
    def is_draft(self) -> bool:
        """Was it to become an entry, or is it what is left of one that was being removed?"""
        return self.path.name.startswith(".")


def take(root: Path) -> list[Entry]:
    """Find everything in the cache that can be made again, the longest unused first."""
    sizes, found = _Sizes(), []
    for path in (path for part in PARTS if (root / part).is_dir() for path in (root / part).iterdir()):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            if not _is_note(path):
                size = sum(sizes.of(one) for one in (path, *notes(path)))
                found.append(Entry(path, size, path.stat().st_mtime, _is_held(path)))
    return sorted(found, key=lambda entry: entry.used)


def rest(root: Path) -> dict[str, int]:
    """Return the size of each part that is no entries: what is in bytes on disk."""
    others = [path for path in root.iterdir() if path.name not in PARTS] if root.is_dir() else []
    return {path.name: size(path) for path in others}


def size(path: Path) -> int:
    """Return the bytes on disk of `path` and all below; a file with several names counts in part."""
    return _Sizes().of(path)


def stale(found: Sequence[Entry], *, now: float, age: float, most: int | None = None) -> list[Entry]:
    """Choose what can go: drafts, what was not used for `age` seconds, and the longest unused until `most` bytes are
    left; what a run holds stays in any case.
    """
    whole, going = sum(entry.size for entry in found), []
    for entry in found:
        too_much = most is not None and whole > most
        if not entry.held and (entry.is_draft or now - entry.used > age or too_much):
            going.append(entry)
            whole -= entry.size
    return going


def remove(going: Iterable[Entry]) -> list[Entry]:
    """Remove entries, but none that a run holds or has used since it was found; returns those that went."""
    return [entry for entry in going if _remove(entry)]


def _remove(entry: Entry) -> bool:
    with aside(entry.path) as gone, _alone(entry.path) as alone:  # who wants it waits for renames, not for the rest
        try:
            if alone and entry.path.stat().st_mtime == entry.used:
                set_aside(entry.path, gone)
                return True
        except FileNotFoundError:  # another gc was faster
            pass
        return False


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Keep others from an entry if nobody holds it, or what a draft of it was to become; yields whether that is so."""
    owners = [path]
    if path.name.startswith("."):  # .NAME.RANDOM, or .NAME.NOTE.RANDOM; a name may have dots in it
        words = path.name.strip(".").split(".")
        owners = [path.with_name(".".join(words[:count])) for count in range(1, len(words))]
    with contextlib.ExitStack() as stack:
        yield all(stack.enter_context(disk.try_alone(owner)) for owner in owners)


def _is_note(path: Path) -> bool:
    return not path.is_dir() and not path.name.startswith(".") and path.with_name(path.name.partition(".")[0]).is_dir()


def _is_held(path: Path) -> bool:
    with _alone(path) as alone:
        return not alone


class _Sizes:
    """Bytes on disk; of a file with several names, which trees share, each name has its part."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}  # by inode: 19 trees of 70,000 names share nearly all of them

    def of(self, path: Path) -> int:
        """The bytes of `path` and all below."""
        size, pending = path.lstat().st_blocks * 512, [path]
        while pending:
            with contextlib.suppress(OSError), os.scandir(pending.pop()) as below:  # a file is no directory
                for one in below:
                    is_directory = one.is_dir(follow_symlinks=False)
                    if is_directory:
                        pending.append(Path(one.path))
                    if one.inode() not in self._known:
                        stat = one.stat(follow_symlinks=False)
                        self._known[one.inode()] = stat.st_blocks * 512 // (1 if is_directory else stat.st_nlink)
                    size += self._known[one.inode()]
        return size
