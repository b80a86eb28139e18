"""What a cluster costs against this machine alone: the same run on both, in turn; and tiny tasks through the scheduler.

`python benchmarks/cluster.py --help`. Scheduler and worker are processes on this machine, with this machine's cache, so
that what differs is the way there and back. Nothing else should run meanwhile.
"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KDELTA = [sys.executable, "-c", "from orchestrator.cli import entry; entry()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs on each (%(default)s)")
    parser.add_argument("--tasks", type=int, default=10_000, help="tiny tasks (%(default)s)")
    parser.add_argument("--arch", action="append", help="of the run; may be repeated (x86_64 and arm64)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch, processes(Path(scratch)) as url:
        tiny(url, asked.tasks)
        if asked.rounds:
            compare(url, asked.arch or ["x86_64", "arm64"], asked.rounds, Path(scratch))


@contextlib.contextmanager
def processes(scratch: Path) -> Iterator[str]:
    """Lend the URL of a scheduler with one worker."""
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(
            started(["scheduler", "tcp://127.0.0.1:0"], scratch / "scheduler.log", "schedules at")
        )
        url = re.search(r"schedules at (\S+)", said)
        assert url
        stack.enter_context(started(["worker", url[1]], scratch / "worker.log", "works for"))
        yield url[1]


@contextlib.contextmanager
def started(words: list[str], log: Path, ready: str) -> Iterator[str]:
    with log.open("wb") as said, subprocess.Popen([*KDELTA, *words], stdout=said, stderr=said) as process:
        try:
            while ready not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield log.read_text()
        finally:
            process.terminate()


def tiny(url: str, count: int) -> None:
    """How many tasks that do nothing go through the scheduler in a second."""
    from distributed import Client  # noqa: PLC0415

    with Client(url) as client:
        client.gather(client.map(abs, range(100), pure=False))
        start, used = time.monotonic(), client.run_on_scheduler(time.process_time)
        client.gather(client.map(abs, range(count), pure=False))
        seconds = time.monotonic() - start
        used = client.run_on_scheduler(time.process_time) - used
        rates = f"{count / seconds:.0f} tasks/s; scheduler {used:.1f} s, {used / count * 1000:.2f} ms each"
        print(f"{count} tiny tasks: {seconds:.1f} s, {rates}")


def compare(url: str, arches: list[str], rounds: int, scratch: Path) -> None:
    away = ["--scheduler", url, "--store", str(scratch / "store")]
    run(arches, scratch / "warm", away)  # what is built, proven and sent once
    walls: dict[str, list[float]] = {"local": [], "cluster": []}
    for number in range(rounds):
        for name, words in (("local", []), ("cluster", away)):
            walls[name].append(run(arches, scratch / f"{name}-{number}", words))
            print(f"{name}: {walls[name][-1]:.1f} s", flush=True)
    local, cluster = (statistics.median(walls[name]) for name in walls)
    more = (cluster / local - 1) * 100
    print(f"median of {rounds}: local {local:.1f} s, cluster {cluster:.1f} s, overhead {more:+.1f} %")


def run(arches: list[str], out: Path, words: list[str]) -> float:
    on = [word for arch in arches for word in ("--arch", arch)]
    asked = ["--history", "off", "run", "madv-dontneed-locked", *on, "--out", str(out), *words]
    done = subprocess.run([*KDELTA, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(json.loads((out / "run.json").read_text())["wall_seconds"])


if __name__ == "__main__":
    main()
