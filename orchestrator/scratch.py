"""A temporary directory of this process's own, so that what it leaves when it is killed is found and goes."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kvm import disk

_YOUNG_SECONDS = 60.0  # its owner may not have come to lock it


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Give `tempfile` a directory of our own, and remove those of processes that are no more."""
    top, prefix = Path(tempfile.gettempdir()), f"kdelta-{os.getuid()}-"
    for path in top.glob(f"{prefix}*"):
        _sweep(path)
    with tempfile.TemporaryDirectory(prefix=prefix) as mine, disk.alone(Path(mine)):  # the lock says that we live
        tempfile.tempdir = mine
        try:
            yield
        finally:
            tempfile.tempdir = str(top)


def _sweep(path: Path) -> None:
    """Remove it, if it is ours and nobody's any more; what belongs to another user is left alone."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if found.st_uid == os.getuid() and time.time() - found.st_mtime > _YOUNG_SECONDS:
            with disk.alone(path):
                disk.clear(path)
