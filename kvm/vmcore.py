"""The memory of a guest that panicked, as an ELF core that readelf, gdb and crash read."""

from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError
from kvm.qmp import Monitor

DUMP_SECONDS = 300.0


def keep(monitor: Monitor, path: Path) -> None:
    """Write it to `path`, sparse where memory is zero. A dump that fails is said, and hides no panic."""
    with disk.kept(path, "the guest's memory"):
        monitor.execute("stop")
        with path.open("xb") as file:
            monitor.pass_file("vmcore", file.fileno())
            # not by the guest's page tables (paging), which it may have made to cost gigabytes
            asked = {"paging": False, "protocol": "fd:vmcore", "detach": True, "format": "elf"}
            monitor.execute("dump-guest-memory", **asked)
            found = monitor.await_event("DUMP_COMPLETED", DUMP_SECONDS)
        if found["result"]["status"] != "completed":
            raise InfraError(found.get("error", "no reason given"))
        proc.check(["fallocate", "--dig-holes", path])
