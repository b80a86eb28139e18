"""The console: a log that QEMU writes itself, followed with pexpect as it grows."""

import codecs
import contextlib
import os
import re
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
from inotify_simple import INotify, flags
from pexpect.spawnbase import SpawnBase

from kvm import proc

if TYPE_CHECKING:
    _Spawn = SpawnBase[str]  # generic in the stubs only
else:
    _Spawn = SpawnBase

_TIME = r"(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?"
_LONGEST_LINE = 4096
_CHUNK = 4096  # of one longer read pexpect would search the last searchwindowsize characters only


class Event(StrEnum):
    """What a wait on the console can end with; `QUIET` is its deadline."""

    READY = "ready"
    PANIC = "panic"
    END = "end"
    QUIET = "quiet"


class _Tail(_Spawn):
    """pexpect on a growing file: reads wait for inotify, for QEMU's end and for the stop token, never by sleeping."""

    def __init__(self, path: Path, process: proc.Process) -> None:
        super().__init__(
            maxread=_CHUNK, searchwindowsize=_CHUNK + _LONGEST_LINE, encoding="utf-8", codec_errors="replace"
        )
        self.delayafterread = None  # pexpect would sleep after each read
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._file = path.open("rb", buffering=0)
        self._process = process
        self._inotify = INotify()
        self._inotify.add_watch(path, flags.MODIFY)
        self.fds = (self._inotify.fileno(), process.pidfd)
        self.received = 0

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> str:
        """Return what is new, or wait up to `timeout` seconds for it; EOF once QEMU ended and all is read."""
        deadline = time.monotonic() + (timeout or 0)
        while True:
            ended = self._process.poll() is not None  # asked first: what was written before the end is still read
            if chunk := os.read(self._file.fileno(), size):
                self.received += len(chunk)
                return self._text.decode(chunk)
            if ended:
                self.flag_eof = True
                raise pexpect.EOF("QEMU ended")
            if not proc.wait_readable(self.fds, max(0.0, deadline - time.monotonic())):
                raise pexpect.TIMEOUT("the console is quiet")
            self._inotify.read(timeout=0)

    def close(self) -> None:
        """Give the descriptors back."""
        self._inotify.close()
        self._file.close()


class Console:
    """What a guest's kernel says: `fds` become readable when there is more, or when QEMU ends."""

    def __init__(self, path: Path, process: proc.Process, nonce: str) -> None:
        self.path = path
        self.last_line = ""
        self.panic = ""
        self._tail = _Tail(path, process)
        self.fds = self._tail.fds
        # The last two keep what pexpect remembers short, whatever a guest floods us with.
        rules = (
            rf"{_TIME}kdelta: ready {re.escape(nonce)}\r?\n",
            rf"(?:^|(?<=\n)){_TIME}Kernel panic - not syncing(?:: )?([^\r\n]*)\r?\n",
            r"\n",
            rf"[^\n]{{{_LONGEST_LINE}}}",
        )
        self._rules = self._tail.compile_pattern_list([*rules, pexpect.EOF, pexpect.TIMEOUT])

    @property
    def received(self) -> int:
        """How many bytes the guest has written so far."""
        return self._tail.received

    def wait(self, timeout: float) -> Event:
        """Follow the console until the kernel is ready, panics, QEMU ends, or `timeout` seconds are over."""
        deadline = time.monotonic() + timeout
        while True:
            match = self._tail.expect_list(self._rules, timeout=max(0.0, deadline - time.monotonic()))
            if match == 0:
                return Event.READY
            if match == 1:
                assert isinstance(self._tail.match, re.Match)
                self.panic = self._tail.match.group(1) or "no reason given"
                return Event.PANIC
            if match == 4:
                return Event.END
            if match == 5:
                return Event.QUIET
            self._remember(self._tail.before or "")

    def drain(self, timeout: float) -> None:
        """Let the rest of a report reach the disk: until QEMU ends, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        while self.wait(max(0.0, deadline - time.monotonic())) not in (Event.END, Event.QUIET):
            pass

    def close(self) -> None:
        """Stop following."""
        with contextlib.suppress(OSError):
            self._tail.close()

    def _remember(self, line: str) -> None:
        if words := line.strip():
            self.last_line = words[-200:]
