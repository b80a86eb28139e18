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
from collections.abc import Callable, Iterator
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
        with aside(directory) as gone:
            set_aside(directory, gone)
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
def aside(entry: Path) -> Iterator[Path]:
    """Lend a directory to set `entry` into, which is then removed."""
    with scratch(Path(tempfile.mkdtemp(prefix=f".{entry.name.strip('.')}.", dir=entry.parent))) as empty:
        yield empty


def set_aside(entry: Path, into: Path) -> None:
    """Move an entry, with the files about it, into such a directory."""
    for path in (entry, *notes(entry)):
        path.rename(into / path.name)


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


def notes(path: Path) -> list[Path]:
    """The files about the directory `path`, which stand beside it under its name."""
    return [note for note in path.parent.glob(f"{glob.escape(path.name)}.*") if not note.is_dir()]
