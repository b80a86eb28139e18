"""Mail folders that are directories, Maildir and MH: which of their files are the messages."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import listing

_DELETED = re.compile(r"[:;!]2,[A-Za-z]*T")  # a Maildir file's flags
_NAMED = 3  # folders that a note names


@dataclass(frozen=True)
class Folder:
    """The files with the messages, in the order of their names, what was left out, and the folders inside."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]
    inner: tuple[str, ...]

    @property
    def unread(self) -> tuple[str, ...]:
        """A note that names the folders inside, if there are any: they are folders of their own."""
        return (f"its folders are not read: {listing.first(self.inner, _NAMED)}",) if self.inner else ()


def maildir(path: Path) -> Folder | None:
    """Return the messages of a Maildir, of which `cur`, or else `new` and `tmp`, are there; None if it is none."""
    parts = [path / name for name in ("cur", "new") if (path / name).is_dir()]
    if not parts or (parts[0].name == "new" and not (path / "tmp").is_dir()):
        return None
    entries = [entry for part in parts for entry in part.iterdir() if not entry.name.startswith(".")]
    files = [entry for entry in entries if entry.is_file()]
    kept = [file for file in files if not _DELETED.search(file.name)]
    gone = [entry.name for entry in entries if entry.is_symlink() and not entry.exists()]
    deleted = len(files) - len(kept)
    notes = [f"{name} is a link to nothing and left out" for name in sorted(gone)]
    if deleted:
        what = "1 message is" if deleted == 1 else f"{deleted} messages are"
        notes.append(f"{what} marked as deleted and left out")
    return Folder(_sorted(kept), tuple(notes), inside(path))


def mh(path: Path) -> Folder | None:
    """Return the messages of an MH folder, files whose names are numbers; None if there are none."""
    files = [entry for entry in path.iterdir() if re.fullmatch(r"[1-9]\d{0,8}", entry.name) and entry.is_file()]
    return Folder(_sorted(files), (), inside(path)) if files else None


def inside(path: Path) -> tuple[str, ...]:
    """Return the names of the Maildirs that are in the directory."""
    return tuple(sorted(entry.name for entry in path.iterdir() if (entry / "cur").is_dir()))


def natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names so that 2 comes before 10."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d{1,15})", name)]


def _sorted(files: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted(files, key=lambda file: natural(file.name)))
