"""What a pristine guest costs against a boot, and whether restoring leaks: `python benchmarks/restores.py --help`.

Boots the newest image of the cache for each architecture, and restores it again and again, one guest at a time. Seconds
are from the start of QEMU to the first byte of a command's output.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import memory
from kvm import rootfs, snapshot
from kvm.arch import ARCHES, DEFAULT
from kvm.errors import GuestLost
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator import cache, places
from orchestrator.build import kbuild
from orchestrator.model import Cell, GuestRun, Side
from orchestrator.trial import durations, runner
from orchestrator.trial.suites import payload, suite
from orchestrator.trial.suites.payload import Place
from orchestrator.trial.trial import Trial, Yard

LIMITS = Limits(120, 60, 60, 4)
BOOTS = 5


@dataclass(frozen=True)
class Cost:
    """What it took to the first byte; `peak_mib` is the most that QEMU had resident until then."""

    wall: float
    processor: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restores", type=int, default=20, help="restores of each architecture (%(default)s)")
    parser.add_argument("--tests", type=int, help="instead: a suite of this many tests, each in a guest of its own")
    parser.add_argument("--panics", type=int, help="instead: this many guests that panic, each restored")
    parser.add_argument("--arch", choices=ARCHES, action="append", help="only this one; may be repeated")
    asked = parser.parse_args()
    machines = [machine(name) for name in asked.arch or DEFAULT]
    with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch:
        if asked.tests:
            one_by_one(machines, asked.tests, Path(scratch))
            return
        for each in machines:
            where = Path(scratch) / each.arch.name
            if asked.panics:
                die(each, asked.panics, where)
            else:
                measure(each, asked.restores, where)


def machine(name: str) -> Machine:
    root, arch = cache.default_root(), ARCHES[name]
    image = kbuild.newest_image(name, root)
    if image is None:
        sys.exit(f"no kernel for {name} in the cache: run `kdelta build` first")
    return Machine(arch, image, rootfs.build(arch, root), "tcg", memory_mib=512)


def measure(machine: Machine, count: int, where: Path) -> None:
    """Print one architecture's numbers; exits with 1 if restoring leaves something behind."""
    boots: list[Cost] = []
    for _ in range(BOOTS):
        with snapshot.take(machine, workdir=where / "boot", limits=LIMITS, prepare=clock(boots)):
            pass
    restores: list[Cost] = []
    with snapshot.take(machine, workdir=where / "boot", limits=LIMITS) as kept:
        for number in range(count):
            if number == 1:
                before = held(where)
            note = clock(restores)
            with kept.restore(workdir=where / "guest", limits=LIMITS) as alive:
                note(alive)
        after = held(where)
        shares = [share(kept, where) for _ in range(BOOTS)]
    name, peak = machine.arch.name, max(cost.peak_mib for cost in restores)
    for what in ("wall", "processor"):
        boot, restore = ([getattr(cost, what) for cost in costs] for costs in (boots, restores))
        median = statistics.median(restore)
        print(
            f"{name}: {what}: boot {statistics.median(boot):.3f} s (median of {len(boot)}), restore {median:.3f} s "
            f"(of {len(restore)}; {min(restore):.3f} to {max(restore):.3f}): {median / statistics.median(boot):.3f}"
        )
    most = max(shares, key=lambda one: one.mib)
    print(
        f"{name}: memory of a restored QEMU, at most {peak:.0f} MiB, {peak / machine.memory_mib:.2f} of its guest's; "
        f"its share of that {most.mib:.0f} MiB, {most.mib / machine.memory_mib:.2f} "
        f"({sum(one.looks for one in shares)} looks at {len(shares)} guests)"
    )
    most_ever = memory.peak_mib(Path("/proc/self"))
    print(
        f"{name}: held after the first and after {count} restores: {before}, {after}; at most {most_ever:.0f} MiB ever"
    )
    if before != after:
        sys.exit("something is left behind")


