"""Which program of a run is meant by SUITE/TEST."""

import contextlib
import functools
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.arch import get
from kvm.errors import GuestLost, UserError
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator.model import Cell, Side
from orchestrator.trial import again, paired
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.run import Run
from orchestrator.trial.suites.suite import Isolation, Suite
from orchestrator.trial.trial import Trial
from tests import scripted

WHERE = Path("/nowhere")


def payload(name: str, isolation: Isolation, *programs: str) -> Payload:
    return Payload(
        Suite(WHERE, name, SuiteKind.KTAP, isolation=isolation), WHERE, tuple(Run(one, one) for one in programs)
    )


@pytest.fixture
def trial() -> Trial:
    payloads = (
        payload("alone", Isolation.TEST, ""),
        payload("whole", Isolation.SUITE, ""),
        payload("many", Isolation.SUITE, "mm/one", "mm/one_more"),
    )
    machine = Machine(get("arm64"), WHERE, WHERE, "tcg")
    return Trial(Cell(Side.BASE, "arm64", "fast"), machine, Limits(), payloads, 1, WHERE)


@pytest.mark.parametrize(
    ("name", "program", "test"),
    [
        ("alone/drops", "", "drops"),
        ("alone", "", ""),
        ("alone/drops/a case", "", "drops"),
        ("alone/drops/(report) WARNING in f", "", "drops"),
        ("alone/(report) WARNING in f", "", ""),
        ("alone/;reboot", "", ""),
        ("whole/drops", "", "drops"),
        ("whole/(exit)", "", ""),
        ("many/mm/one", "mm/one", ""),
        ("many/mm/one/(case)", "mm/one", ""),
        ("many/mm/one_more", "mm/one_more", ""),
    ],
)
def test_a_test_is_found_by_the_name_that_the_report_gives_it(trial: Trial, name: str, program: str, test: str) -> None:
    turn = again.find(trial, name)
    assert (turn.run.name, turn.test) == (program, test)


@pytest.mark.parametrize("name", ["../../../evil", "..", "$(reboot)", "-rf", "two words", "(exit)", "x" * 300])
def test_what_a_guest_printed_as_a_test_becomes_no_path_and_no_word_of_a_shell(trial: Trial, name: str) -> None:
    assert paired.find(trial.payloads, ("alone", name), 1) is None
    assert again.find(trial, f"alone/{name}").test == ""


def test_a_part_of_a_test_is_run_again_as_that_test(trial: Trial) -> None:
    found = paired.find(trial.payloads, ("alone", "drops/../../evil"), 1)
    assert found and (found.program, [turn.test for turn in found.turns]) == ("drops", ["drops"])


def test_what_is_of_several_programs_is_run_again_with_all_of_them_where_they_share_a_guest(trial: Trial) -> None:
    found = paired.find(trial.payloads, ("many", ""), 1)
    assert found and (found.program, [turn.run.name for turn in found.turns]) == ("", ["mm/one", "mm/one_more"])
    [many] = [one for one in trial.payloads if one.suite.name == "many"]
    apart = replace(many, suite=replace(many.suite, isolation=Isolation.TEST))
    assert paired.find((apart,), ("many", ""), 1) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "no suite 'nothing'"),
        ("many", "no program for ''"),
        ("many/mm", "no program for 'mm'"),
    ],
)
def test_what_is_no_test_is_said_with_what_there_is(trial: Trial, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        again.find(trial, name)


def whole(tmp_path: Path, *script: str) -> Trial:
    (tmp_path / "image").write_text("")
    (tmp_path / "program").write_text(scripted.program(*script))
    made = scripted.payload(Suite(tmp_path, "whole", SuiteKind.KTAP), tmp_path / "program", tmp_path / "cache")
    machine = Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")
    return Trial(Cell(Side.BASE, "arm64", "fast"), machine, Limits(), (made,), 1, tmp_path)


@pytest.mark.parametrize(
    ("script", "gave"),
    [
        (["say 1..2", "say ok 1 drops", "say ok 2 stays"], b"1..1\nok 1 drops\n"),
        (["say 1..1", "say ok 1 other"], b"1..1\nok 1 other\n"),
        (["panic"], None),
    ],
)
def test_a_test_runs_alone_where_its_program_lists_it_and_else_with_its_program(
    tmp_path: Path, script: list[str], gave: bytes | None
) -> None:
    trial = whole(tmp_path, *script)
    seen: list[bytes] = []
    fails = contextlib.nullcontext() if gave else pytest.raises(GuestLost)
    with fails:
        again.enact(trial, scripted.take, "whole/drops", lambda _, done: seen.append(done.stdout))
    assert seen == ([gave] if gave else [])


@pytest.mark.parametrize(("tries", "outcome"), [(9, b"not ok 2 flaky\n"), (2, b"ok 2 flaky\n")])
def test_guests_are_had_until_the_test_fails_or_there_are_enough(tmp_path: Path, tries: int, outcome: bytes) -> None:
    draws = iter([False, False, True])
    trial = whole(tmp_path, "say 1..2", "say ok 1 other", "mostly ok 2 flaky")
    seen: list[bytes] = []
    take = functools.partial(scripted.take, draw=lambda: next(draws))
    again.enact(trial, take, "whole/flaky", lambda _, done: seen.append(done.stdout), tries=tries)
    assert seen == [b"1..1\n" + outcome]
    assert len(list(draws)) == 3 - min(tries, 3)


def test_the_guest_that_was_kept_is_that_of_the_test_or_of_its_program(tmp_path: Path) -> None:
    trial = whole(tmp_path)
    found = [again.kept(trial, "whole/drops", tmp_path)]
    for place in ("whole/stays", "whole", "whole/drops"):
        (tmp_path / "failed" / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "failed" / place / "state").touch()
        found.append(again.kept(trial, "whole/drops", tmp_path))
    assert found == [None, None, tmp_path / "failed/whole", tmp_path / "failed/whole/drops"]
