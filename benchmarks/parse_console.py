"""Time the reading of a 100 MB console: `python benchmarks/parse_console.py [--megabytes 100] [--flood]`.

There is a report every 30,000 lines; with --flood there is nothing else. The console is written to a file first, and
read as a run reads it, in a process that does nothing else: its peak memory is what that takes.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAID = (
    "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
    "EXT4-fs (vda): mounted filesystem with ordered data mode. Opts: (null). Quota mode: none.",
    "audit: type=1400 apparmor=STATUS operation=profile_load name=init pid=1",
    "pci 0000:00:1f.2: reg 0x20: [io  0xc040-0xc05f]",
    "kdelta: suite madvise_locked starts",
    "random: crng init done",
    "foo: INFO, WARNING and BUG are words like others",
)


def reports() -> list[list[str]]:
    """The messages of the consoles that the tests read, without their times."""
    found = []
    for path in sorted((ROOT / "tests/data/splat").iterdir())[:40]:
        console = path.read_bytes().partition(b"\n\n")[2].decode(errors="replace")
        found.append([line.partition("] ")[2] for line in console.splitlines() if line.startswith("[")])
    return [lines for lines in found if lines]


def lines(size: int, flood: bool) -> Iterator[str]:
    """Lines of `size` bytes altogether."""
    dice, known, now = random.Random(1), reports(), 0.0
    while size > 0:
        report = flood or dice.random() * 30_000 < 1
        for text in dice.choice(known) if report else [dice.choice(SAID)]:
            now += dice.random() / 100
            line = f"[{now:12.6f}] {text}\r\n"
            size -= len(line)
            yield line


def read(path: Path) -> None:
    """Read one console, and say what that took."""
    from orchestrator import consoles, splats  # noqa: PLC0415  (not before the clock of the parent's work)

    rules = splats.rules()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, spent = time.perf_counter(), time.process_time()
    found = consoles.read(path, rules)
    wall, spent = time.perf_counter() - began, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = sum(report.times for report in found.splats)
    print(
        f"{wall:.2f} s wall, {spent:.2f} s processor, peak {peak / 1024:.0f} MB ({before / 1024:.0f} MB before):",
        end=" ",
    )
    print(f"{len(found.splats)} different reports, {times} in all, {found.more} more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--flood", action="store_true", help="nothing but reports")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        read(asked.read)
        return
    with tempfile.TemporaryDirectory(prefix="kdelta-console-") as scratch:
        path = Path(scratch) / "console.log"
        with path.open("w", newline="") as out:
            out.writelines(lines(asked.megabytes * 1_000_000, asked.flood))
        print(f"{path.stat().st_size / 1e6:.0f} MB:", end=" ", flush=True)
        subprocess.run([sys.executable, __file__, "--read", str(path)], check=True, env={"PYTHONPATH": str(ROOT)})


if __name__ == "__main__":
    main()
