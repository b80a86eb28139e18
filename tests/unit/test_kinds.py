"""What an exit status says of each kind of program, and what any text costs its parser."""

import time

import pytest

from orchestrator.model import Outcome, TestResult
from orchestrator.trial.kinds.kind import KINDS, SuiteKind, judge
from orchestrator.trial.kinds.parsed import Parsed

PASSED = TestResult("s", "a", Outcome.PASS)
FAILED = TestResult("s", "a", Outcome.FAIL)


@pytest.mark.parametrize("kind", SuiteKind)
@pytest.mark.parametrize(("status", "name"), [(132, "SIGILL"), (137, "SIGKILL"), (139, "SIGSEGV"), (162, "SIGRTMIN")])
def test_a_program_that_a_signal_ended_crashed_whatever_it_said(kind: SuiteKind, status: int, name: str) -> None:
    assert judge(KINDS[kind], status, Parsed((PASSED,))) == (Outcome.CRASH, f"killed by {name}")


@pytest.mark.parametrize("kind", SuiteKind)
def test_no_status_but_0_passes_unless_a_test_failed(kind: SuiteKind) -> None:
    judged = {status: judge(KINDS[kind], status, Parsed((PASSED,)))[0] for status in range(256)}
    assert [status for status, outcome in judged.items() if outcome is Outcome.PASS] == [0]


@pytest.mark.parametrize("kind", SuiteKind)
def test_a_program_that_did_not_say_all_does_not_pass(kind: SuiteKind) -> None:
    assert judge(KINDS[kind], 0, Parsed((PASSED,), faults=("why",))) == (Outcome.FAIL, "why")


def test_a_program_whose_test_failed_may_say_so_by_its_status() -> None:
    assert judge(KINDS[SuiteKind.KTAP], 1, Parsed((FAILED,))) == (Outcome.PASS, "")


def test_a_program_that_says_it_failed_and_names_no_failed_test_did_not_pass() -> None:
    outcome, why = judge(KINDS[SuiteKind.KTAP], 1, Parsed((PASSED,)))
    assert (outcome, why) == (Outcome.FAIL, "exit status 1, and no test failed")


def test_a_program_that_could_test_nothing_did_not_pass() -> None:
    nothing = Parsed(skipped="no device")
    assert judge(KINDS[SuiteKind.KTAP], 0, nothing) == judge(KINDS[SuiteKind.KTAP], 4, nothing)
    assert judge(KINDS[SuiteKind.KTAP], 0, nothing) == (Outcome.SKIP, "no device")


QUARTER = 1 << 18
NASTY = {
    "spaces": "ok" + " " * QUARTER,
    "spaces behind a number": f"ok 1{' ' * QUARTER}x",
    "margins": "# " * (QUARTER // 2),
    "hashes": "ok 1 a" + " #" * (QUARTER // 2),
    "almost directives": "ok 1 a" + " # SKI" * (QUARTER // 6),
    "dashes": f"ok 1 {'- ' * (QUARTER // 2)}x",
    "digits": f"ok {'1' * QUARTER}",
    "a plan of spaces": f"1..0 #{' ' * QUARTER}",
    "paths": f"ok 1 /tmp/{'a.' * (QUARTER // 2)}",
    "one name": "ok 1 a\n" * (QUARTER // 7),
    "names that are taken": "".join(f"ok 1 a#{number}\n" for number in range(2, 50000)) + "ok 1 a\n" * 20000,
    "announcements": "1..99999\n" + "".join(f"# run t{number}\n" for number in range(60000)),
    "torn again and again": "ok 1 a[    1.000000] m\n" + "b[    1.000000] m\n" * (QUARTER // 18),
    "escapes": "\x1b[1" * (QUARTER // 3),
    "carriage returns": "\r" * QUARTER,
    "newlines": "\n" * QUARTER,
    "deep": "".join(f"{' ' * depth}1..1\n" for depth in range(1400)),
    "up and down": "        ok 1 c\n    ok 1 b\n  ok 1 d\n ok 1 a\n" * (QUARTER // 50),
    "a block without an end": "1..2\nok 1 a\n  ---\n" + "  x\n" * (QUARTER // 4),
    "stamps": "[    1.000000]" * (QUARTER // 14),
    "words of a case": "KTAP version 1\n    # Subtest: s\n" + "    # c: w\n" * (QUARTER // 11),
    "marks": "[ RUN      ] A\n" + "[       OK ] " * (QUARTER // 13),
    "file systems": "a.c:1: TINFO: Testing on x\n" * (QUARTER // 27),
    "stressors": "stress-ng: info:  [1] dispatching hogs:" + " 1 a," * (QUARTER // 5),
    "lists": '{"results": [' + "[" * QUARTER,
    "records": '{"results": [' + '{"test_fqn":"a"},' * (QUARTER // 18),
    "quotes": '{"results": [{"test_fqn": "' + '\\"' * (QUARTER // 2),
}


@pytest.mark.parametrize("kind", [kind for kind in SuiteKind if kind is not SuiteKind.KSELFTEST])
def test_a_quarter_of_a_megabyte_of_anything_costs_seconds_at_most(kind: SuiteKind) -> None:
    for name, text in NASTY.items():
        began = time.process_time()
        KINDS[kind].parse(f"{text}\n", "s", 0)
        assert time.process_time() - began < 10, name  # below 1 s; what is quadratic takes minutes
