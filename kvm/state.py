"""What a guest is at one moment, as QEMU's migration writes and reads it.

Memory that is a shared file stays where it is (x-ignore-shared); other memory is in the stream, behind the devices.
"""

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import IO

from kvm import disk
from kvm.errors import InfraError
from kvm.qmp import Monitor
from kvm.vm import VM, Limits

SETTLE_SECONDS = 0.01
STATE, DISK, NONCE = "state", "disk", "nonce"  # files of a guest that is kept


def save(running: VM, to: IO[bytes], limits: Limits) -> None:
    """Halt the guest, and write its state, for which there is twice the time of a boot."""
    monitor = running.monitor
    monitor.execute("stop")
    _ignore_memory(monitor)
    monitor.pass_file("state", to.fileno())
    monitor.execute("migrate", uri="fd:state")
    _finish(monitor, limits)


def load(halted: VM, state: int, limits: Limits) -> None:
    """Read it, from a descriptor that QEMU has inherited, in as much time."""
    _ignore_memory(halted.monitor)
    halted.monitor.execute("migrate-incoming", uri=f"fd:{state}")
    _finish(halted.monitor, limits)


def go_on(halted: VM) -> None:
    """Let its processors run, with the time of now and random numbers of its own."""
    halted.agent.renew(secrets.token_bytes(32))  # the first that the guest reads
    halted.monitor.execute("cont")


def keep(running: VM, into: Path, limits: Limits) -> None:
    """Write all that it is to the new directory `into`, and let it go on. A state that cannot be kept is said."""
    into.mkdir(parents=True)
    with disk.kept(into, "the guest's state"):
        with (into / STATE).open("xb") as state:
            save(running, state, limits)
        with (into / DISK).open("xb") as own:
            copy(running.parts.disk, own)
        (into / NONCE).write_text(running.parts.nonce, encoding="ascii")
    _settle(running.monitor, limits)
    go_on(running)


def copy(sparse: IO[bytes], to: IO[bytes]) -> None:
    """Copy a sparse file, holes as holes; nobody else moves its position."""
    source, size, at = sparse.fileno(), os.fstat(sparse.fileno()).st_size, 0
    os.ftruncate(to.fileno(), size)
    with contextlib.suppress(OSError):  # ENXIO: no more data behind `at`
        while at < size:
            begin = os.lseek(source, at, os.SEEK_DATA)
            at = os.lseek(source, begin, os.SEEK_HOLE)
            os.lseek(to.fileno(), begin, os.SEEK_SET)
            os.sendfile(to.fileno(), source, begin, at - begin)


def _ignore_memory(monitor: Monitor) -> None:
    wanted = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    monitor.execute("migrate-set-capabilities", capabilities=wanted)


def _settle(monitor: Monitor, limits: Limits) -> None:
    """Wait until QEMU, which says that a migration is complete a moment before it is, lets its guest go on."""
    deadline = time.monotonic() + 2 * limits.boot_seconds
    while monitor.execute("query-status")["status"] == "finish-migrate" and time.monotonic() < deadline:
        time.sleep(SETTLE_SECONDS)


def _finish(monitor: Monitor, limits: Limits) -> None:
    """Wait until a migration has ended; raises InfraError when it failed."""
    wait = 2 * limits.boot_seconds, f"twice {limits.spell('boot', limits.boot_seconds)}"
    while (status := monitor.await_event("MIGRATION", *wait)["status"]) not in ("completed", "failed"):
        pass
    if status == "failed":
        raise InfraError("QEMU could not keep or restore a guest's state")
