"""Where what may be used again is kept: content-addressed, published whole by one rename."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from kvm import disk
from kvm.errors import Interrupted

log = logging.getLogger(__name__)

T = TypeVar("T")

DRAFT_SECONDS = 6 * 3600.0  # no run works on one draft for longer
BUSY_SECONDS = 3600.0  # a run that found it may still be on the way to it
PARTS = ("builds", "checks", "objects", "suites", "trees")
LOCKS = {"objects": "objects", "trees": "tree"}  # part -> the first word of its entries' lock files


def default_root() -> Path:
    """Return $KDELTA_CACHE, else $XDG_CACHE_HOME/kdelta, else ~/.cache/kdelta."""
    if named := os.environ.get("KDELTA_CACHE"):
        return Path(named).expanduser().resolve()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "kdelta"


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
        shutil.rmtree(draft, ignore_errors=True)
        raise
    shutil.rmtree(draft, ignore_errors=True)


def remember(
    where: Path,
    inputs: list[object],
    form: TypeAdapter[T],
    look: Callable[[], T],
    *,
    whole: Callable[[T], bool] = lambda _: True,
) -> T:
    """Return what `look` gave for the same `inputs` before, or gives now; kept in a file whose name begins as `where`.

    An answer that is not `whole` is asked for again the next time.
    """
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    kept = where.with_name(f"{where.name}-{key}.json")
    try:
        return form.validate_json(kept.read_bytes())
    except (OSError, ValueError):
        seen = look()
        if whole(seen):
            disk.write(kept, form.dump_json(seen))
        return seen


def clear(final: Path) -> None:
    """Remove the drafts that interrupted runs left of `final`; the caller keeps other runs from making one."""
    for draft in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(draft, ignore_errors=True)


def _rename_new(draft: Path, final: Path) -> None:
    try:
        draft.rename(final)
    except OSError as error:  # ENOTEMPTY: rename(2) replaces only an empty directory
        if final.is_dir():
            raise FileExistsError(final) from error
        raise


@dataclass(frozen=True)
class Entry:
    """One thing that can be made again: `size` in bytes on disk, `used` when a run last wanted it (seconds)."""

    path: Path
    size: int
    used: float

    @property
    def part(self) -> str:
        """Which part of the cache it is in."""
        return self.path.parent.name


def entries(root: Path) -> list[Entry]:
    """Find everything in the cache that can be made again, the longest unused first."""
    paths = [path for part in PARTS if (root / part).is_dir() for path in (root / part).iterdir() if path.is_dir()]
    found = [Entry(path, _size(path), path.stat().st_mtime) for path in paths]
    return sorted(found, key=lambda entry: entry.used)


def stale(found: Sequence[Entry], *, now: float, age: float, most: int | None = None) -> list[Entry]:
    """Choose what can go: drafts that no run writes any more, what was not used for `age` seconds, and the longest
    unused until `most` bytes are left. What was used within BUSY_SECONDS stays in any case.
    """
    whole, going = sum(entry.size for entry in found), []
    for entry in found:
        idle = now - entry.used
        forsaken = entry.path.name.startswith(".") and idle > DRAFT_SECONDS
        too_much = most is not None and whole > most and idle > BUSY_SECONDS
        if idle > age or forsaken or too_much:
            going.append(entry)
            whole -= entry.size
    return going


def remove(root: Path, going: Iterable[Entry]) -> list[Entry]:
    """Remove entries, but none that a run holds the lock of; returns those that went."""
    gone = []
    for entry in going:
        lock = LOCKS.get(entry.part)
        with contextlib.ExitStack() as stack:
            if lock and not stack.enter_context(disk.try_lock(root / "locks" / f"{lock}-{entry.path.name}")):
                continue
            shutil.rmtree(entry.path, ignore_errors=True)
            for beside in entry.path.parent.glob(f"{entry.path.name}.*"):  # notes about it
                beside.unlink(missing_ok=True)
            gone.append(entry)
    return gone


def trim(root: Path, most: int) -> None:
    """Keep no more than `most` bytes of what can be made again, the last used; walks the whole cache."""
    gone = remove(root, stale(entries(root), now=time.time(), age=float("inf"), most=most))
    if gone:
        log.info("the cache had outgrown its limit: freed %d MiB", sum(entry.size for entry in gone) >> 20)


def _size(path: Path) -> int:
    """The bytes below `path`; of a file with several names, which trees share, each name has its part."""
    size = 0
    for top, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                stat = os.lstat(os.path.join(top, name))  # noqa: PTH118  (75,000 files: pathlib takes seconds)
                size += stat.st_blocks * 512 // stat.st_nlink
    return size
