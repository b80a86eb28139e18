"""Waiting for a file to grow: by inotify, else by looking now and then."""

import contextlib
import math
from pathlib import Path

from inotify_simple import INotify, flags

_LOOK_SECONDS = 0.05


class Growth:
    """Wait until one of `fds` is readable, `patience` seconds at most: then the file may have grown."""

    def __init__(self, path: Path) -> None:
        self._inotify: INotify | None = None
        with contextlib.suppress(OSError), contextlib.ExitStack() as unless:  # a user has so many, 128 by default
            watch = unless.enter_context(INotify())
            watch.add_watch(path, flags.MODIFY)
            unless.pop_all()
            self._inotify = watch
        self.fds = [self._inotify.fileno()] if self._inotify else []
        self.patience = math.inf if self._inotify else _LOOK_SECONDS

    def seen(self) -> None:
        """Say that the file is read up to here."""
        if self._inotify:
            self._inotify.read(timeout=0)

    def close(self) -> None:
        """Stop waiting."""
        with contextlib.suppress(OSError):
            if self._inotify:
                self._inotify.close()
