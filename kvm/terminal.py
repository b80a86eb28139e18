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

from kvm import proc
from kvm.growth import Growth

_CHUNK = 1 << 16


@contextlib.contextmanager
def lend(log: Path, keyboard: IO[bytes]) -> Iterator[None]:
    """Lend the terminal for as long as the block runs: `log` is what QEMU writes, `keyboard` what it reads."""
    keys = sys.stdin.fileno()
    before, over = termios.tcgetattr(keys), os.eventfd(0)
    with log.open("rb", buffering=0) as said, contextlib.closing(Growth(log)) as growth:
        said.seek(0, os.SEEK_END)
        relay = threading.Thread(target=_relay, args=(keys, keyboard, said, growth, over), name="terminal", daemon=True)
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


def join(other: int) -> bool:
    """Join the terminal to `other`, that of a program, until that ends, true, or ours is gone, false.

    A stop request ends it, too.
    """
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setraw(keys)
    try:
        while True:
            ready = proc.wait_readable([keys, other], None)
            if other in ready:
                if not (said := _read(other)):
                    return True
                try:
                    os.write(sys.stdout.fileno(), said)
                except OSError:
                    return False
            if keys in ready:
                if not (typed := _read(keys)):
                    return False
                os.write(other, typed)
    finally:
        with contextlib.suppress(termios.error):  # it may have gone
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _relay(keys: int, keyboard: IO[bytes], said: IO[bytes], growth: Growth, over: int) -> None:
    poll = select.poll()
    for fd in (keys, *growth.fds, over):
        poll.register(fd, select.POLLIN)
    ready: set[int] = set()
    while over not in ready:
        ready = {fd for fd, _ in poll.poll(None if growth.fds else 1000 * growth.patience)}
        if keys in ready:
            typed = _read(keys)
            if not typed:  # the terminal is gone
                poll.unregister(keys)
            with contextlib.suppress(BrokenPipeError):  # QEMU is gone: whoever waits for the guest says so
                os.write(keyboard.fileno(), typed)
        growth.seen()
        while chunk := said.read(_CHUNK):
            with contextlib.suppress(OSError):
                os.write(sys.stdout.fileno(), chunk)


def _read(keys: int) -> bytes:
    try:
        return os.read(keys, _CHUNK)
    except OSError:
        return b""
