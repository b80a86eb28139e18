"""Files that several runs share: replaced whole, and guarded by flock(2), which ends with the process."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kvm import proc
from kvm.errors import InfraError, UserError

log = logging.getLogger(__name__)

LOCK_POLL_SECONDS = 0.1  # flock(2) gives no descriptor to wait for


def write_if_other(path: Path, content: str) -> None:
    """Replace `path` atomically, unless that is what it holds."""
    try:
        same = path.read_text(encoding="utf-8") == content
    except (OSError, ValueError):
        same = False
    if not same:
        write(path, content)


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
    except OSError as fault:  # write(2) does not know a name
        fault.filename = fault.filename or str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def meant(name: str) -> str:
    """Return the name of the file that a draft of write() would have become; that of any other file as it is."""
    draft = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", name)
    return draft[1] if draft else name


def read(path: Path, most: int) -> bytes:
    """Read a file that is not trusted; OSError if it is longer than `most` bytes, a link, or no plain file."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        if found.st_size > most:  # said by its size alone: a sparse file is as long to whoever reads it
            raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB" if most >> 20 else "too large", str(path))
        return file.read(most)


def read_text(path: Path, most: int) -> str:
    """`read` as UTF-8, with marks for what is none."""
    return read(path, most).decode("utf-8", "replace")


def expanded(path: str | Path) -> Path:
    """Put in whose home `~` or `~USER` is; raises UserError for a user whom nobody knows."""
    try:
        return Path(path).expanduser()
    except RuntimeError as fault:
        raise UserError(f"{path}: nobody knows whose home that is") from fault


@contextlib.contextmanager
def kept(path: Path, what: str) -> Iterator[None]:
    """Have a file or directory that is written in the block whole, or not at all: why `what` could not be is said."""
    try:
        yield
    except BaseException as fault:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if not isinstance(fault, InfraError | OSError):
            raise
        log.warning("%s: %s could not be kept: %s", path, what, fault)


def clear(directory: Path) -> None:
    """Remove a directory of somebody who may have made that hard, by depth or permissions; there may be none."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        proc.run(["chmod", "--recursive", "u+rwX", directory])  # as its owner can
        proc.check(["rm", "--recursive", "--force", directory])


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """Lend an empty directory for what is not trusted, and remove it with all that is left there."""
    top = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield top
    finally:
        clear(top)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the lock on a directory itself, no link to one; raises BlockingIOError at once where another holds it."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def try_lock(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Hold the lock file `path` if nobody else does, with LOCK_SH otherwise than so; yields whether it is held."""
    descriptor = _flock(path, how)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _let_go(descriptor, path)


@contextlib.contextmanager
def lock(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock file `path`; another run that holds it is waited for, and a stop request ends the wait.

    With LOCK_SH all others who have it so hold it, too.
    """
    while (descriptor := _flock(path, how)) is None:
        proc.wait_readable([], LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        _let_go(descriptor, path)


@contextlib.contextmanager
def hold(*entries: Path) -> Iterator[None]:
    """Keep `entries` of a cache (ROOT/PART/NAME), be they there yet or not, from being removed; others may hold them,
    too. Whoever is just removing one is waited for.
    """
    with contextlib.ExitStack() as stack:
        for entry in entries:
            stack.enter_context(lock(_hold_lock(entry), fcntl.LOCK_SH))
        yield


def try_alone(entry: Path) -> contextlib.AbstractContextManager[bool]:
    """Keep others from `entry` of a cache if nobody holds it; yields whether that is so."""
    return try_lock(_hold_lock(entry))


def _hold_lock(entry: Path) -> Path:
    return entry.parent.parent / "locks" / f"hold-{entry.parent.name}-{entry.name}"


def _flock(path: Path, how: int) -> int | None:
    """Lock the file that is at `path`, made if need be; None if others have it, or are about to remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        stack.callback(os.close, descriptor)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                stack.pop_all()
                return descriptor
    return None


def _let_go(descriptor: int, path: Path) -> None:
    """Unlock; the last one to do so removes the file."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    os.close(descriptor)


def room(path: Path) -> int:
    """Return the bytes that this user can still write below `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
