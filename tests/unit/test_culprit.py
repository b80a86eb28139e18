"""How sure a bisection is, and what it looks for."""

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge import culprit
from orchestrator.judge.culprit import Kind, Seen, Symptom, Taken
from orchestrator.model import (
    BOOT,
    Change,
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
ONCE, NEVER = Seen(1, 1), Seen(0, 1)


def symptom(patched: Seen = ONCE, base: Seen = NEVER, key: tuple[str, ...] = ("s", "t", "")) -> Symptom:
    return Symptom(Kind.TEST, LANE, key, "words", "s", patched, base)


def tree(*outcomes: Outcome, guest: GuestOutcome = GuestOutcome.OK, splats: tuple[Splat, ...] = ()) -> GuestRun:
    record = GuestRecord(Side.PATCHED, *LANE, "tcg", 1.0, guest, "console.log", splats=splats)
    results = tuple(TestResult("s", "t", outcome, repeat=number) for number, outcome in enumerate(outcomes))
    ends = tuple(SuiteEnd("s", number, Outcome.PASS, "") for number in range(len(outcomes)))
    return GuestRun(record, results, ends=ends)


def boots(wanted: Symptom, *, bad: bool) -> int:
    """How many boots of a tree in which it always shows, or never, are enough."""
    return next(n for n in itertools.count() if culprit.enough(wanted, Seen(n * bad, n)))


def test_what_always_shows_needs_two_boots_that_show_it_or_three_clean_ones() -> None:
    always = symptom(Seen(6, 6), Seen(0, 6))
    assert (boots(always, bad=True), boots(always, bad=False)) == (2, 3)


def test_what_nobody_has_seen_twice_needs_more_boots_and_what_shows_one_time_in_ten_many() -> None:
    assert boots(symptom(), bad=True) == 3
    assert 10 < boots(symptom(), bad=False) < 20
    assert boots(symptom(Seen(10, 100), Seen(0, 100)), bad=False) > 40
    assert boots(symptom(Seen(1, 100), Seen(0, 100)), bad=False) == culprit.MOST_RUNS


def test_what_base_shows_now_and_then_needs_more_boots_that_show_it() -> None:
    assert [boots(symptom(Seen(7, 7), Seen(came, 7)), bad=True) for came in range(3)] == [2, 3, 5]


SEEN = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda both: Seen(both[0], sum(both)))


@given(SEEN, SEEN, SEEN)
def test_it_is_a_probability_of_one_half_before_anything_is_seen(patched: Seen, base: Seen, tree: Seen) -> None:
    wanted = symptom(patched, base)
    assert 0 <= culprit.posterior(wanted, tree) <= 1
    assert culprit.posterior(wanted, Seen(0, 0)) == pytest.approx(0.5)


