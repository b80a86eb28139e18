"""Files that several runs share: replaced whole, and guarded by flock(2)."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from kvm import proc

LOCK_POLL_SECONDS = 0.1  # flock(2) gives no descriptor to wait for


def write(path: Path, content: bytes | str) -> None:
    """Replace `path` atomically, readable by all; its directory is made. A reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if nobody else does; yields whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path, thread_local=False)
    try:
        held.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; another run that holds it is waited for, and a stop request ends the wait."""
    while True:
        with try_lock(path) as held:
            if held:
                yield
                return
        proc.wait_readable([], LOCK_POLL_SECONDS)


def room(path: Path) -> int:
    """Return the bytes that this user can still write below `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
