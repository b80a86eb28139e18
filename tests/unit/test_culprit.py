"""How sure a bisection is, and what it looks for."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge import culprit
from orchestrator.judge.culprit import Kind, Seen, Symptom
from orchestrator.model import (
    ChangeKind,
    Culprit,
    Evidence,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Lane,
    Outcome,
    Patch,
    Rate,
    Run,
    Series,
    Side,
    Splat,
    SuiteEnd,
    Suspect,
    TestResult,
)
from orchestrator.publish import digest, html, text
from tests.unit.runs import change, sample_run

LANE = Lane("arm64", "fast")


def symptom(bad: int = 1, runs: int = 1, kind: Kind = Kind.TEST, key: tuple[str, ...] = ("s", "t", "")) -> Symptom:
    return Symptom(kind, LANE, key, "words", "s", bad, runs)


def tree(*outcomes: Outcome, guest: GuestOutcome = GuestOutcome.OK, splats: tuple[Splat, ...] = ()) -> GuestRun:
    record = GuestRecord(Side.PATCHED, *LANE, "tcg", 1.0, guest, "console.log", splats=splats)
    results = tuple(TestResult("s", "t", outcome, repeat=number) for number, outcome in enumerate(outcomes))
    ends = tuple(SuiteEnd("s", number, Outcome.PASS, "") for number in range(len(outcomes)))
    return GuestRun(record, results, ends=ends)


def test_what_always_shows_needs_three_clean_runs_and_what_shows_one_time_in_ten_many() -> None:
    assert culprit.needed(symptom(6, 6)) == 3
    assert culprit.needed(symptom(100, 100)) == 1
    assert culprit.needed(symptom(10, 100)) > 40
    assert culprit.needed(symptom(1, 100)) == culprit.MOST_RUNS


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 100))
def test_luck_is_a_probability_and_gets_less_with_every_clean_run(bad: int, good: int, clean: int) -> None:
    shown = symptom(bad, bad + good)
    assert 0 < culprit.luck(shown, clean) < culprit.luck(shown, clean - 1) <= 1


def test_luck_is_the_mean_over_all_rates_that_the_runs_allow() -> None:
    rates = [(number + 0.5) / 1000 for number in range(1000)]
    weights = [rate**2 * (1 - rate) for rate in rates]
    mean = sum(weight * (1 - rate) ** 4 for rate, weight in zip(rates, weights, strict=True)) / sum(weights)
    assert culprit.luck(symptom(2, 3), 4) == pytest.approx(mean, rel=1e-4)


def test_a_test_shows_when_it_fails_and_a_tree_where_it_did_not_run_tells_nothing() -> None:
    assert culprit.show(symptom(), tree(Outcome.PASS, Outcome.FAIL)) == Seen(1, 2)
    assert culprit.show(symptom(), tree(Outcome.PASS, Outcome.PASS)) == Seen(0, 2)
    assert culprit.show(symptom(), tree(Outcome.SKIP)) is None
    assert culprit.show(symptom(), tree()) is None
    assert culprit.show(symptom(), tree(Outcome.LOST, guest=GuestOutcome.PANIC)) == Seen(1, 1)
    assert culprit.show(symptom(), tree(Outcome.LOST, guest=GuestOutcome.KILLED)) is None


def test_a_test_that_failed_on_base_shows_only_the_worse_end() -> None:
    worse = symptom(key=("s", "t", "crash"))
    assert culprit.show(worse, tree(Outcome.FAIL)) == Seen(0, 1)
    assert culprit.show(worse, tree(Outcome.CRASH)) == Seen(1, 1)


def report(title: str, *frames: str) -> Splat:
    return Splat("warning", title, "text", frames, "-".join(frames))


def test_a_report_shows_by_its_title_where_a_later_patch_gave_its_caller_another_name() -> None:
    [wanted] = looked_for((), (report("WARNING in f", "f", "caller"),))
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in f", "f", "renamed"),))) == Seen(1, 1)
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in g", "g", "caller"),))) == Seen(0, 1)


def test_a_report_shows_by_its_frames_where_base_gives_another_one_with_its_title() -> None:
    [wanted] = looked_for((report("WARNING in f", "f", "base"),), (report("WARNING in f", "f", "caller"),))
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in f", "f", "base"),))) == Seen(0, 1)
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in f", "f", "caller"),))) == Seen(1, 1)


def test_a_guest_that_ended_early_may_have_missed_a_report() -> None:
    [wanted] = looked_for((), (report("WARNING in f", "f"),))
    assert culprit.show(wanted, tree(Outcome.PASS, Outcome.PASS)) == Seen(0, 2)
    assert culprit.show(wanted, tree(guest=GuestOutcome.PANIC)) is None


def looked_for(base: tuple[Splat, ...], patched: tuple[Splat, ...]) -> list[Symptom]:
    guests = (replace(tree(splats=splats).guest, side=side) for side, splats in zip(Side, (base, patched), strict=True))
    return culprit.symptoms(sample_run(builds=(), guests=tuple(guests), tests=(), metrics=()))


def again(base: int, patched: int, of: int) -> Evidence:
    return Evidence(Rate(base, of, 0.0, 1.0), Rate(patched, of, 0.0, 1.0))


@pytest.mark.parametrize(("kind", "came"), [(ChangeKind.FLAKY_ON_PATCHED, 0), (ChangeKind.REGRESSED, 6)])
def test_a_guests_end_is_looked_for_where_the_verdict_blames_the_series_for_it(kind: ChangeKind, came: int) -> None:
    base, patched = (GuestRecord(side, *LANE, "tcg", 1.0, GuestOutcome.OK, "c") for side in Side)
    panicked = replace(patched, outcome=GuestOutcome.PANIC, detail="panic: x")
    crashed = change("t", LANE.arch, patched=Outcome.CRASH, kind=kind, evidence=again(0, came, 6))
    found = culprit.symptoms(sample_run(builds=(), guests=(base, panicked), tests=(crashed,), metrics=()))
    assert (Kind.END in {one.kind for one in found}) is (kind is ChangeKind.REGRESSED)


def blamed(*suspects: Suspect, builds: int = 3, boots: int = 5) -> Run:
    found = Culprit(
        ("s/t (pass -> fail)", "s/u (pass -> fail)"),
        ("x86_64-fast", "arm64-fast"),
        suspects,
        0.99999,
        builds,
        boots,
        "kdelta run '<b>'",
        "bisect/x.log",
    )
    patches = tuple(Patch(f"mm: step {number}", "A <a@example.org>", ("mm/madvise.c",)) for number in range(8))
    return sample_run(series=Series("mm: steps", patches), culprits=(found,))


def test_the_summary_names_the_patch_how_sure_that_is_and_what_it_brought() -> None:
    said = text.summary(blamed(Suspect(5, "c" * 40, "mm: step 4")), None).splitlines()
    assert "culprit: patch 5 of 8 (mm: step 4), 99.9 % sure after 3 builds and 5 boots" in said
    assert "  brought s/t (pass -> fail) and 1 more on x86_64-fast, arm64-fast" in said


def test_commits_that_cannot_be_told_apart_are_all_named_and_hostile_names_are_text(tmp_path: Path) -> None:
    run = blamed(Suspect(0, "c" * 40, "one\x1b[31m"), Suspect(0, "d" * 40, "<script>"))
    assert 'one of cccccccccccc ("one' in digest.blame(run, run.culprits[0])
    assert "\x1b" not in text.summary(run, None)
    page = html.render(run, tmp_path)
    assert "Culprit: one of" in page
    assert "<script>&#34;" not in page
    assert "kdelta run &#39;&lt;b&gt;&#39;" in page