def test_it_is_the_mean_over_all_rates_that_the_runs_allow() -> None:
    rates = [(number + 0.5) / 10_000 for number in range(10_000)]

    def mean(shown: float, hidden: float) -> float:
        weights = [rate**shown * (1 - rate) ** hidden for rate in rates]
        return sum(w * rate * (1 - rate) ** 2 for w, rate in zip(weights, rates, strict=True)) / sum(weights)

    like_patched, like_base = mean(2, 1), mean(1 + 0.1 - 1, 5 + 1.9 - 1)
    expected = like_patched / (like_patched + like_base)
    assert culprit.posterior(symptom(Seen(2, 3), Seen(1, 6)), Seen(1, 3)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("came", [0, 1])
def test_a_good_tree_is_hardly_ever_called_bad_by_a_flake_of_base_of_one_in_ten(came: int) -> None:
    wanted, draw, wrong = symptom(Seen(7, 7), Seen(came, 7)), random.Random(5), 0
    for _ in range(1000):
        seen = Seen(0, 0)
        while not culprit.enough(wanted, seen):
            seen += Seen(int(draw.random() < 0.1), 1)
        wrong += culprit.posterior(wanted, seen) > 0.5
    assert wrong <= 20


def test_what_trees_show_tells_how_often_it_shows() -> None:
    wanted = symptom(Seen(6, 6), Seen(0, 6))
    assert wanted.seen(Seen(3, 4), bad=True) == symptom(Seen(9, 10), Seen(0, 6))
    assert wanted.seen(Seen(1, 4), bad=False) == symptom(Seen(6, 6), Seen(1, 10))


def test_a_test_shows_when_it_fails_and_a_tree_where_it_did_not_run_tells_nothing() -> None:
    assert culprit.show(symptom(), tree(Outcome.PASS, Outcome.FAIL)) == Seen(1, 2)
    assert culprit.show(symptom(), tree(Outcome.PASS, Outcome.PASS)) == Seen(0, 2)
    assert culprit.show(symptom(), tree(Outcome.SKIP)) is None
    assert culprit.show(symptom(), tree()) is None


def test_a_guest_that_ended_takes_a_test_along_only_where_patcheds_did() -> None:
    died, killed = (tree(Outcome.LOST, guest=outcome) for outcome in (GuestOutcome.PANIC, GuestOutcome.KILLED))
    at_boot = replace(died, guest=replace(died.guest, boot_seconds=None))
    assert culprit.show(symptom(), died) is None
    taken = replace(symptom(), taken=Taken.LATER)
    assert [culprit.show(taken, one) for one in (died, killed, at_boot)] == [Seen(1, 1), None, None]
    taken = replace(symptom(), taken=Taken.AT_BOOT)
    assert [culprit.show(taken, one) for one in (died, killed, at_boot)] == [None, None, Seen(1, 1)]


@pytest.mark.parametrize(
    ("first", "taken"), [(Outcome.PASS, Taken.LATER), (Outcome.CRASH, Taken.LATER), (Outcome.FAIL, Taken.NO)]
)
def test_what_passed_at_first_may_have_been_taken_along_in_pairs(first: Outcome, taken: Taken) -> None:
    row = change("t", LANE.arch, patched=first, kind=ChangeKind.REGRESSED, suite="s", evidence=again(0, 13, 30))
    guest = GuestRecord(Side.PATCHED, *LANE, "tcg", 1.0, GuestOutcome.OK, "console.log")
    [wanted] = culprit.symptoms(sample_run(builds=(), guests=(guest,), tests=(row,), metrics=()))
    assert wanted.taken is taken


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


def test_how_often_it_shows_is_known_of_both_sides_from_what_was_run_again() -> None:
    test = change("t", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED, evidence=again(1, 6, 7))
    [found] = culprit.symptoms(sample_run(builds=(), guests=(), tests=(test,), metrics=()))
    assert (found.patched, found.base) == (Seen(7, 8), Seen(1, 8))


def test_how_often_a_report_shows_is_known_from_its_row() -> None:
    new = report("WARNING in f", "f")
    row = change("(report) WARNING in f", LANE.arch, patched=Outcome.FAIL, fingerprint=new.fingerprint)
    regressed = replace(row, change=ChangeKind.REGRESSED, evidence=again(0, 5, 5))
    flaky = replace(row, suite="other", change=ChangeKind.FLAKY_ON_PATCHED, evidence=again(0, 1, 60))
    assert looked_for((), (new,), flaky) == []
    [found] = looked_for((), (new,), regressed, flaky)
    assert (found.kind, found.patched, found.base) == (Kind.SPLAT, Seen(6, 6), Seen(0, 6))


def test_a_test_that_only_pairs_have_shown_is_looked_for_however_it_fails() -> None:
    row = change("t", suite="s", base=Outcome.MISSING, patched=Outcome.MISSING, kind=ChangeKind.REGRESSED)
    [wanted] = looked_for((), (), replace(row, evidence=again(0, 7, 7)))
    assert culprit.show(wanted, tree(Outcome.FAIL)) == Seen(1, 1)


@pytest.mark.parametrize("suite", ["s", BOOT])
def test_a_report_that_only_pairs_have_shown_is_looked_for_by_its_title(suite: str) -> None:
    row = change("(report) WARNING in f", LANE.arch, patched=Outcome.MISSING, suite=suite, kind=ChangeKind.REGRESSED)
    [wanted] = looked_for((), (), replace(row, evidence=again(0, 7, 9)))
    assert (wanted.kind, wanted.patched, wanted.base) == (Kind.SPLAT, Seen(8, 10), Seen(0, 10))
    assert wanted.suite == ("" if suite == BOOT else suite)  # what it gives as it boots, it gives under any
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in f", "f", "caller"),))) == Seen(1, 1)
    assert culprit.show(wanted, tree(Outcome.PASS, splats=(report("WARNING in g", "g"),))) == Seen(0, 1)
    assert looked_for((), (), replace(row, change=ChangeKind.FLAKY_ON_PATCHED)) == []


def test_a_kernel_that_does_not_boot_in_pairs_alone_is_looked_for() -> None:
    row = change("(exit)", LANE.arch, patched=Outcome.MISSING, suite=BOOT, kind=ChangeKind.REGRESSED)
    [wanted] = looked_for((), (), replace(row, evidence=again(0, 4, 5)))
    assert (wanted.kind, wanted.words, wanted.patched) == (Kind.BOOT, "does not boot", Seen(5, 6))
    panicked = tree(guest=GuestOutcome.PANIC)
    assert culprit.show(wanted, panicked) == Seen(0, 1)  # under a test
    assert culprit.show(wanted, replace(panicked, guest=replace(panicked.guest, boot_seconds=None))) == Seen(1, 1)
    lost = tree(guest=GuestOutcome.KILLED)
    assert culprit.show(wanted, replace(lost, guest=replace(lost.guest, boot_seconds=None))) is None


def looked_for(base: tuple[Splat, ...], patched: tuple[Splat, ...], *rows: Change) -> list[Symptom]:
    guests = (replace(tree(splats=splats).guest, side=side) for side, splats in zip(Side, (base, patched), strict=True))
    return culprit.symptoms(sample_run(builds=(), guests=tuple(guests), tests=rows, metrics=()))


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
