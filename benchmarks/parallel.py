"""How many guests at once serve best: `python benchmarks/parallel.py [--most 6] [--guests 12] [--beside NICENESS]`.

Boots the newest image of the cache for each architecture once, and runs the bundled suite in so many restored guests,
with 1, 2, ... places for them, as a run does. With --beside, a compiler runs on every processor, at that niceness.
"""

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import memory
from kvm import accel, rootfs, snapshot
from kvm.arch import ARCHES, DEFAULT, Arch
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator import cache, config, places
from orchestrator.build import kbuild
from orchestrator.model import Cell, Side
from orchestrator.places import Places
from orchestrator.trial import durations
from orchestrator.trial.runner import run
from orchestrator.trial.suites import payload, suite
from orchestrator.trial.suites.payload import Place
from orchestrator.trial.trial import Trial, Yard

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=6)
    parser.add_argument("--guests", type=int, default=12)
    parser.add_argument("--beside", type=int, metavar="NICENESS")
    parser.add_argument("--arch", choices=[*ARCHES])
    asked = parser.parse_args()
    print(f"{places.processors()} processors; {asked.guests} guests; beside: {asked.beside}")
    for arch in [ARCHES[asked.arch]] if asked.arch else [ARCHES[name] for name in DEFAULT]:
        for most in range(1, asked.most + 1):
            with beside(asked.beside):
                measure(arch, most, asked.guests)


@contextlib.contextmanager
def beside(niceness: int | None) -> Iterator[None]:
    """Keep every processor busy compiling."""
    if niceness is None:
        yield
        return
    source = "int main(void){" + "".join(f"int a{n}={n};if(a{n}%7)a{n}*=3;" for n in range(3000)) + "return a1;}"
    loop = f"while :; do echo '{source}' | gcc -O2 -xc - -o /dev/null; done"
    many = [
        subprocess.Popen(["nice", "-n", str(niceness), "sh", "-c", loop], start_new_session=True)
        for _ in range(places.processors())
    ]
    try:
        yield
    finally:
        for one in many:
            subprocess.run(["kill", "--", f"-{one.pid}"], check=False)
            one.wait()


def clocks() -> tuple[float, float]:
    """Wall, and the processor seconds of all guests that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), used.ru_utime + used.ru_stime


@contextlib.contextmanager
def least_memory() -> Iterator[list[int]]:
    """Look at what memory is free, again and again."""
    free = [places.free_mib()]
    with memory.again_and_again(lambda: free.append(places.free_mib()), 0.2):
        yield free


def measure(arch: Arch, most: int, guests: int) -> None:
    root = cache.default_root()
    image = kbuild.newest_image(arch.name, root)
    if image is None:
        sys.exit(f"no kernel for {arch.name} in the cache: run `kdelta build` first")
    used = suite.load(config.find_suite("madvise_locked", ROOT))
    given = payload.make(used, Place(arch, Side.BASE, root))
    choice = accel.choose(arch, lambda: image, root)
    needs, initrd = used.needs, rootfs.build(arch, root)
    machine = Machine(arch, image, initrd, choice.used, needs.memory_mib, disk_mib=needs.swap_mib)
    limits = Limits(30 * choice.scale, 30 * choice.scale, 30 * choice.scale, choice.scale)
    with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch:
        trial = Trial(Cell(Side.BASE, arch.name, "fast"), machine, limits, (given,), guests, Path(scratch))
        yard = Yard(Places(most, places.free_mib), durations.of(Path(scratch), arch.name))
        booted: list[tuple[float, float]] = []
        with least_memory() as free:
            told = lambda stage: stage == "boot" or booted.append(clocks())  # noqa: E731
            seen = run(trial, snapshot.take, yard, told)
        wall, spent = (now - then for now, then in zip(clocks(), booted[0], strict=True))
    outcomes = {(result.name, result.outcome) for result in seen.results}
    lost = sum(end.outcome not in ("pass", "fail") for end in seen.ends)
    print(
        f"{arch.name}: {most} at once: {wall:5.1f} s, {60 * guests / wall:5.1f} guests a minute, "
        f"{spent / guests:4.1f} processor s each; "
        f"{len(seen.results)} results, {len(outcomes)} different, {lost} without an end, guest {seen.guest.outcome}; "
        f"memory taken {free[0] - min(free)} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
