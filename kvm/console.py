"""The console: a log that QEMU writes itself, followed as it grows."""

import contextlib
import logging
import os
import time
from collections import deque
from enum import StrEnum
from pathlib import Path

from kvm import fate, proc
from kvm.fate import Fate, Trouble
from kvm.growth import Growth

log = logging.getLogger(__name__)

FLOOD_BYTES = 100_000_000
_LONGEST_LINE = 4096
_CHUNK = 1 << 16


class Event(StrEnum):
    """What a wait can end with; `OTHER` is another descriptor's, `QUIET` the deadline's."""

    READY = "ready"
    TROUBLE = "trouble"
    END = "end"
    OTHER = "other"
    QUIET = "quiet"


class Console:
    """What a guest's kernel says. Every wait is for its lines, QEMU's end, the stop token and the deadline at once."""

    def __init__(self, path: Path, process: proc.Process, nonce: str) -> None:
        self.path = path
        self.last_line = ""
        self.received = 0  # bytes
        self.heard = time.monotonic()  # when the last of them came
        self.most = FLOOD_BYTES
        self.trouble: Trouble | None = None  # the first that ends the guest
        self.alarm: Trouble | None = None  # the first that may
        self._nonce, self._ready = nonce.encode(), fate.ready(nonce)
        self.boots = True  # is the first banner still to come?
        self._time = 0.0  # the kernel's
        self.lent = False  # to a person, who may have it say anything again
        self._partial = b""
        self._events: deque[Event] = deque()
        self._process = process
        self._file = path.open("rb", buffering=0)
        self._growth = Growth(path)

    def wait(self, timeout: float, *others: int) -> Event:
        """Follow the console until the kernel is ready or in trouble, QEMU ends, or `timeout` seconds are over.

        It ends, too, when one of the descriptors `others` is readable.
        """
        deadline = time.monotonic() + timeout
        watched = [*self._growth.fds, self._process.pidfd, *others]
        while not self._events:
            ended = self._process.poll() is not None  # asked first: what was written before the end is still read
            if chunk := os.read(self._file.fileno(), _CHUNK):
                self._take(chunk)
                continue
            if ended and self._partial:  # the last words, cut off
                self._take(b"\n")
                continue
            if ended:
                return Event.END
            readable = proc.wait_readable(watched, min(self._growth.patience, max(0.0, deadline - time.monotonic())))
            if not readable and time.monotonic() >= deadline:
                return Event.QUIET
            if readable & {*others}:
                return Event.OTHER
            self._growth.seen()
        return self._events.popleft()

    @property
    def status(self) -> int:
        """QEMU's exit status, once it has ended."""
        return self._process.poll() or 0

    def drain(self, timeout: float) -> None:
        """Let the rest of a report reach the disk: until QEMU ends, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        while self.wait(max(0.0, deadline - time.monotonic())) not in (Event.END, Event.QUIET):
            pass

    def close(self) -> None:
        """Stop following."""
        self._growth.close()
        with contextlib.suppress(OSError):
            self._file.close()

    def _take(self, chunk: bytes) -> None:
        """Look through what is new; most of it is looked through in one search."""
        self.received += len(chunk)
        self.heard = time.monotonic()
        whole, _, self._partial = (self._partial + chunk).rpartition(b"\n")
        if len(self._partial) > _LONGEST_LINE:  # nobody reads it to its end
            self._partial = self._partial[:_LONGEST_LINE]
        said = whole.strip()
        last = said[said.rfind(b"\n") + 1 :]
        if last:
            self.last_line = last.decode("utf-8", "replace").strip()[-200:]
        if self._nonce in whole or fate.WORTH.search(whole):
            for line in whole.split(b"\n"):
                self._read(line[:_LONGEST_LINE].strip())
        self._time = fate.time_of(last, self._time)
        if self.received > self.most:
            self._in_trouble(Trouble(Fate.FLOOD, f"more than {self.most} bytes on the console"))

    def _read(self, line: bytes) -> None:
        since, self._time = self._time, fate.time_of(line, self._time)
        if self._ready.match(line):
            self._events.append(Event.READY)
        elif trouble := fate.of_line(line, self._time):
            self._in_trouble(trouble)
        elif fate.BANNER.match(line) and self._time <= since and not self.lent:  # a kernel's clock begins anew
            if not self.boots:
                self._in_trouble(Trouble(Fate.REBOOT, "a second boot without an end of the first"))
            self.boots = False

    def _in_trouble(self, trouble: Trouble) -> None:
        if trouble.fate.survivable:
            if self.alarm is None:
                self.alarm = trouble
                log.warning("%s: %s: %s", self.path, trouble.fate, trouble.words)
        elif self.trouble is None:
            self.trouble = trouble
            self._events.append(Event.TROUBLE)
