"""Time and memory of reading 1,000,000 lines of KTAP, of four shapes; and whether twice the lines take twice the time.

    PYTHONPATH=. python benchmarks/parse_ktap.py [LINES]

Each reading is a process of its own. Its peak is of Python, the text and the results; what the first two need is said.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

from orchestrator.trial.kinds import ktap, kunit

LINES = 1_000_000


def flat() -> Iterator[str]:
    """Results and nothing else."""
    number = 0
    while True:
        number += 1
        yield f"ok {number} syscalls: case_{number}"


def nested() -> Iterator[str]:
    """As kselftest's runner prints programs that use the harness."""
    program = 0
    while True:
        program += 1
        yield from (f"# selftests: mm: program_{program}", "# timeout set to 45", "# TAP version 13", "# 1..200")
        for case in range(1, 201):
            yield f"# #  RUN           global.case_{case} ..."
            yield f"# #            OK  global.case_{case}"
            yield f"# ok {case} global.case_{case}"
        yield f"ok {program} selftests: mm: program_{program}"


def logged() -> Iterator[str]:
    """As KUnit prints to the console."""
    suite = 0
    while True:
        suite += 1
        stamp = f"[{suite:5}.123456] "
        yield from (f"{stamp}    KTAP version 1", f"{stamp}    # Subtest: suite_{suite}", f"{stamp}    1..100")
        for case in range(1, 101):
            yield f"{stamp}    # case_{case}: initializing"
            yield f"{stamp}    ok {case} case_{case}"
        yield f"{stamp}# suite_{suite}: pass:100 fail:0 skip:0 total:100"
        yield f"{stamp}ok {suite} suite_{suite}"


def failing() -> Iterator[str]:
    """Results with directives, notes and words of their own."""
    number = 0
    while True:
        number += 1
        yield f"# case_{number}: expected 1, got {number}"
        yield "some words of no form at all"
        yield f"not ok {number} case_{number} # exit=1"


SHAPES: dict[str, tuple[Callable[[], Iterator[str]], Callable[..., object]]] = {
    "flat": (flat, ktap.parse),
    "nested": (nested, ktap.parse),
    "logged": (logged, kunit.parse),
    "failing": (failing, ktap.parse),
}


def read(shape: str, count: int) -> None:
    """Read one shape and print what it took."""
    make, parse = SHAPES[shape]
    lines = make()
    pieces = ["\n".join([*islice(lines, 1000), ""]) for _ in range(count // 1000)]
    text = "".join(["KTAP version 1\n", *pieces])
    del pieces
    before = peak_mib()
    began = time.process_time()
    parsed = parse(text, "suite")
    seconds = time.process_time() - began
    size, results = len(text) / 2**20, len(parsed.results)  # type: ignore[attr-defined]
    print(
        f"{shape:8} {count:9,} lines, {size:4.1f} MiB: {results:9,} results in {seconds:5.2f} s; "
        f"peak {peak_mib():4.0f} MiB, {before:3.0f} MiB of it before"
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) > 2:
        return read(sys.argv[1], int(sys.argv[2]))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    for shape in SHAPES:
        for lines in (count // 2, count):
            subprocess.run([sys.executable, __file__, shape, str(lines)], check=True)
    return None


if __name__ == "__main__":
    main()
