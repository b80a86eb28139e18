"""A booted kernel that takes commands; it lives inside its `with` and nothing of it outlives that."""

import contextlib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import paramiko
import pexpect

from kvm import qemu, ssh
from kvm.console import Event
from kvm.errors import GuestLost, InfraError
from kvm.fate import Fate, Trouble
from kvm.qemu import Machine
from kvm.vm import VM, Limits

_CHUNK = 32768


@dataclass(frozen=True)
class CommandResult:
    """What one command gave. `truncated` says that it printed more than was kept."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    seconds: float


class Guest:
    """A kernel that reached its ready line and answers over SSH."""

    def __init__(
        self, running: VM, transport: paramiko.Transport, boot_seconds: float, limits: Limits, *, first: str = ":"
    ) -> None:
        """`first` is run before the first command."""
        self.console = running.console.path
        self.boot_seconds = boot_seconds
        self._vm = running
        self._console = running.console
        self._transport = transport
        self._limits = limits
        self._commands = 0
        self._first = first

    def run(self, command: str, *, timeout: float, stdin: bytes = b"", output_limit: int = 16 << 20) -> CommandResult:
        """Run a shell command as root, to its end or to `timeout` seconds, when all its processes are killed.

        Raises GuestLost the moment the kernel panics, QEMU ends or the connection breaks, with what was said so far.
        """
        self._commands += 1
        mark = f"/run/command.{self._commands}"
        started = time.monotonic()
        # The outer shell turns a death by signal into a status: of SSH's own message for that paramiko says nothing.
        inner = shlex.quote(f"echo $$ >{mark}; {self._first}; {command}")
        self._first = ":"
        with contextlib.closing(self._open(f"setsid sh -c {inner}; exit $?")) as channel:
            exchange = _Exchange(channel, stdin, output_limit)
            timed_out = not self._follow(exchange, timeout)
            if timed_out:
                self._kill(mark, exchange)
            elif exchange.status < 0:
                self._lost("the connection closed without an exit status", exchange.said)
        return CommandResult(
            exit_status=-1 if timed_out else exchange.status,
            stdout=bytes(exchange.stdout),
            stderr=bytes(exchange.stderr),
            timed_out=timed_out,
            truncated=exchange.truncated,
            seconds=time.monotonic() - started,
        )

    def push(self, path: Path, to: str) -> None:
        """Copy a file into the guest, executable."""
        quoted = shlex.quote(to)
        done = self.run(
            f"cat >{quoted} && chmod 755 {quoted}", timeout=self._limits.command_seconds, stdin=path.read_bytes()
        )
        if done.exit_status or done.timed_out:
            words = "no end in time" if done.timed_out else done.stderr.decode("utf-8", "replace").strip()
            raise InfraError(f"{path.name} could not be pushed to {to}: {words}", log=self.console)

    def log_line(self, text: str) -> None:
        """Write a line into the guest's kernel log, and so onto its console."""
        self.run(f"echo {shlex.quote(f'<5>kdelta: {text}')} >/dev/kmsg", timeout=self._limits.command_seconds)

    def _open(self, command: str) -> paramiko.Channel:
        transport, deadline = self._transport, time.monotonic() + self._limits.command_seconds
        with ssh.on_thread(lambda: ssh.start(transport, command), transport.close) as (fd, started):
            while not started.done():
                if self._wait(deadline - time.monotonic(), fd, bytes) is Event.QUIET:
                    self._hangs()
            try:
                return started.result()
            except ssh.FAULTS as error:
                self._lost(f"ssh: {error}", bytes)

    def _follow(self, exchange: "_Exchange", timeout: float) -> bool:
        """Move a command's streams until it ends, true, or `timeout` seconds are over."""
        deadline = time.monotonic() + timeout
        while not exchange.step() and (remaining := deadline - time.monotonic()) > 0:
            # paramiko tells no fd when the window opens or the exit status comes: then look again soon
            patience = min(remaining, 0.02) if exchange.busy else remaining
            self._wait(patience, exchange.fd, exchange.said)
        return exchange.ended

    def _kill(self, mark: str, exchange: "_Exchange") -> None:
        """End a command that ran out of time; each is a session of its own, so its pid names them all."""
        # The mark may not be written yet, and `kill -- -` without a pid would take dropbear along. The command's own
        # channel stays open until it has ended: dropbear 2022.83 breaks the connection if it is closed before.
        command = f"until read -r pid <{mark}; do sleep 0.1; done 2>/dev/null; kill -KILL -- -$pid"
        with contextlib.closing(self._open(command)) as channel:
            killed = self._follow(_Exchange(channel, b"", _CHUNK), self._limits.command_seconds)
            if not killed or not self._follow(exchange, self._limits.command_seconds):
                self._hangs()

    def _wait(self, seconds: float, fd: int, said: Callable[[], bytes]) -> Event:
        """Wait for `fd` while the guest lives; `said` tells what the command has said."""
        event = self._console.wait(seconds, fd)
        if event in (Event.TROUBLE, Event.END):
            self._lost("", said)
        return event

    def _lost(self, broken: str, said: Callable[[], bytes]) -> NoReturn:
        """Say how the guest ended; `broken` is what was seen of it over ssh."""
        self._end(self._vm.trouble(broken), said)

    def _hangs(self) -> NoReturn:
        words = f"no answer over ssh for {self._limits.command_seconds:.0f} s"
        self._end(Trouble(Fate.HANG, words), bytes)

    def _end(self, trouble: Trouble, said: Callable[[], bytes]) -> NoReturn:
        raise GuestLost(self._vm.explain(trouble), kind=trouble.fate, log=self.console, stdout=said())


