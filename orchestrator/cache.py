"""Where what may be used again is kept: content-addressed, published whole by one rename, held while a run uses it."""

import atexit
import contextlib
import glob
import hashlib
import json
import logging
import os
import pwd
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from kvm import disk
from kvm.errors import Interrupted, UserError

log = logging.getLogger(__name__)

T = TypeVar("T")

PARTS = (
    "apt",
    "builds",
    "checks",
    "debian-kernel",
    "durations",
    "flakes",
    "git",
    "objects",
    "rootfs",
    "suites",
    "trees",
)
_SEAL = "seal.json"


def default_root() -> Path:
    """Return $KDELTA_CACHE, else $XDG_CACHE_HOME/kdelta, else ~/.cache/kdelta."""
    if named := os.environ.get("KDELTA_CACHE"):
        return disk.expanded(named).resolve()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "kdelta"


def require_own(root: Path) -> None:
    """Raise UserError for a cache of another user: what it holds is run, what we put there is not theirs."""
    if root.exists() and (owner := root.stat().st_uid) != os.geteuid():
        raise UserError(
            f"the cache {root} belongs to {_user(owner)}, and you are {_user(os.geteuid())}",
            hint="a cache is one user's: $KDELTA_CACHE or --cache-dir names one of yours",
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextlib.contextmanager
def publish(final: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `final` when the block succeeds; readers never see half of it.

    If another run published the same content first, theirs stays and ours is dropped.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with scratch(Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))) as draft:
        yield draft
        draft.chmod(0o755)
        with contextlib.suppress(FileExistsError):
            _rename_new(draft, final)


@contextlib.contextmanager
def scratch(draft: Path) -> Iterator[Path]:
    """Lend the directory `draft` and remove what is left of it; when interrupted it stays, for clear() or gc."""
    try:
        yield draft
    except Interrupted:
        raise  # removing 75,000 files takes longer than a person waits for Ctrl-C
    except BaseException:
        disk.clear(draft)
        raise
    disk.clear(draft)


def remember(
    where: Path,
    inputs: list[object],
    form: TypeAdapter[T],
    look: Callable[[], T],
    *,
    whole: Callable[[T], bool] = lambda _: True,
) -> T:
    """Return what `look` gave for the same `inputs` before, or gives now; kept in a file whose name begins as `where`.

    An answer that is not `whole` is asked for again the next time, and so is one that is not as it was written.
    """
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    kept = where.with_name(f"{where.name}-{key}.json")
    try:
        digest, _, answer = kept.read_bytes().partition(b"\n")
        if digest == _digest(answer):
            return form.validate_json(answer)
    except (OSError, ValueError):
        pass
    seen = look()
    if whole(seen):
        answer = form.dump_json(seen)
        disk.write(kept, _digest(answer) + b"\n" + answer)
    return seen


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def key(inputs: list[object]) -> str:
    """Name what is made of `inputs`, and of nothing else."""
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:40]


def seal(draft: Path) -> None:
    """Write down what every file in the directory `draft` holds, by its hash: the last step before it is published."""
    hashes = {path.name: sha256(path) for path in sorted(draft.iterdir())}
    (draft / _SEAL).write_text(json.dumps(hashes), encoding="utf-8")


def find(directory: Path, read: Callable[[Path], T]) -> T | None:
    """Read what is published in `directory`; None where there is nothing. What was damaged goes, to be made again."""
    part, name = directory.parent.name, directory.name
    with disk.lock(directory.parent.parent / "locks" / f"find-{part}-{name}"):
        if not directory.is_dir():
            return None
        if not (why := _damage(directory)):
            try:
                found = read(directory)
                os.utime(directory)  # last use, for gc
                return found
            except (OSError, ValueError, TypeError) as fault:
                why = str(fault)
        log.warning("%s/%s in the cache was damaged, and will be made again: %s", part, name[:12], why)
        with _aside(directory) as aside:
            _set(aside, directory)
        return None


def _damage(directory: Path) -> str:
    """Say what is not as it was sealed; "" where all is. What was put there later does not count."""
    try:
        hashes = dict(json.loads((directory / _SEAL).read_bytes()))
    except (OSError, ValueError, TypeError):
        return f"{_SEAL} is missing or cannot be read"
    for name, digest in hashes.items():
        try:
            if sha256(directory / name) != digest:
                return f"{name} is not as it was written"
        except OSError as fault:
            return f"{name}: {fault.strerror}"
    return ""


@contextlib.contextmanager
def _aside(entry: Path) -> Iterator[Path]:
    """Lend a directory to set `entry` into, which is then removed."""
    with scratch(Path(tempfile.mkdtemp(prefix=f".{entry.name.strip('.')}.", dir=entry.parent))) as aside:
        yield aside


def _set(aside: Path, entry: Path) -> None:
    for path in (entry, *_notes(entry)):
        path.rename(aside / path.name)


def sha256(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def clear(final: Path) -> None:
    """Remove the drafts that interrupted runs left of `final`; the caller keeps other runs from making one."""
    for draft in final.parent.glob(f".{glob.escape(final.name)}.*"):
        disk.clear(draft)


def _rename_new(draft: Path, final: Path) -> None:
    try:
        draft.rename(final)
    except OSError as error:  # ENOTEMPTY: rename(2) replaces only an empty directory
        if final.is_dir():
            raise FileExistsError(final) from error
        raise


class _Kept:
    """What this process holds until it ends; a name is held once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[Path, contextlib.ExitStack] = {}

    def add(self, entry: Path) -> None:
        with self._guard:
            if entry not in self._held:
                self._held[entry] = contextlib.ExitStack()
                self._held[entry].enter_context(disk.hold(entry))

    def clear(self) -> None:
        with self._guard:
            while self._held:
                self._held.popitem()[1].close()


_kept = _Kept()
atexit.register(_kept.clear)


def keep(entry: Path) -> Path:
    """Hold `entry` until let_go(), or the end of this process, for one that is used wherever its path goes."""
    _kept.add(entry)
    return entry


def let_go() -> None:
    """Hold nothing any more that was kept."""
    _kept.clear()


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


def entries(root: Path) -> list[Entry]:
    """Find everything in the cache that can be made again, the longest unused first."""
    sizes, found = _Sizes(), []
    for path in (path for part in PARTS if (root / part).is_dir() for path in (root / part).iterdir()):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            if not _is_note(path):
                size = sum(sizes.of(one) for one in (path, *_notes(path)))
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
    with _aside(entry.path) as aside, _alone(entry.path) as alone:  # who wants it waits for renames, not for the rest
        try:
            if alone and entry.path.stat().st_mtime == entry.used:
                _set(aside, entry.path)
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


def _notes(path: Path) -> list[Path]:
    """The files about the directory `path`, which stand beside it under its name."""
    return [note for note in path.parent.glob(f"{glob.escape(path.name)}.*") if not note.is_dir()]


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