def share(kept: snapshot.Kept, where: Path) -> memory.Share:
    """Look at one guest's memory all the time that it works."""
    with kept.restore(workdir=where / "guest", limits=LIMITS) as alive, memory.shared_out(qemu(alive.console)) as found:
        for _ in range(20):
            alive.run("echo x", timeout=60)
    return found


def die(machine: Machine, count: int, where: Path) -> None:
    """Print how long after its line on the console a panic is known to whoever waits for a command."""
    late: list[float] = []
    with snapshot.take(machine, workdir=where / "boot", limits=LIMITS) as kept:
        for _ in range(count):
            with kept.restore(workdir=where / "guest", limits=LIMITS) as alive:
                seen = threading.Thread(target=watch, args=(alive.console, shown := list[float]()))
                seen.start()
                try:
                    alive.run("echo c >/proc/sysrq-trigger; sleep 60", timeout=60)
                except GuestLost as fault:
                    now = time.monotonic()
                    assert fault.kind == "panic", fault
                seen.join()
            late.append(now - shown[0])
    print(
        f"{machine.arch.name}: {len(late)} of {count} panics reported as such, {statistics.median(late):.3f} s "
        f"after the line (median; {min(late):.3f} to {max(late):.3f})"
    )


def watch(console: Path, shown: list[float]) -> None:
    """Note when a console tells of a panic."""
    while b"Kernel panic - not syncing" not in console.read_bytes():
        time.sleep(0.001)
    shown.append(time.monotonic())


def clock(costs: list[Cost]) -> Callable[[Guest], None]:
    """Return what runs a command in a guest that is started from now on, and notes what that took."""
    began = time.monotonic()

    def note(alive: Guest) -> None:
        assert alive.run("echo x", timeout=60).stdout == b"x\n"
        wall, pid = time.monotonic() - began, qemu(alive.console)
        ticks = sum(map(int, (pid / "stat").read_text().rpartition(")")[2].split()[11:13]))
        costs.append(Cost(wall, ticks / os.sysconf("SC_CLK_TCK"), memory.peak_mib(pid)))

    return note


def qemu(console: Path) -> Path:
    """The process that writes a console."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "fd" / "1").readlink() == console:
                return entry
        except OSError:
            continue
    raise LookupError(console)


def held(where: Path) -> str:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return (
        f"{len([*Path('/proc/self/fd').iterdir()])} descriptors, {len(children)} children, "
        f"{threading.active_count()} threads, {len([*where.rglob('*')])} files"
    )


def one_by_one(machines: list[Machine], count: int, where: Path) -> None:
    """A suite whose tests do next to nothing, on all machines at once."""
    program = where / "many"
    listing = f"i=0; while [ $i -lt {count} ]; do i=$((i + 1)); echo test$i; done"
    program.write_text(f'#!/bin/sh\nif [ "$1" = --list ]; then {listing}; else echo 1..1; echo "ok 1 $1"; fi\n')
    (where / "suite.yaml").write_text("{name: many, kind: ktap, binaries: [many], command: ./many, isolation: test}\n")
    many = suite.load(where)
    began = time.monotonic()
    results: list[GuestRun] = []
    room = places.Places(os.cpu_count() or 1, places.free_mib)

    def trial(machine: Machine) -> None:
        cell = Cell(Side.BASE, machine.arch.name, "fast")
        asked = Trial(
            cell,
            machine,
            LIMITS,
            (payload.make(many, Place(machine.arch, Side.BASE, where / "cache")),),
            1,
            where / str(cell),
        )
        yard = Yard(room, durations.of(where / "cache", machine.arch.name))
        results.append(runner.run(asked, snapshot.take, yard))

    threads = [threading.Thread(target=trial, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    tests = [test for run in results for test in run.results]
    passed = sum(test.outcome == "pass" for test in tests)
    print(
        f"{len(tests)} tests, {passed} passed, each in a guest of its own: {seconds:.0f} s, "
        f"{len(tests) / seconds * 60:.0f} a minute"
    )


if __name__ == "__main__":
    main()