class _Exchange:
    """One command's streams, moved a step at a time."""

    def __init__(self, channel: paramiko.Channel, stdin: bytes, output_limit: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False
        self.ended = False
        self._channel = channel
        self._stdin = memoryview(stdin)
        self._limit = output_limit
        self._closed = False
        self.fd = channel.fileno()  # readable when there is data

    @property
    def status(self) -> int:
        """The exit status; -1 if none came."""
        return self._channel.exit_status if self.ended else -1

    @property
    def busy(self) -> bool:
        """Is there something to wait for that no descriptor tells?"""
        return bool(self._stdin) or bool(self._channel.eof_received)

    def step(self) -> bool:
        """Move what can be moved without waiting; true when the command has ended and all it said is here."""
        channel = self._channel
        try:
            self._feed()
        except OSError:  # the command ended and left its stdin unread
            self._stdin = memoryview(b"")
        over = bool(channel.closed or (channel.eof_received and channel.exit_status_ready()))
        while channel.recv_ready():
            self._keep(self.stdout, channel.recv(_CHUNK))
        while channel.recv_stderr_ready():
            self._keep(self.stderr, channel.recv_stderr(_CHUNK))
        self.ended = over
        return over

    def said(self) -> bytes:
        """Return all of stdout that has arrived."""
        self.step()
        return bytes(self.stdout)

    def _feed(self) -> None:
        """Send as much of stdin as the window takes, and then its end."""
        while self._stdin and self._channel.send_ready():
            self._stdin = self._stdin[self._channel.send(bytes(self._stdin[:_CHUNK])) :]
        if not self._stdin and not self._closed:
            self._closed = True
            self._channel.shutdown_write()

    def _keep(self, kept: bytearray, chunk: bytes) -> None:
        room = self._limit - len(kept)
        kept += chunk[: max(0, room)]
        self.truncated |= len(chunk) > room


def write_by_hand(machine: Machine, workdir: Path) -> None:
    """Leave qemu.sh in `workdir`, which boots the same machine with a shell."""
    workdir.mkdir(parents=True, exist_ok=True)
    by_hand = workdir / "qemu.sh"
    by_hand.write_text(qemu.script(machine, workdir), encoding="utf-8")
    by_hand.chmod(0o755)


def interact(machine: Machine) -> int:
    """Hand the terminal to a shell on the guest's console; returns QEMU's exit status."""
    words = qemu.argv(machine, words="kdelta.console=shell", channels=qemu.BY_HAND)
    child = pexpect.spawn("setpriv", ["--pdeathsig", "KILL", *words], timeout=None)
    try:
        child.interact(escape_character=None)
    finally:
        child.close(force=True)
    return int(child.exitstatus or 0)
