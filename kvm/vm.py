"""One QEMU with its console, its monitor and the way in: what booted and restored guests have in common."""

import contextlib
import re
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import paramiko

from kvm import disk, proc, qemu, rootfs, ssh
from kvm.console import Console, Event
from kvm.errors import BootError, InfraError
from kvm.qemu import Machine
from kvm.qmp import Monitor

PANIC_GRACE_SECONDS = 1.0
FULL_BYTES = 1 << 16  # less room than this is none


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds, already scaled for the accelerator; `scale` is what suites multiply theirs by."""

    boot_seconds: float = 30.0
    silence_seconds: float = 30.0
    command_seconds: float = 30.0
    scale: float = 1.0


@dataclass(frozen=True)
class Parts:
    """What a QEMU is given, in files without names: not even SIGKILL leaves them, or a host key in them, behind."""

    keys: ssh.Keys
    nonce: str
    initrd: IO[bytes]
    disk: IO[bytes]


@dataclass(frozen=True)
class VM:
    """A QEMU that runs."""

    console: Console
    monitor: Monitor
    by_hand: Path

    def await_ready(self, limits: Limits) -> None:
        """Wait for the ready line; raises BootError when it does not come."""
        console, deadline = self.console, time.monotonic() + limits.boot_seconds
        while (remaining := deadline - time.monotonic()) > 0:
            before = console.received
            event = console.wait(min(remaining, limits.silence_seconds))
            if event is Event.READY:
                return
            if event is Event.PANIC:
                console.drain(PANIC_GRACE_SECONDS)
                raise self._no_boot(f"panic: {console.panic}", "panic")
            if event is Event.END:
                raise self._no_boot("QEMU ended before the kernel was ready", "no-boot")
            if console.received == before and remaining > limits.silence_seconds:
                raise self._no_boot(f"silent for {limits.silence_seconds:.0f} s", "hang" if before else "no-boot")
        kind = "hang" if console.received else "no-boot"
        raise self._no_boot(f"not ready after {limits.boot_seconds:.0f} s", kind)

    @contextlib.contextmanager
    def log_in(self, keys: ssh.Keys, limits: Limits) -> Iterator[paramiko.Transport]:
        """Lend an SSH connection as root; raises BootError when there is none to be had."""
        listing = self.monitor.human("info usernet")
        found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", listing)
        if not found:
            raise InfraError(f"QEMU forwards no port: {listing.strip()[:200]}")
        with contextlib.closing(ssh.dial(int(found[1]), limits.command_seconds)) as transport:
            self._await_login(transport, keys, limits)
            yield transport

    def _await_login(self, transport: paramiko.Transport, keys: ssh.Keys, limits: Limits) -> None:
        console, deadline = self.console, time.monotonic() + limits.command_seconds
        with ssh.on_thread(lambda: ssh.log_in(transport, keys), transport.close) as (fd, logged_in):
            event = Event.QUIET
            while event is Event.QUIET and not logged_in.done():
                if (remaining := deadline - time.monotonic()) <= 0:
                    raise self._no_boot(f"no ssh after {limits.command_seconds:.0f} s", "hang")
                proc.wait_readable([*console.fds, fd], remaining)
                event = console.wait(0)
            try:
                fault = "" if logged_in.done() and logged_in.result() is None else "QEMU ended"
            except ssh.FAULTS as error:
                fault = str(error)
            if fault:
                console.drain(PANIC_GRACE_SECONDS)
                words = f"panic: {console.panic}" if console.panic else f"ready, but no ssh: {fault}"
                raise self._no_boot(words, "panic" if console.panic else "lost")

    def _no_boot(self, words: str, kind: str) -> BootError:
        console = self.console
        if not console.panic:
            blame(console.path)
        last = f'last console line: "{console.last_line}"' if console.last_line else "no console output"
        return BootError(f"{words}; {last}", kind=kind, log=console.path, hint=f"boot it by hand with {self.by_hand}")


@contextlib.contextmanager
def parts(machine: Machine) -> Iterator[Parts]:
    """Lay out what a new guest needs: its initramfs with fresh keys in it, and an empty scratch disk."""
    keys = ssh.make_keys()
    overlay = rootfs.key_overlay(keys.dropbear, keys.authorized)
    with unnamed(machine.initrd.read_bytes() + overlay) as initrd, unnamed() as scratch:
        scratch.truncate(machine.disk_mib << 20)
        yield Parts(keys, secrets.token_hex(8), initrd, scratch)


@contextlib.contextmanager
def start(machine: Machine, given: Parts, log: Path, *options: str, fds: Sequence[int] = ()) -> Iterator[VM]:
    """Start QEMU and own it; `log` receives the console. `options` come on top, and name the files `fds`."""
    by_hand, complaints = log.with_name("qemu.sh"), log.with_name("qemu.log")
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        words = qemu.argv(
            replace(machine, initrd=inherited(given.initrd)),
            words=f"kdelta.ready={given.nonce}",
            channels=[*qemu.channels(theirs.fileno()), *options],
            disk=inherited(given.disk) if machine.disk_mib else None,
        )
        with log.open("wb") as out, complaints.open("wb") as err, theirs:
            # setpriv: QEMU ends with us, even when we are killed
            process = stack.enter_context(
                proc.spawn(
                    ["setpriv", "--pdeathsig", "KILL", *words],
                    stdin=subprocess.PIPE,
                    stdout=out.fileno(),
                    stderr=err.fileno(),
                    pass_fds=[theirs.fileno(), given.initrd.fileno(), given.disk.fileno(), *fds],
                )
            )
        console = Console(log, process, given.nonce)
        stack.callback(console.close)
        try:
            monitor = Monitor(ours)
        except InfraError as error:
            process.wait(2)
            said = complaints.read_text(encoding="utf-8", errors="replace").strip()
            raise InfraError(f"QEMU did not start: {said[-500:] or error.message}", log=complaints) from error
        yield VM(console, monitor, by_hand)


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


def blame(log: Path) -> None:
    """Raise InfraError if it is the host that ran dry: QEMU stops a guest, and drops its words, when a disk is full."""
    for where in (log.parent, Path(tempfile.gettempdir())):
        if disk.room(where) < FULL_BYTES:
            raise InfraError(f"the disk that holds {where} is full", hint="free some of it, and run again", log=log)
