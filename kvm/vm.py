"""One QEMU with its console, its monitor and the way in: what booted and restored guests have in common."""

import contextlib
import re
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvm import disk, fate, proc, qemu, vmcore
from kvm.agent import Agent, BrokenError
from kvm.console import FLOOD_BYTES, Console, Event
from kvm.errors import BootError, GuestLost, InfraError
from kvm.fate import Fate, Trouble
from kvm.qemu import Machine
from kvm.qmp import Monitor

PANIC_GRACE_SECONDS = 1.0
FULL_BYTES = 1 << 16  # less room than this is none
LOOKS, LOOK_SECONDS = 5, 0.2
MOSTLY = 0.8  # of the time: a CPU that spins leaves none of it, but for QEMU's own doings
ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds, already scaled for the accelerator; `scale` is what suites multiply theirs by.

    A guest that is ready may say `console_bytes` on its console; beyond that nobody reads it.
    """

    boot_seconds: float = 30.0
    silence_seconds: float = 30.0
    command_seconds: float = 30.0
    scale: float = 1.0
    console_bytes: int = FLOOD_BYTES

    def spell(self, name: str, seconds: float) -> str:
        """Put a deadline into words: how long it is, which of the user's limits it is, and the factor."""
        return f"{seconds:.0f} s (limits.{name} of {seconds / self.scale:g} s x {self.scale:g})"

    def late(self) -> str:
        """Say of a command of ours that it took too long: it has the time of a boot."""
        return f"no end after {self.spell('boot', self.command_seconds)}"


@dataclass(frozen=True)
class Parts:
    """The word of a QEMU's ready line, and its disk: a file without a name, which not even SIGKILL leaves behind."""

    nonce: str
    disk: IO[bytes]


