"""A person's terminal lent to a guest's console: keys go in, what the console says from then on comes out."""

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from inotify_simple import INotify, flags

_CHUNK = 1 << 16


@contextlib.contextmanager
def lend(log: Path, keyboard: IO[bytes]) -> Iterator[None]:
    """Lend the terminal for as long as the block runs: `log` is what QEMU writes, `keyboard` what it reads."""
    keys = sys.stdin.fileno()
    before, over = termios.tcgetattr(keys), os.eventfd(0)
    with log.open("rb", buffering=0) as said, INotify() as grown:
        said.seek(0, os.SEEK_END)
        grown.add_watch(log, flags.MODIFY)
        relay = threading.Thread(target=_relay, args=(keys, keyboard, said, grown, over), name="terminal", daemon=True)
        tty.setraw(keys)
        relay.start()
        try:
            yield
        finally:
            os.eventfd_write(over, 1)
            relay.join()
            os.close(over)
            with contextlib.suppress(termios.error):  # it may have gone
                termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _relay(keys: int, keyboard: IO[bytes], said: IO[bytes], grown: INotify, over: int) -> None:
    poll = select.poll()
    for fd in (keys, grown.fileno(), over):
        poll.register(fd, select.POLLIN)
    ready: set[int] = set()
    while over not in ready:
        ready = {fd for fd, _ in poll.poll()}
        if keys in ready:
            typed = _read(keys)
            if not typed:  # the terminal is gone
                poll.unregister(keys)
            with contextlib.suppress(BrokenPipeError):  # QEMU is gone: whoever waits for the guest says so
                os.write(keyboard.fileno(), typed)
        if grown.fileno() in ready:
            grown.read(timeout=0)
        while chunk := said.read(_CHUNK):
            with contextlib.suppress(OSError):
                os.write(sys.stdout.fileno(), chunk)


def _read(keys: int) -> bytes:
    try:
        return os.read(keys, _CHUNK)
    except OSError:
        return b""
