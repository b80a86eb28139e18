"""What a pristine guest costs against a boot, and whether restoring leaks: `python benchmarks/restores.py [RESTORES]`.

Boots the newest image of the cache for each architecture, and restores it again and again, one guest at a time.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from kvm import rootfs, snapshot
from kvm.arch import ARCHES
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.snapshot import Snapshot
from kvm.vm import Limits
from orchestrator import cache
from orchestrator.build import kbuild

LIMITS = Limits(120, 60, 60, 4)
RESTORES = int(sys.argv[1]) if len(sys.argv) > 1 else 20


def main() -> None:
    root = cache.default_root()
    for arch in ARCHES.values():
        image = kbuild.newest_image(arch.name, root)
        if image is None:
            sys.exit(f"no kernel for {arch.name} in the cache: run `kdelta build` first")
        machine = Machine(arch, image, rootfs.build(arch, root), "tcg", memory_mib=512)
        with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch:
            measure(machine, Path(scratch))


def measure(machine: Machine, where: Path) -> None:
    """Print one architecture's numbers; seconds are wall, from the start of QEMU to the first byte of a command."""
    boots: list[float] = []
    restores: list[float] = []
    memory: list[float] = []
    for _ in range(3):
        began = time.monotonic()

        def first(alive: Guest, began: float = began) -> None:
            echo(alive)
            boots.append(time.monotonic() - began)

        with snapshot.take(machine, workdir=where / "boot", limits=LIMITS, prepare=first):
            pass
    with snapshot.take(machine, workdir=where / "boot", limits=LIMITS) as kept:
        once(kept, where, restores, memory)
        before = held()
        for _ in range(RESTORES - 1):
            once(kept, where, restores, memory)
        after = held()
    boot, restore = statistics.median(boots), statistics.median(restores)
    print(f"{machine.arch.name}: boot {boot:.2f} s, restore {restore:.2f} s, {restore / boot:.2f} of a boot")
    share = max(memory) / machine.memory_mib
    print(f"{machine.arch.name}: memory of a restored guest's own, at most {share:.2f} of 512 MiB")
    print(f"{machine.arch.name}: after {RESTORES} restores: {before} -> {after} (descriptors, children, MiB at most)")


def once(kept: Snapshot, where: Path, restores: list[float], memory: list[float]) -> None:
    """Restore, run a command, and note how long it took and how much memory QEMU has of its own."""
    began = time.monotonic()
    with kept.restore(workdir=where / "guest", limits=LIMITS) as alive:
        echo(alive)
        restores.append(time.monotonic() - began)
        memory.append(own_mib(where / "guest" / "console.log"))


def echo(alive: Guest) -> None:
    assert alive.run("echo x", timeout=60).stdout == b"x\n"


def own_mib(console: Path) -> float:
    """Anonymous memory of the QEMU that writes `console`."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "fd" / "1").readlink() == console:
                [line] = [line for line in (entry / "status").read_text().splitlines() if line.startswith("RssAnon")]
                return int(line.split()[1]) / 1024
        except OSError:
            continue
    raise LookupError(console)


def held() -> tuple[int, int, int]:
    """Open descriptors, child processes, and the most memory so far in MiB."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return (
        len([*Path("/proc/self/fd").iterdir()]),
        len(children),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    )


if __name__ == "__main__":
    main()