@dataclass(frozen=True)
class VM:
    """A QEMU that runs."""

    console: Console
    monitor: Monitor
    agent: Agent
    keyboard: IO[bytes]  # what the console reads
    vmcore: bool  # is its memory kept if it panics?
    parts: Parts

    @property
    def heard(self) -> float:
        """When it last said something, to time.monotonic(): a kernel that is stuck says so again and again."""
        return self.agent.heard if self.console.alarm else max(self.console.heard, self.agent.heard)

    def move(self, to: Path) -> None:
        """Have its logs in the directory `to` from now on, which is on the same file system."""
        for log in (self.console.path, _complaints(self.console.path), _core(self.console.path)):
            if log.exists():  # a guest that did not panic has no core
                log.rename(to / log.name)
        self.console.path = to / self.console.path.name

    def await_ready(self, limits: Limits) -> None:
        """Wait for the ready line; raises BootError when it does not come."""
        console, deadline = self.console, time.monotonic() + limits.boot_seconds
        while (silent := console.heard + limits.silence_seconds) > (now := time.monotonic()) < deadline:
            match console.wait(min(silent, deadline) - now):
                case Event.READY:
                    return
                case Event.TROUBLE | Event.END:
                    raise self._no_boot(self.trouble())
        late = f"not ready after {limits.spell('boot', limits.boot_seconds)}"
        still = f"silent for {limits.spell('silence', limits.silence_seconds)}"
        raise self._no_boot(self._silence(f"boot: {still if silent < deadline else late}"))

    def wait(self, seconds: float) -> Event:
        """Wait for the agent's words while the guest lives; raises BrokenError when its port is closed."""
        event = self.console.wait(seconds, self.agent.fd, self.monitor.fd)
        if event is Event.OTHER and any(not change["open"] for change in self.monitor.heard("VSERPORT_CHANGE")):
            raise BrokenError("the guest closed its port for commands")
        return event

    def forward(self, port: int) -> int:
        """Forward a port of 127.0.0.1, which is returned, to the guest's `port`."""
        self.monitor.human(f"hostfwd_add net tcp:127.0.0.1:0-{qemu.GUEST_ADDRESS}:{port}")
        listing = self.monitor.human("info usernet")
        found = re.search(rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+{port}\s", listing)
        if not found:
            raise InfraError(f"QEMU forwards no port: {listing.strip()[:200]}")
        return int(found[1])

    def trouble(self, broken: str = "") -> Trouble:
        """Say what ended the guest: what the kernel says of it, let that reach the disk, goes before what QEMU says.

        `broken` is what else was seen, for want of both.
        """
        console = self.console
        console.drain(PANIC_GRACE_SECONDS)
        if console.trouble:
            core = _core(console.path)
            if self.vmcore and console.trouble.fate is Fate.PANIC and not core.exists():
                vmcore.keep(self.monitor, core)
            return console.trouble
        if console.wait(0) is Event.END:
            return fate.of_end(self.monitor.shutdown_reason(), console.status, self._complaints())
        return Trouble(Fate.LOST, broken)

    def hang(self, words: str) -> Trouble:
        """Say why a guest does not answer: what it reported, that its CPUs hear nothing, or that QEMU is to blame."""
        if alarm := self.console.alarm:
            return Trouble(alarm.fate, f"{alarm.words}; {words}")
        self.monitor.patience = ASK_SECONDS
        try:
            status, deaf = self.monitor.execute("query-status")["status"], self._deaf()
        except (InfraError, OSError) as fault:  # QEMU is stopped or has ended, or so is the host
            return Trouble(Fate.LOST, f"{fault}; {words}")
        if status != "running":  # a fault of an accelerator's, a disk that is full: no kernel's
            return Trouble(Fate.LOST, f"QEMU does not run the guest: {status}; {words}")
        if deaf:
            return Trouble(Fate.LIVELOCK, f"every CPU runs with interrupts off; {words}")
        return Trouble(Fate.HANG, words)

    def _deaf(self) -> bool:
        """Do all CPUs run all the time, and with interrupts off whenever looked at?

        One that sleeps has them off, too, on arm64, and wakes up; one that works has them off now and then.
        """
        threads = [cpu["thread-id"] for cpu in self.monitor.execute("query-cpus-fast")]
        began, before = time.monotonic_ns(), [_wanted(thread) for thread in threads]
        for _ in range(LOOKS):
            time.sleep(LOOK_SECONDS)
            if not fate.interrupts_off(self.monitor.human("info registers -a")):
                return False
        most = (time.monotonic_ns() - began) * MOSTLY
        return all(_wanted(thread) - then > most for thread, then in zip(threads, before, strict=True))

    def _complaints(self) -> bytes:
        """What QEMU itself said; of a guest that resets again and again the beginning will do."""
        with _complaints(self.console.path).open("rb") as said:
            return said.read(FULL_BYTES)

    def _silence(self, words: str) -> Trouble:
        trouble = self.hang(words)
        mute = not self.console.received and trouble.fate is not Fate.LOST
        return Trouble(Fate.NO_BOOT, words) if mute else trouble

    def _no_boot(self, trouble: Trouble) -> BootError:
        console, hint = self.console, f"boot it by hand with {self.console.path.with_name('qemu.sh')}"
        return BootError(self.explain(trouble), kind=trouble.fate, log=console.path, hint=hint)

    def lost(self, trouble: Trouble, said: bytes = b"") -> GuestLost:
        """Say that the guest has ended, and what a command had said until then."""
        return GuestLost(self.explain(trouble), kind=trouble.fate, log=self.console.path, stdout=said)

    @contextlib.contextmanager
    def outliving(self) -> Iterator[None]:
        """Raise GuestLost for whatever fails in the block because the guest ends meanwhile."""
        try:
            yield
        except (BrokenError, InfraError, OSError) as fault:
            ended = self.console.wait(PANIC_GRACE_SECONDS) in (Event.TROUBLE, Event.END)
            if ended or isinstance(fault, BrokenError):
                raise self.lost(self.trouble(str(fault))) from fault
            raise

    def explain(self, trouble: Trouble) -> str:
        """Put it into words; raises InfraError where it is the host's disk that is full."""
        console = self.console
        if console.trouble:
            return f"{trouble.fate}: {trouble.words}"
        blame(console.path)
        last = f'last console line: "{console.last_line}"' if console.last_line else "no console output"
        return f"{trouble.words}; {last}"


@contextlib.contextmanager
def parts(machine: Machine) -> Iterator[Parts]:
    """Lay out what a new guest needs: an empty scratch disk."""
    with unnamed() as scratch:
        scratch.truncate(machine.disks_mib << 20)
        yield Parts(secrets.token_hex(8), scratch)


@contextlib.contextmanager
def start(machine: Machine, given: Parts, log: Path, *options: str, fds: Sequence[int] = ()) -> Iterator[VM]:
    """Start QEMU and own it; `log` receives the console. `options` come on top, and name the files `fds`."""
    complaints = _complaints(log)
    with contextlib.ExitStack() as stack:
        # sockets without a name, which nobody else can reach
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        agent, port = (stack.enter_context(end) for end in socket.socketpair())
        words = qemu.argv(
            machine,
            words=f"kdelta.ready={given.nonce}",
            channels=[*qemu.channels(theirs.fileno(), port.fileno()), *options],
            disk=inherited(given.disk) if machine.disks_mib else None,
        )
        with log.open("wb") as out, complaints.open("wb") as err, theirs, port:
            process = stack.enter_context(
                proc.spawn(
                    proc.ended_with_us(words),
                    stdin=subprocess.PIPE,
                    stdout=out.fileno(),
                    stderr=err.fileno(),
                    pass_fds=[theirs.fileno(), port.fileno(), given.disk.fileno(), *fds],
                )
            )
        console = Console(log, process, given.nonce)
        stack.callback(console.close)
        try:
            monitor = Monitor(ours)
        except InfraError as error:
            process.wait(2)
            blame(log)
            said = complaints.read_text(encoding="utf-8", errors="replace").strip()
            raise InfraError(f"QEMU did not start: {said[-500:] or error.message}", log=complaints) from error
        assert process.stdin
        yield VM(console, monitor, Agent(agent), process.stdin, machine.vmcore, given)


@contextlib.contextmanager
def unnamed(content: bytes = b"") -> Iterator[IO[bytes]]:
    """Make a file without a name."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file


def inherited(file: IO[bytes]) -> Path:
    """Return the path by which QEMU, which inherits the descriptor, opens an unnamed file."""
    return Path(f"/proc/self/fd/{file.fileno()}")


def _core(log: Path) -> Path:
    """Where the memory of a guest that panicked is, by its console's log."""
    return log.with_name("vmcore")


def _complaints(log: Path) -> Path:
    """Where QEMU itself speaks, beside the console."""
    return log.with_name("qemu.log")


def _wanted(thread: int) -> int:
    """Return the nanoseconds for which a thread of QEMU's ran or, on a busy host, waited for a processor."""
    ran, waited, _ = Path(f"/proc/{thread}/schedstat").read_text(encoding="ascii").split()
    return int(ran) + int(waited)


def blame(log: Path) -> None:
    """Raise InfraError if it is the host that ran dry: QEMU stops a guest, and drops its words, when a disk is full."""
    for where in (log.parent, Path(tempfile.gettempdir())):
        if disk.room(where) < FULL_BYTES:
            raise InfraError(f"the disk that holds {where} is full", hint="free some of it, and run again", log=log)
