"""`make bench`: what a run costs, as ratios measured in one go. Takes as long as two cold kernel builds.

A cold run in a cache of its own, then the same warm, five times; processor time is that of the whole machine,
so let it do nothing else.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_RUNS = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch:
        where = Path(scratch)
        cold, wall, cpu = run(where / "cold", where / "cache")
        warm = [run(where / f"warm-{number}", where / "cache")[:2] for number in range(WARM_RUNS)]
    cores = os.cpu_count() or 1
    print(f"cores {cores}; {cold['host']['qemu']}; {cold['host']['compilers']}; {cold['host']['accel']}")
    print(
        f"cold run: {wall:.0f} s wall, {cpu:.0f} s processor, wall / (processor / cores) = {wall / (cpu / cores):.2f}"
    )
    for arch in cold["host"]["accel"]:
        base, patched = (side["cpu_seconds"] for side in cold["builds"] if side["arch"] == arch)
        print(f"{arch}: second side / first side, processor: {patched:.1f} s / {base:.1f} s = {patched / base:.3f}")
        boots = [guest["boot_seconds"] for record, _ in warm for guest in record["guests"] if guest["arch"] == arch]
        print(f"{arch}: boot to first test byte, median of {len(boots)}: {statistics.median(boots):.2f} s")
    walls = [seconds for _, seconds in warm]
    print(f"warm run: median of {WARM_RUNS}: {statistics.median(walls):.1f} s ({min(walls):.1f} to {max(walls):.1f})")


def run(out: Path, cache: Path) -> tuple[dict, float, float]:  # type: ignore[type-arg]
    """One `kdelta run`: its record, wall seconds, and processor seconds of the machine meanwhile."""
    started, busy = time.monotonic(), busy_seconds()
    argv = [
        sys.executable,
        "-c",
        "from orchestrator.cli import entry; entry()",
        "--cache-dir",
        cache,
        "run",
        "--out",
        out,
    ]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "run.json").read_text()), time.monotonic() - started, busy_seconds() - busy


def busy_seconds() -> float:
    """Processor time that the machine has spent at work, from /proc/stat."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
