"""What a suite takes into the guest: files by their place below its directory there, in one archive."""

import hashlib
import io
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from kvm import elf
from kvm.errors import UserError
from orchestrator import cache

INSIDE = "/tmp/suites"  # noqa: S108  (in the guest)
SCRATCH = "/dev/scratch"  # in the guest, the empty disk of a suite that asks for one
_RECIPE = 1
_MOST_BYTES = 2 << 30


def inside(name: str) -> str:
    """Return the directory of the suite `name` in the guest."""
    return f"{INSIDE}/{name}"


@dataclass
class Stage:
    """Host files, symbolic links, scripts and contents, by place; a place is relative, and given once."""

    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    binaries: dict[str, bytes] = field(default_factory=dict)

    def add_tree(self, directory: Path, place: str = "") -> None:
        """Take all below `directory` along; links stay links, and what is no file is left out."""
        for top, below, names in os.walk(directory):
            for name in sorted((*below, *names)):
                path = Path(top, name)
                at = str(Path(place, path.relative_to(directory)))
                if path.is_symlink():
                    self.links[at] = os.readlink(path)  # noqa: PTH115  (a string, as it stands there)
                elif path.is_file():
                    self.files[at] = path


def pack(name: str, stage: Stage, cache_dir: Path) -> Path:
    """Return the archive of `stage`, from the cache if the same was packed before."""
    key = hashlib.sha256(f"{_RECIPE} {name}".encode())
    for place, path in sorted(stage.files.items()):
        key.update(f"\0{place}\0{_mode(path):o}\0{cache.sha256(path)}".encode("utf-8", "surrogateescape"))
    for place, words in sorted({**stage.links, **stage.texts}.items()):
        key.update(f"\0{place}\0{place in stage.links}\0{words}".encode("utf-8", "surrogateescape"))
    for place, content in sorted(stage.binaries.items()):
        key.update(f"\0{place}\0{hashlib.sha256(content).hexdigest()}".encode())
    final = cache.keep(cache_dir / "suites" / key.hexdigest()[:40])
    if not cache.find(final, lambda directory: directory / "payload.tar"):
        with cache.publish(final) as draft:
            _write(name, stage, draft / "payload.tar")
            cache.seal(draft)
    return final / "payload.tar"


def _write(name: str, stage: Stage, into: Path) -> None:
    size = sum(path.stat().st_size for path in stage.files.values())
    if size > _MOST_BYTES:
        raise UserError(
            f"suite {name} holds {size >> 20} MiB, more than the {_MOST_BYTES >> 20} MiB that a guest is given",
            hint="name what it needs under binaries and files of a suite.yaml",
        )
    with tarfile.open(into, "w", format=tarfile.GNU_FORMAT) as archive:
        for place, path in sorted(stage.files.items()):
            entry = tarfile.TarInfo(place)
            entry.mode, entry.size = _mode(path), path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)
        for place, target in sorted(stage.links.items()):
            link = tarfile.TarInfo(place)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        contents = {place: text.encode() for place, text in stage.texts.items()} | stage.binaries
        for place, words in sorted(contents.items()):
            entry = tarfile.TarInfo(place)
            entry.mode, entry.size = 0o755, len(words)
            archive.addfile(entry, io.BytesIO(words))


def _mode(path: Path) -> int:
    """Programs can be executed, whoever lost that on the way."""
    executable = path.stat().st_mode & 0o111 or elf.machine(path) or shebang(path)
    return 0o755 if executable else 0o644


def shebang(path: Path) -> list[str]:
    """Return the words behind `#!`; none if there are none."""
    try:
        with path.open("rb") as file:
            first = file.readline(256)
    except OSError:
        return []
    return first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
