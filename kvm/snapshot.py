"""A booted guest's state in files, and guests restored from it: each pristine, in a part of the time of a boot.

The memory is a file that the booted guest writes and every restored one maps copy-on-write, so that nothing of it is
read or copied beforehand; QEMU's migration stream holds the devices alone (x-ignore-shared).
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from kvm import guest, qemu, state, vm
from kvm.arch import ACCELS
from kvm.errors import GuestLost, Interrupted
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.vm import VM, Limits, Parts

_WAITING = ".waiting-"  # begins the name of a directory that holds the logs of a QEMU until it has a guest


class Kept(Protocol):
    """What guests are had from: a snapshot, or a test's own that follows a script."""

    @property
    def boot_seconds(self) -> float:
        """QEMU's start to the ready line."""

    def restore(self, *, workdir: Path, limits: Limits) -> contextlib.AbstractContextManager[Guest]:
        """Lend a guest, as `Snapshot.restore` does."""


class Take(Protocol):
    """How a kernel is booted: `take` below, or a test's own."""

    def __call__(
        self, machine: Machine, *, workdir: Path, limits: Limits, prepare: Callable[[Guest], None]
    ) -> contextlib.AbstractContextManager[Kept]:
        """Boot `machine`, as `take` does."""


@dataclass(frozen=True)
class _Kept:
    """What was kept of a guest."""

    machine: Machine
    parts: Parts
    memory: IO[bytes]
    devices: IO[bytes]


@dataclass(frozen=True)
class Snapshot:
    """What is kept of a guest; lives inside its `with`."""

    machine: Machine
    boot_seconds: float
    _waiting: "_Waiting"

    @contextlib.contextmanager
    def restore(self, *, workdir: Path, limits: Limits) -> Iterator[Guest]:
        """Yield a guest as it was when the snapshot was taken, with the time of now and random numbers of its own.

        qemu.sh, which boots the machine by hand, and console.log appear in `workdir`.
        """
        guest.write_by_hand(self.machine, workdir)
        began = time.monotonic()
        with self._waiting.take() as halted:
            halted.running.move(workdir)
            if halted.lost:
                raise GuestLost(halted.lost.message, kind=halted.lost.kind, log=halted.running.console.path)
            with halted.running.outliving():
                if halted.devices is not None:
                    state.load(halted.running, halted.devices, limits)
                state.go_on(halted.running)
            restored = Guest(halted.running, time.monotonic() - began, limits)
            if self.machine.root:
                restored.enter(self.machine.root)
            yield restored


@dataclass(frozen=True)
class _Halted:
    """A guest whose processors are halted, and what ended it if it did not even get there.

    `devices` is what is still to be loaded, for one that is not restored yet.
    """

    running: VM
    lost: GuestLost | None = None
    devices: int | None = None


class _Waiting:
    """Restored guests that wait, one always ahead: the next is restored while the last one works.

    It has run a command of nothing: an emulator translates then what every command runs, which takes most of the time
    to the first word of a guest. Where a guest's clock does not stop with its processors, the next one is not restored
    before it is wanted. They end with the threads that start them, which is why those are its own.
    """

    def __init__(self, kept: _Kept, workdir: Path, limits: Limits) -> None:
        self._kept, self._workdir, self._limits = kept, workdir, limits
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kdelta-qemu")
        self._turn = threading.Lock()
        self._ahead = self._threads.submit(self._start)

    @contextlib.contextmanager
    def take(self) -> Iterator[_Halted]:
        """Lend one."""
        with self._turn:
            mine, self._ahead = self._ahead, self._threads.submit(self._start)
        stack, halted = mine.result()
        with stack:
            yield halted

    def close(self) -> None:
        """End the one that nobody took."""
        # it did not start, or was told to stop: nobody is told, for nobody wanted it
        with self._threads, contextlib.suppress(Exception, Interrupted):
            self._ahead.result()[0].close()

    def _start(self) -> tuple[contextlib.ExitStack, _Halted]:
        kept = self._kept
        with contextlib.ExitStack() as stack:
            devices = os.open(vm.inherited(kept.devices), os.O_RDONLY)  # a position of its own
            stack.callback(os.close, devices)
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix=_WAITING, dir=self._workdir))
            running = stack.enter_context(_incoming(kept, devices, Path(home)))
            if ACCELS[kept.machine.accel].halts:
                state.load(running, devices, self._limits)
                halted = self._warmed(running)
            else:
                halted = _Halted(running, devices=devices)
            return stack.pop_all(), halted

    def _warmed(self, running: VM) -> _Halted:
        try:
            with running.outliving():
                state.go_on(running)
                Guest(running, 0, self._limits).run(":", timeout=self._limits.command_seconds)
                running.monitor.execute("stop")
        except GuestLost as fault:
            return _Halted(running, fault)
        return _Halted(running)


