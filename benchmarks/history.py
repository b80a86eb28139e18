"""How long the history takes: 1,000 runs of 10,000 tests are added, and the three questions are asked. Generated data.

Of the tests of a lane one in 33 is always skipped, one in 100 always fails, one in 100 fails one time in ten, and every
50 runs ten tests are new. Every tenth run has another base.
"""

import argparse
import contextlib
import dataclasses
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.history import ask, flaky, write
from orchestrator.history.book import Book, opened
from orchestrator.model import Change, ChangeKind, Observed, Outcome, Run, RunStatus, Side, Verdict, VerdictValue
from tests import postgres
from tests.unit.runs import sample_run

ARCHES = ("x86_64", "arm64")
DAY = 86400
SAME = {outcome: Observed(outcome, "", (outcome,)) for outcome in Outcome}


def changes(number: int, tests: int, chance: random.Random) -> Iterator[Change]:
    """What one run gave."""
    for arch in ARCHES:
        for test in range(tests + 10 * (number // 50)):
            usual = Outcome.SKIP if test % 33 == 32 else Outcome.FAIL if test % 100 == 50 else Outcome.PASS
            kind = ChangeKind.SAME_FAIL if usual is Outcome.FAIL else ChangeKind.SAME
            base = patched = usual
            if test % 100 == 7:
                base, patched = (Outcome.FAIL if chance.random() < 0.1 else Outcome.PASS for _ in Side)
                kind = ChangeKind.FLAKY_ON_BASE if base.bad else ChangeKind.SAME
            yield Change("suite", f"group{test % 97}.test_{test}", arch, "fast", SAME[base], SAME[patched], kind)


def run(number: int, tests: int) -> Run:
    """The record of one run, as far as the history reads it."""
    chance = random.Random(number)
    empty = sample_run()
    images = {Side.BASE: f"{number // 10:064x}", Side.PATCHED: f"{number:060x}beef"}
    return dataclasses.replace(
        empty,
        id=f"run-{number:04}",
        status=RunStatus.DONE,
        started=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_700_000_000 + number * DAY)),
        builds=tuple(dataclasses.replace(build, image_sha256=images[build.side]) for build in empty.builds),
        tests=tuple(changes(number, tests, chance)),
        verdict=Verdict(VerdictValue.CLEAN, ()),
    )


def timed(what: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def say(name: str, seconds: list[float]) -> None:
    print(f"{name:34} {statistics.median(seconds):8.3f} s   (most {max(seconds):.3f})")


def ask_all(book: Book, runs: int) -> None:
    """The three questions, five times each."""
    for name in ("group7.test_7", "group0.test_0"):
        kind = "flaky" if name.endswith("_7") else "steady"
        say(f"history of a {kind} test", [timed(lambda name=name: ask.story(book, "suite", name)) for _ in range(5)])
    pairs = [(ask.find(book, f"run-{one:04}"), ask.find(book, f"run-{runs - 1:04}")) for one in (0, runs - 2)]
    say("compare the first run and the last", [timed(lambda: ask.compare(book, *pairs[0])) for _ in range(5)])
    say("compare the last two runs", [timed(lambda: ask.compare(book, *pairs[1])) for _ in range(5)])
    say("flakes of all runs", [timed(lambda: flaky.flakes(book)) for _ in range(5)])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=1000)
    asked.add_argument("--tests", type=int, default=10_000)
    asked.add_argument(
        "--postgresql", action="store_true", help="a server of its own, as Debian sets it, instead of a file"
    )
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdelta-history-") as own, contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres.cluster(())) if given.postgresql else ""
        where = url.replace("@/", "@/postgres") if url else str(Path(own) / "history.sqlite")
        with opened(where) as book:
            print(f"{given.runs} runs x {given.tests} tests x {len(ARCHES)} architectures x 2 sides")
            fill(book, given.runs, given.tests)
            ask_all(book, given.runs)
        if size := sum(file.stat().st_size for file in Path(own).iterdir()):
            print(f"{'size of the file':34} {size / (1 << 20):8.1f} MiB")


def fill(book: Book, runs: int, tests: int) -> None:
    """Add all runs; the slowest are told with the processor's part, since the rest is waiting for a disk or a core."""
    took: list[tuple[float, float, int]] = []
    for number in range(runs):
        one, cpu = run(number, tests), time.process_time()
        seconds = timed(lambda one=one: write.add(book, one, Path("results")))
        took.append((seconds, time.process_time() - cpu, number))
    say("insert of one run", [seconds for seconds, _, _ in took])
    say("  of that the processor", [cpu for _, cpu, _ in took])
    for seconds, cpu, number in sorted(took)[-3:]:
        print(f"  run {number}: {seconds:.2f} s, of the processor {cpu:.2f} s")


main()
