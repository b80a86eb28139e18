"""What b4 is told of each mail of a series."""

import dataclasses

import pytest

from orchestrator.model import Culprit, Patch, Posting, Run, Series, StepRecord, Suspect, Verdict, VerdictValue
from orchestrator.publish.formats import b4, patchwork
from tests.unit.runs import sample_run, with_strength

SERIES = Series(
    "mm: x",
    tuple(Patch(f"mm: {number}", "A <a@x>", (), f"<{number}@x>") for number in (1, 2)),
    Posting("<0@x>", "[PATCH 0/2] mm: x", "A <a@x>"),
)


def asked(message_id: str, value: VerdictValue = VerdictValue.REGRESSED, **more: object) -> list[tuple[str, str]]:
    run: Run = dataclasses.replace(sample_run(series=SERIES, verdict=Verdict(value, ("why \x1b[2J",))), **more)
    return [(one["status"], one["summary"]) for one in b4.results(run, message_id, "file:///report.html")]


@pytest.mark.parametrize(
    ("value", "status"),
    [(VerdictValue.VALIDATED, "pass"), (VerdictValue.INCONCLUSIVE, "warn"), (VerdictValue.UNMET, "fail")],
)
def test_a_mail_of_the_series_has_the_verdict_and_another_nothing(value: VerdictValue, status: str) -> None:
    for name in ("<0@x>", "<1@x>", "<2@x>"):
        assert asked(name, value) == [(status, f"{value}: why ")]
    assert asked("<3@x>") == asked("") == []


def test_what_the_verdict_rests_on_stands_in_the_same_line_however_long_its_reason_is() -> None:
    run = with_strength("0 of 41 changed lines ran on arm64", series=SERIES)
    [one] = b4.results(run, "<1@x>", "")
    assert one["summary"] == (
        "validated: 3 of 3 declared tests fixed on x86_64 and arm64; 0 of 41 changed lines ran on arm64"
    )
    long = dataclasses.replace(run, verdict=dataclasses.replace(run.verdict, reasons=("why " * 200,)))
    [check, _] = patchwork.checks(long, "kdelta", "")
    assert check.body["description"].endswith("; 0 of 41 changed lines ran on arm64")


def test_where_bisection_named_a_patch_the_others_do_not_fail() -> None:
    culprit = Culprit(("mm/t",), ("arm64",), (Suspect(2, "c", "mm: 2"),), 0.99, 1, 2, "kdelta", "")
    assert [status for status, _ in asked("<2@x>", culprits=(culprit,))] == ["fail"]
    [(status, summary)] = asked("<1@x>", culprits=(culprit,))
    assert (status, "not by this patch: patch 2 of 2 (mm: 2)" in summary) == ("warn", True)
    assert [status for status, _ in asked("<0@x>", culprits=(culprit,))] == ["fail"]


def test_a_patch_after_which_the_tree_does_not_build_fails() -> None:
    step = StepRecord(1, "mm: 1", "arm64", "fast", 1, 1, False, "log", error="x.c:1: error")
    assert asked("<1@x>", steps=(step,)) == [("fail", "does not build after this patch: x.c:1: error")]


def step(number: int, error: str | None = "x.c:1: error") -> StepRecord:
    return StepRecord(number, f"mm: {number}", "arm64", "fast", 1, 1, False, "log", error=error)


def test_where_base_does_not_build_either_no_patch_is_accused() -> None:
    builds = tuple(
        dataclasses.replace(build, error="y.c:1: error") if build.arch == "arm64" else build
        for build in sample_run().builds
    )
    steps = (step(1), step(2))
    assert asked("<1@x>", VerdictValue.INCONCLUSIVE, builds=builds, steps=steps) == [("warn", "inconclusive: why ")]


def test_where_nobody_knows_whether_the_tree_before_it_builds_a_patch_is_not_accused() -> None:
    steps = (dataclasses.replace(step(1), unfinished=True), step(2))
    for number in (1, 2):
        [(status, summary)] = asked(f"<{number}@x>", steps=steps)
        assert (status, summary.partition(";")[0]) == ("warn", "it does not build after patch 2 (mm: 2)")


def test_a_patch_that_comes_to_a_tree_that_does_not_build_is_not_the_one_that_broke_it() -> None:
    [(status, summary)] = asked("<2@x>", steps=(step(1), step(2)))
    assert (status, summary) == ("warn", "it does not build after patch 1 (mm: 1); the series is regressed: why ")
    assert [status for status, _ in asked("<1@x>", steps=(step(1), step(2)))] == ["fail"]
    assert [status for status, _ in asked("<2@x>", steps=(step(1, None), step(2)))] == ["fail"]
