"""Where what may be used again is kept: content-addressed, published whole by one rename."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kvm.errors import Interrupted

DRAFT_SECONDS = 6 * 3600.0  # no run works on one draft for longer


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
    draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield draft
        draft.chmod(0o755)
        with contextlib.suppress(FileExistsError):
            _rename_new(draft, final)
    except Interrupted:
        raise  # removing 75,000 files takes longer than a person waits for Ctrl-C: clear() or sweep() does it
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    shutil.rmtree(draft, ignore_errors=True)


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


def sweep(root: Path, age_seconds: float, *, remove: bool) -> dict[str, tuple[int, int]]:
    """Measure each part of the cache in bytes, whole and what was not used for `age_seconds`; `remove` deletes that.

    Only what can be made again goes, and nothing that a run holds a lock on.
    """
    limit = time.time() - age_seconds
    found = {}
    for part in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
        old = 0
        if part.name in ("builds", "objects", "suites", "trees"):
            for entry in [entry for entry in part.iterdir() if entry.stat().st_mtime < _kept_until(entry, limit)]:
                old += _size(entry)
                if remove:
                    shutil.rmtree(entry, ignore_errors=True)
        found[part.name] = (_size(part), old)
    return found


def _kept_until(entry: Path, limit: float) -> float:
    """Drafts are of no use to anyone but the run that writes them."""
    return max(limit, time.time() - DRAFT_SECONDS) if entry.name.startswith(".") else limit


def _size(path: Path) -> int:
    """The bytes below `path`, each file once however often it is linked."""
    seen = {}
    for top, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                stat = os.lstat(os.path.join(top, name))  # noqa: PTH118  (75,000 files: pathlib takes seconds)
                seen[stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())