@contextlib.contextmanager
def take(
    machine: Machine, *, workdir: Path, limits: Limits, prepare: Callable[[Guest], None] = lambda _: None
) -> Iterator[Snapshot]:
    """Boot `machine`, let `prepare` set it up, and lend its state; qemu.sh and console.log appear in `workdir`.

    Raises BootError when the kernel does not get there, GuestLost when it dies under `prepare`, InfraError when QEMU
    itself does not start.
    """
    guest.write_by_hand(machine, workdir)
    for left in workdir.glob(f"{_WAITING}*"):  # by one that was killed here
        shutil.rmtree(left)
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(vm.parts(machine))
        memory = stack.enter_context(vm.unnamed())
        memory.truncate(machine.memory_mib << 20)
        devices = stack.enter_context(vm.unnamed())
        began = time.monotonic()
        options = qemu.memory(machine, vm.inherited(memory), shared=True)
        with vm.start(machine, given, workdir / "console.log", *options, fds=[memory.fileno()]) as running:
            running.await_ready(limits)
            booted = Guest(running, round(time.monotonic() - began, 3), limits)
            prepare(booted)
            with running.outliving():
                state.save(running, devices, limits)
        waiting = stack.enter_context(
            contextlib.closing(_Waiting(_Kept(machine, given, memory, devices), workdir, limits))
        )
        yield Snapshot(machine, booted.boot_seconds, waiting)


@contextlib.contextmanager
def reopen(machine: Machine, kept: Path, *, workdir: Path, limits: Limits) -> Iterator[Guest]:
    """Lend a guest that `Guest.keep` has written to the directory `kept`, which any number may be had of.

    `machine` is what it was; InfraError for another one, or a state that only another QEMU reads.
    """
    with (
        vm.unnamed() as memory,
        (kept / state.DISK).open("rb") as disk,
        (kept / state.STATE).open("rb") as devices,
    ):
        memory.truncate(machine.memory_mib << 20)
        parts = Parts((kept / state.NONCE).read_text(encoding="ascii"), disk)
        with _incoming(_Kept(machine, parts, memory, devices), devices.fileno(), workdir) as running:
            state.load(running, devices.fileno(), limits)
            state.go_on(running)
            yield Guest(running, 0, limits)


@contextlib.contextmanager
def _incoming(kept: _Kept, devices: int, home: Path) -> Iterator[VM]:
    """Start a QEMU that waits for the state in `devices`; what it writes to disk and memory stays its own."""
    with vm.unnamed() as scratch:
        state.copy(kept.parts.disk, scratch)
        options = (*qemu.memory(kept.machine, vm.inherited(kept.memory), shared=False), "-incoming defer")
        parts, fds = Parts(kept.parts.nonce, scratch), [kept.memory.fileno(), devices]
        with vm.start(kept.machine, parts, home / "console.log", *options, fds=fds) as running:
            running.console.boots = False  # it has booted
            yield running
