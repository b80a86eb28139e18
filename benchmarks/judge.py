"""Seconds that judging takes: 10,000 tests of one lane, each run 20 times on both sides, one in a hundred flaky.

PYTHONPATH=. python benchmarks/judge.py [TESTS] [RUNS]
"""

import random
import sys
import time

from orchestrator.judge import chance, diff, settle, verdict
from orchestrator.model import GuestOutcome, GuestRecord, GuestRun, Outcome, Pair, Side, SuiteEnd, TestResult

TESTS, RUNS = 10_000, 20


def ran(side: Side, tests: int, draw: random.Random) -> GuestRun:
    """One pass: every 100th test fails one time in five, the first one always on patched."""
    record = GuestRecord(side, "x86_64", "fast", "tcg", 1.0, GuestOutcome.OK, "console.log")

    def outcome(number: int) -> Outcome:
        broken = number == 0 and side is Side.PATCHED
        return Outcome.FAIL if broken or (number % 100 == 50 and draw.random() < 0.2) else Outcome.PASS

    results = tuple(TestResult("suite", f"test_{number}", outcome(number), "words") for number in range(tests))
    return GuestRun(record, results, (), (SuiteEnd("suite", 0, Outcome.PASS, ""),))


def main() -> None:
    tests, runs = (int(word) for word in (*sys.argv[1:], TESTS, RUNS)[:2]) if len(sys.argv) > 2 else (TESTS, RUNS)
    draw = random.Random(1)
    base, patched, *rest = (ran(side, tests, draw) for _ in range(runs) for side in Side)
    pairs = [Pair("suite", "", *both) for both in zip(rest[::2], rest[1::2], strict=True)]
    began = time.perf_counter(), time.process_time()
    changes = settle.settle(diff.compare(base, patched, ["suite"], []), pairs, chance.ALPHA)
    answer = verdict.decide((), (), changes, declared=False)
    wall, busy = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{tests:,} tests x {runs} runs of both sides judged in {wall:.2f} s ({busy:.2f} s of a processor)")
    print(f"{answer.value}, after {len(pairs)} pairs:")
    for reason in answer.reasons:
        print(f"  {reason}")


if __name__ == "__main__":
    main()
