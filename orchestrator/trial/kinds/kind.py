"""What programs print, a row each: how it is read, and what their exit status says. Another kind is another row."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model import Outcome
from orchestrator.trial.kinds import auto, bench, gtest, kirk, ktap, kunit, ltp, plain, status, stress_ng
from orchestrator.trial.kinds.parsed import Parsed


class SuiteKind(StrEnum):
    """What the program prints."""

    AUTO = "auto"
    KTAP = "ktap"
    KSELFTEST = "kselftest"
    KUNIT = "kunit"
    GTEST = "gtest"
    LTP = "ltp"
    KIRK = "kirk"
    STRESS_NG = "stress-ng"
    BENCH = "bench"
    EXIT = "exit"
    SCRIPT = "script"


@dataclass(frozen=True)
class Kind:
    """How one kind of output is read. Of the exit statuses, 0 says that all is well.

    `failed` say no more than that a test failed, `skipped` that nothing could be tested, any other is `otherwise`.
    With `both_streams`, what is written to standard error is read, too. With `of_itself`, a program is a test
    of its own output, under the name that `parse` is given; what is below it has a name that begins with that.
    """

    parse: Callable[[str, str, int], Parsed]
    failed: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()
    otherwise: Outcome = Outcome.FAIL
    both_streams: bool = False
    of_itself: bool = False


KINDS = {
    # as kselftest's runner judges: 4 skips
    SuiteKind.AUTO: Kind(auto.parse, frozenset({1}), frozenset({4})),
    # kselftest.h exits 1 when a test failed, 4 when it skips
    SuiteKind.KTAP: Kind(ktap.parse, frozenset({1}), frozenset({4}), Outcome.CRASH),
    # the runner wraps each program's KTAP into its own
    SuiteKind.KSELFTEST: Kind(ktap.parse, frozenset({1})),
    # the program is one that loads modules or prints the log
    SuiteKind.KUNIT: Kind(kunit.parse),
    SuiteKind.GTEST: Kind(gtest.parse, frozenset({1}), otherwise=Outcome.CRASH),
    # bits: 1 TFAIL, 2 TBROK, 4 TWARN; 32 is TCONF
    SuiteKind.LTP: Kind(ltp.parse, frozenset(range(1, 8)), frozenset({32}), both_streams=True, of_itself=True),
    SuiteKind.KIRK: Kind(kirk.parse),
    # 2 a stressor failed, 3 no resources, 4 not implemented here
    SuiteKind.STRESS_NG: Kind(stress_ng.parse, frozenset({2}), frozenset({3, 4}), both_streams=True),
    SuiteKind.BENCH: Kind(bench.parse, otherwise=Outcome.CRASH),
    SuiteKind.EXIT: Kind(plain.parse, skipped=frozenset({4})),
    SuiteKind.SCRIPT: Kind(plain.parse),
}


def judge(kind: Kind, exit_status: int, parsed: Parsed) -> tuple[Outcome, str]:
    """Say how a program ended that ended by itself, and why it did not pass, by its exit status and what it said."""
    if signal := status.name_of_signal(exit_status):
        return Outcome.CRASH, f"killed by {signal}"
    if exit_status in kind.skipped:
        return Outcome.SKIP, parsed.skipped or f"exit status {exit_status}"
    if exit_status and exit_status not in kind.failed:
        return kind.otherwise, f"exit status {exit_status}"
    return _of_words(exit_status, parsed)


def _of_words(exit_status: int, parsed: Parsed) -> tuple[Outcome, str]:
    """Judge by what was said, where the exit status says no more than whether a test failed."""
    if parsed.faults:
        return Outcome.FAIL, "; ".join(parsed.faults)
    if exit_status and not parsed.failed:
        return Outcome.FAIL, f"exit status {exit_status}, and no test failed"
    if parsed.skipped is not None:
        return Outcome.SKIP, parsed.skipped
    return Outcome.PASS, ""
