"""Diff and verdict: data in, data out."""

import datetime
import itertools
import re
from dataclasses import replace

import pytest

from orchestrator.judge import diff, ending, known, verdict
from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    Expectation,
    FindingChange,
    FindingRecord,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Known,
    KnownIssue,
    Metric,
    Observed,
    Outcome,
    Side,
    Splat,
    StepRecord,
    SuiteEnd,
    TestResult,
    Verdict,
    VerdictValue,
)

PASS, FAIL, SKIP, MISSING = Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.MISSING


def guest(side: Side, outcome: GuestOutcome = GuestOutcome.OK, *splats: Splat) -> GuestRecord:
    return GuestRecord(side, "x86_64", "fast", "tcg", 1.0, outcome, "console.log", "words", splats)


def ran(
    side: Side, tests: dict[str, Outcome], end: Outcome = PASS, outcome: GuestOutcome = GuestOutcome.OK
) -> GuestRun:
    results = tuple(TestResult("s", name, seen) for name, seen in tests.items())
    return GuestRun(guest(side, outcome), results, (), (SuiteEnd("s", 0, end, ""),))


def kinds(base: GuestRun, patched: GuestRun) -> dict[str, ChangeKind]:
    return {change.name: change.change for change in diff.compare(base, patched, ["s"], [])}


@pytest.mark.parametrize(
    ("base", "patched", "kind"),
    [
        (PASS, PASS, ChangeKind.SAME),
        (FAIL, PASS, ChangeKind.FIXED),
        (PASS, FAIL, ChangeKind.REGRESSED),
        (FAIL, FAIL, ChangeKind.SAME_FAIL),
        (SKIP, PASS, ChangeKind.SKIP_TO_RUN),
        (PASS, SKIP, ChangeKind.RUN_TO_SKIP),
        (PASS, Outcome.XFAIL, ChangeKind.RUN_TO_SKIP),
        (FAIL, Outcome.XFAIL, ChangeKind.RUN_TO_SKIP),
        (Outcome.XFAIL, PASS, ChangeKind.SKIP_TO_RUN),
        (Outcome.XFAIL, FAIL, ChangeKind.REGRESSED),
    ],
)
def test_each_pair_of_outcomes_gets_its_class(base: Outcome, patched: Outcome, kind: ChangeKind) -> None:
    found = kinds(ran(Side.BASE, {"t": base}), ran(Side.PATCHED, {"t": patched}))
    assert found == {"(exit)": ChangeKind.SAME, "t": kind}


def test_a_test_that_one_side_lacks_stays_in_the_table() -> None:
    found = kinds(ran(Side.BASE, {"gone": PASS}), ran(Side.PATCHED, {"new": PASS}))
    assert found["gone"] is ChangeKind.REMOVED
    assert found["new"] is ChangeKind.ADDED


def test_a_suite_cut_short_on_patched_makes_its_tests_missing_and_not_removed() -> None:
    base = ran(Side.BASE, {"a": PASS, "b": PASS})
    patched = ran(Side.PATCHED, {"a": PASS}, end=Outcome.TIMEOUT)
    changes = {change.name: change for change in diff.compare(base, patched, ["s"], [])}
    assert changes["b"].patched.outcome is MISSING
    assert changes["b"].change is ChangeKind.MISSING
    assert changes["(exit)"].change is ChangeKind.REGRESSED


def test_a_panic_on_patched_regresses_what_passed_on_base() -> None:
    patched = GuestRun(guest(Side.PATCHED, GuestOutcome.PANIC))
    assert kinds(ran(Side.BASE, {"a": PASS}), patched)["a"] is ChangeKind.REGRESSED


def test_what_base_did_not_reach_is_never_called_regressed() -> None:
    base = GuestRun(guest(Side.BASE, GuestOutcome.PANIC))
    assert kinds(base, ran(Side.PATCHED, {"a": FAIL}))["a"] is ChangeKind.MISSING


def test_a_checker_that_was_off_on_patched_alone_has_not_compared() -> None:
    sides = [replace(guest(side), off=("lockdep",)) for side in Side]
    assert verdict.decide((), sides, [], declared=False).value is VerdictValue.CLEAN
    found = verdict.decide((), [guest(Side.BASE), sides[1]], [], declared=False)
    assert found.value is VerdictValue.INCONCLUSIVE
    assert found.reasons == ("patched/x86_64-fast: lockdep was off before the end, and base's was not",)


def test_repeats_that_disagree_are_flaky_and_not_regressed() -> None:
    flaky = GuestRun(
        guest(Side.PATCHED),
        tuple(TestResult("s", "a", outcome, repeat=number) for number, outcome in enumerate((PASS, FAIL, PASS))),
        (),
        tuple(SuiteEnd("s", number, PASS, "") for number in range(3)),
    )
    assert kinds(ran(Side.BASE, {"a": PASS}), flaky)["a"] is ChangeKind.FLAKY_ON_PATCHED


def test_ends_of_tests_with_guests_of_their_own_are_one_end() -> None:
    ends = tuple(SuiteEnd("s", 0, outcome, "", test) for test, outcome in (("a", PASS), ("b", FAIL), ("c", PASS)))
    patched = replace(ran(Side.PATCHED, {"a": PASS}), ends=ends)
    assert kinds(ran(Side.BASE, {"a": PASS}), patched)["(exit)"] is ChangeKind.REGRESSED
    assert kinds(patched, patched)["(exit)"] is ChangeKind.SAME_FAIL


def test_an_expected_test_that_no_side_ran_is_in_the_table() -> None:
    changes = diff.compare(
        GuestRun(guest(Side.BASE)), GuestRun(guest(Side.PATCHED)), ["s"], [Expectation("s", "a", ChangeKind.FIXED)]
    )
    assert ("a", ChangeKind.MISSING) in {(change.name, change.change) for change in changes}


@pytest.mark.parametrize(("base", "patched"), list(itertools.product(Outcome, Outcome)))
def test_every_pair_of_outcomes_is_classified_and_good_never_hides_bad(base: Outcome, patched: Outcome) -> None:
    kind = diff.classify(Observed(base, "", (base,)), Observed(patched, "", (patched,)), patched_fault=False)
    if base.good and patched.bad:
        assert kind is ChangeKind.REGRESSED
    if kind is ChangeKind.FIXED:
        assert base.bad
        assert patched.good


def test_metrics_of_one_side_alone_are_kept() -> None:
    base = GuestRun(guest(Side.BASE), (), (Metric("b", "t", "ns", (1.0,)),))
    [pair] = diff.pair_metrics(base, GuestRun(guest(Side.PATCHED)))
    assert (pair.base.samples, pair.patched.samples) == ((1.0,), ())


def change(kind: ChangeKind, expected: ChangeKind | None = None, patched: Outcome = PASS) -> Change:
    return Change("s", "t", "x86_64", "fast", Observed(PASS), Observed(patched), kind, expected)


def decide(*changes: Change, guests: tuple[GuestRecord, ...] = (), declared: bool = False) -> VerdictValue:
    return verdict.decide((), guests, changes, declared=declared).value


def test_nothing_bad_is_clean_and_validated_when_declared_and_met() -> None:
    assert decide(change(ChangeKind.SAME)) is VerdictValue.CLEAN
    assert decide(change(ChangeKind.FIXED, ChangeKind.FIXED), declared=True) is VerdictValue.VALIDATED


def both(name: str, seen: Outcome, suite: str = "s") -> Change:
    """A test that ended the same way on both sides."""
    return Change(suite, name, "x86_64", "fast", Observed(seen), Observed(seen), ChangeKind.SAME)


@pytest.mark.parametrize("seen", [SKIP, FAIL, Outcome.CRASH, Outcome.TIMEOUT])
def test_where_no_test_passed_on_either_side_nothing_could_be_seen_and_nothing_is_clean(seen: Outcome) -> None:
    answer = verdict.decide((), (), (both("(exit)", seen), both("t", seen)), declared=False)
    assert answer.value is VerdictValue.INCONCLUSIVE
    assert answer.reasons == (f"x86_64-fast: no test passed on either side: s ({seen}): none could have regressed",)


def test_a_suite_that_skips_all_on_both_sides_is_said_and_does_not_spoil_what_another_shows() -> None:
    changes = (both("t", PASS), both("(exit)", SKIP, "other"), both("u", SKIP, "other"))
    answer = verdict.decide((), (), changes, declared=False)
    assert answer == Verdict(VerdictValue.CLEAN, ("x86_64-fast: could test nothing: other (skip)",))


def test_a_suite_that_breaks_on_both_sides_before_any_test_passed_is_inconclusive() -> None:
    changes = (both("t", PASS), both("(exit)", Outcome.CRASH, "other"))
    answer = verdict.decide((), (), changes, declared=False)
    assert answer.value is VerdictValue.INCONCLUSIVE
    assert answer.reasons == ("x86_64-fast: could test nothing: other (crash)",)


def test_kernels_that_only_booted_are_said_to_have_run_no_test() -> None:
    built = (build(Side.BASE), build(Side.PATCHED))
    answer = verdict.decide(built, (guest(Side.BASE), guest(Side.PATCHED)), (), declared=False)
    assert answer == Verdict(VerdictValue.CLEAN, ("no test was run: both kernels booted, and that is all",))


def test_a_guest_that_ended_by_what_it_reported_is_one_reason() -> None:
    report = Splat("soft-lockup", "BUG: soft lockup in f", "text", ("f",), "1")
    ended = guest(Side.PATCHED, GuestOutcome.SOFT_LOCKUP, report)
    answer = verdict.decide((), (guest(Side.BASE), ended), (), declared=False)
    assert answer == Verdict(VerdictValue.REGRESSED, ("patched/x86_64-fast: soft-lockup: words",))


def test_a_declared_change_that_did_not_happen_is_unmet() -> None:
    assert decide(change(ChangeKind.SAME, ChangeKind.FIXED), declared=True) is VerdictValue.UNMET


def test_regressed_beats_unmet_beats_inconclusive() -> None:
    unmet, infra = change(ChangeKind.SAME, ChangeKind.FIXED), change(ChangeKind.INFRA)
    assert decide(unmet, infra, change(ChangeKind.REGRESSED), declared=True) is VerdictValue.REGRESSED
    assert decide(unmet, infra, declared=True) is VerdictValue.UNMET
    assert decide(infra) is VerdictValue.INCONCLUSIVE


def test_a_declared_test_that_neither_side_has_is_not_validated() -> None:
    declared = [Expectation("s", name, ChangeKind.FIXED) for name in ("t", "typo")]
    found = diff.compare(ran(Side.BASE, {"t": FAIL}), ran(Side.PATCHED, {"t": PASS}), ["s"], declared)
    answer = verdict.decide((), (), found, declared=True)
    assert answer.value is VerdictValue.INCONCLUSIVE
    assert "declared, and not seen on either side: s/typo" in answer.reasons


def test_a_suite_that_was_left_out_validates_nothing_of_what_is_declared_of_it() -> None:
    met = (change(ChangeKind.FIXED, ChangeKind.FIXED),)
    answer = verdict.decide((), (), met, declared=True, left_out=["other"])
    assert answer.value is VerdictValue.CLEAN
    assert "other: of what the series declares nothing was tested" in answer.reasons
    assert verdict.decide((), (), met, declared=False, left_out=["other"]).value is VerdictValue.CLEAN


def test_a_report_explains_a_taint_of_its_own_kind_alone() -> None:
    warned = Splat("warning", "WARNING in old", "text", ("old",), "f")
    bad = Splat("bad-page", "BUG: Bad page state", "text", ("old",), "g")

    def tainted(side: Side, letters: str, *splats: Splat) -> GuestRun:
        ends = (SuiteEnd("s", 0, PASS, "", "", letters),)
        return GuestRun(guest(side, GuestOutcome.OK, warned, *splats), (), (), ends)

    assert kinds(tainted(Side.BASE, "W"), tainted(Side.PATCHED, "WB"))["(taint)"] is ChangeKind.REGRESSED
    assert "(taint)" not in kinds(tainted(Side.BASE, "W"), tainted(Side.PATCHED, "WB", bad))


def test_declared_changes_of_which_no_test_ran_are_not_validated() -> None:
    assert decide(change(ChangeKind.SAME), declared=True) is VerdictValue.INCONCLUSIVE


def test_a_panic_on_patched_is_regressed_only_if_base_booted() -> None:
    panic = guest(Side.PATCHED, GuestOutcome.PANIC)
    assert decide(guests=(guest(Side.BASE), panic)) is VerdictValue.REGRESSED
    assert decide(guests=(guest(Side.BASE, GuestOutcome.PANIC), panic)) is VerdictValue.INCONCLUSIVE


def test_a_splat_that_base_does_not_have_is_regressed() -> None:
    new = Splat("warning", "mm/madvise.c", "text")
    assert decide(guests=(guest(Side.BASE), guest(Side.PATCHED, GuestOutcome.OK, new))) is VerdictValue.REGRESSED
    both = (guest(Side.BASE, GuestOutcome.OK, new), guest(Side.PATCHED, GuestOutcome.OK, new))
    assert decide(guests=both) is VerdictValue.CLEAN


def splat(title: str = "WARNING in f", frames: tuple[str, ...] = ("f", "g"), fingerprint: str = "0" * 16) -> Splat:
    return Splat("warning", title, "text", frames, fingerprint)


def splats_decide(base: tuple[Splat, ...], patched: tuple[Splat, ...], more: tuple[int, int] = (0, 0)) -> Verdict:
    before = replace(guest(Side.BASE, GuestOutcome.OK, *base), more_splats=more[0])
    after = replace(guest(Side.PATCHED, GuestOutcome.OK, *patched), more_splats=more[1])
    return verdict.decide((), (before, after), (), declared=False)


def test_splats_with_frames_are_compared_by_fingerprint_and_others_by_title() -> None:
    assert splats_decide((splat(),), (splat(title="told otherwise"),)).value is VerdictValue.CLEAN
    assert splats_decide((splat(),), (splat(fingerprint="1" * 16),)).value is VerdictValue.REGRESSED
    bare = splat(frames=())
    assert splats_decide((bare,), (replace(bare, fingerprint="1" * 16),)).value is VerdictValue.CLEAN
    assert splats_decide((bare,), (replace(bare, title="WARNING in h"),)).value is VerdictValue.REGRESSED


def test_a_known_splat_is_said_and_does_not_count() -> None:
    why = Known("being fixed", "https://example.org/1", "2030-01-01")
    answer = splats_decide((), (replace(splat(), known=why),))
    assert answer.value is VerdictValue.CLEAN
    assert answer.reasons == (
        "patched/x86_64-fast: known warning on the console: WARNING in f (being fixed, https://example.org/1)",
    )


def test_where_more_splats_came_than_are_kept_nothing_is_called_good_or_new() -> None:
    assert splats_decide((splat(),), (splat(),), more=(0, 3)).value is VerdictValue.INCONCLUSIVE
    assert splats_decide((splat(),), (splat(fingerprint="1" * 16),), more=(3, 0)).value is VerdictValue.INCONCLUSIVE
    assert splats_decide((splat(),), (splat(),), more=(3, 0)).value is VerdictValue.CLEAN


LOCKUP = Splat("soft-lockup", "BUG: soft lockup in f", "text", ("f",), "1")
NO_MEMORY = Splat("oom", "out of memory", "a invoked oom-killer: gfp_mask=0x0\nOut of memory: Killed process 7 (a)")
CGROUP = Splat("oom", "out of memory", "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)")


@pytest.mark.parametrize(
    ("splats", "outcome", "went_on"),
    [
        ((splat(),), "ok", False),
        ((splat(), LOCKUP, NO_MEMORY), "soft-lockup", True),
        ((NO_MEMORY,), "out-of-memory", True),
        ((CGROUP,), "ok", False),
    ],
)
def test_what_a_guest_that_went_on_reported_names_its_outcome(
    splats: tuple[Splat, ...], outcome: str, went_on: bool
) -> None:
    named = ending.name(guest(Side.PATCHED, GuestOutcome.OK, *splats))
    assert (named.outcome, named.went_on) == (outcome, went_on)
    died = guest(Side.PATCHED, GuestOutcome.HANG, *splats)
    assert ending.name(died) is died


def test_a_guest_that_went_on_is_judged_by_its_reports_and_by_its_tests() -> None:
    stalled = ending.name(guest(Side.PATCHED, GuestOutcome.OK, LOCKUP))
    answer = verdict.decide((), (guest(Side.BASE), stalled), (change(ChangeKind.SAME),), declared=False)
    words = "patched/x86_64-fast: new soft-lockup on the console: BUG: soft lockup in f"
    assert answer == Verdict(VerdictValue.REGRESSED, (words,))
    base = ending.name(guest(Side.BASE, GuestOutcome.OK, LOCKUP))
    assert decide(change(ChangeKind.SAME), guests=(base, stalled)) is VerdictValue.CLEAN


@pytest.mark.parametrize("outcome", [GuestOutcome.CONSOLE_CUT, GuestOutcome.DISK_FULL])
@pytest.mark.parametrize("side", Side)
def test_a_guest_whose_results_are_worth_less_is_inconclusive(side: Side, outcome: GuestOutcome) -> None:
    guests = tuple(replace(guest(each, outcome), went_on=True) if each is side else guest(each) for each in Side)
    answer = verdict.decide((), guests, (change(ChangeKind.SAME),), declared=False)
    assert answer == Verdict(VerdictValue.INCONCLUSIVE, (f"{side}/x86_64-fast: {outcome}: words",))


def tainted(side: Side, letters: str, *splats: Splat, end: Outcome = PASS) -> GuestRun:
    clean = ran(side, {"a": PASS}, end)
    ends = tuple(replace(found, taint=letters, test="a") for found in clean.ends)
    return replace(clean, ends=ends, guest=replace(clean.guest, splats=splats))


def test_a_taint_that_no_report_tells_of_is_a_test_that_fails() -> None:
    [found] = [
        each
        for each in diff.compare(tainted(Side.BASE, ""), tainted(Side.PATCHED, "WE"), ["s"], [])
        if each.name == "a/(taint)"
    ]
    assert found.change is ChangeKind.REGRESSED
    words = "the kernel was tainted: W (warning); no report on the console says why"
    assert found.patched.output == words


@pytest.mark.parametrize(
    ("base", "patched", "kind"),
    [
        (tainted(Side.BASE, ""), tainted(Side.PATCHED, "EO"), None),
        (tainted(Side.BASE, ""), tainted(Side.PATCHED, "W", splat()), None),
        (tainted(Side.BASE, "W"), tainted(Side.PATCHED, "W"), ChangeKind.SAME_FAIL),
        (tainted(Side.BASE, "W"), tainted(Side.PATCHED, ""), ChangeKind.FIXED),
        (tainted(Side.BASE, "", end=Outcome.LOST), tainted(Side.PATCHED, "W"), ChangeKind.INFRA),
    ],
)
def test_a_taint_is_compared_where_it_tells_of_trouble_and_nothing_else_does(
    base: GuestRun, patched: GuestRun, kind: ChangeKind | None
) -> None:
    assert kinds(base, patched).get("a/(taint)") is kind


def test_a_taint_is_compared_where_a_test_with_its_own_guest_has_no_result_of_its_own_name() -> None:
    base, patched = (replace(tainted(*one), results=()) for one in ((Side.BASE, ""), (Side.PATCHED, "W")))
    assert kinds(base, patched).get("a/(taint)") is ChangeKind.REGRESSED


def entry(**fields: object) -> KnownIssue:
    plain = {"kind": None, "title": None, "fingerprint": None, "arch": None}
    rest = {"reason": "r", "link": "l", "expiry": datetime.date(2030, 1, 1)}
    return KnownIssue(**{**plain, **rest, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({"title": re.compile("WARNING in f")}, True),
        ({"title": re.compile("WARNING in")}, False),
        ({"title": re.compile("WARNING .*"), "kind": "warning"}, True),
        ({"title": re.compile("WARNING .*"), "kind": "bug"}, False),
        ({"fingerprint": "0" * 16}, True),
        ({"fingerprint": "0" * 15 + "1"}, False),
        ({"fingerprint": "0" * 16, "title": re.compile("WARNING in g")}, False),
        ({"title": re.compile("WARNING in f"), "arch": "x86_64"}, True),
        ({"title": re.compile("WARNING in f"), "arch": "arm64"}, False),
    ],
)
def test_an_entry_of_the_allow_list_matches_by_all_that_it_says(fields: dict[str, object], matches: bool) -> None:
    marked = known.mark(guest(Side.PATCHED, GuestOutcome.OK, splat()), [entry(**fields)])
    assert marked.splats[0].known == (Known("r", "l", "2030-01-01") if matches else None)


def test_since_when_an_issue_is_known_is_said_with_its_reason() -> None:
    since = entry(title=re.compile("WARNING in f"), test=None, since="v6.12")
    marked = known.mark(guest(Side.PATCHED, GuestOutcome.OK, splat()), [since])
    said = "patched/x86_64-fast: known warning on the console: WARNING in f (r, since v6.12, l)"
    assert splats_decide((), marked.splats).reasons == (said,)
    failed = change(ChangeKind.REGRESSED, patched=FAIL)
    found = known.mark_tests([failed], [entry(**KNOWN_TEST, since="v6.12")])
    assert verdict.decide((), (), found, declared=False).reasons == ("x86_64: known to fail: s/t (r, since v6.12, l)",)


def test_a_splat_that_no_entry_matches_any_more_counts_again() -> None:
    marked = known.mark(guest(Side.PATCHED, GuestOutcome.OK, splat()), [entry(fingerprint="0" * 16)])
    assert known.mark(marked, []).splats[0].known is None


KNOWN_TEST = {"test": re.compile("s/t.*"), "owner": "net"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (KNOWN_TEST, ChangeKind.KNOWN),
        ({"test": re.compile("s/")}, ChangeKind.REGRESSED),
        ({"test": re.compile("s/t"), "fingerprint": "0" * 16}, ChangeKind.REGRESSED),
        ({"test": re.compile("s/t"), "arch": "arm64"}, ChangeKind.REGRESSED),
        ({"title": re.compile(".*")}, ChangeKind.REGRESSED),
        ({"kind": "warning", "fingerprint": "1" * 16}, ChangeKind.REGRESSED),
        ({"fingerprint": "1" * 16}, ChangeKind.KNOWN),
        ({"test": re.compile("s/t"), "fingerprint": "1" * 16}, ChangeKind.KNOWN),
    ],
)
def test_a_failure_that_an_entry_names_is_known_and_shown_and_does_not_count(
    fields: dict[str, object], kind: ChangeKind
) -> None:
    failed = replace(change(ChangeKind.REGRESSED, patched=FAIL), fingerprint="1" * 16)
    [found] = known.mark_tests([failed], [entry(**fields)])
    assert found.change is kind
    answer = verdict.decide((), (), (found,), declared=False)
    if kind is ChangeKind.KNOWN:
        assert answer == Verdict(VerdictValue.CLEAN, ("x86_64: known to fail: s/t (r, l)",))
    else:
        assert answer.value is VerdictValue.REGRESSED


def test_what_passes_is_not_known_and_its_entry_is_asked_about() -> None:
    passed = change(ChangeKind.SAME)
    known_issue = entry(**KNOWN_TEST)
    assert known.mark_tests([passed], [known_issue]) == [passed]
    words = "known issue 's/t.*' did not show: is it gone? (l, net)"
    assert list(known.silent([passed], [], [known_issue])) == [words]
    failed = replace(change(ChangeKind.SAME_FAIL, patched=FAIL), fingerprint="1" * 16)
    assert list(known.silent([failed], [], [known_issue])) == []  # on both sides: there it still is
    assert list(known.silent([], [], [known_issue])) == []  # nobody looked
    elsewhere = entry(title=re.compile("WARNING in f"), arch="arm64")
    assert list(known.silent([passed], [], [elsewhere])) == []


@pytest.mark.parametrize(
    ("pattern", "arch", "ended", "asked"),
    [
        ("s/gone_.*", None, Outcome.PASS, True),
        ("s/gone_.*", "x86_64", Outcome.FAIL, True),
        ("s/gone_.*", "arm64", Outcome.PASS, False),  # elsewhere
        ("s/gone_.*", None, Outcome.CRASH, False),  # it may not have come to that
        ("other/gone", None, Outcome.PASS, False),  # nobody looked
        ("s|other/gone", None, Outcome.PASS, False),  # which suite that is nobody knows
    ],
)
def test_an_entry_whose_suite_ran_and_has_no_test_of_that_name_is_asked_about(
    pattern: str, arch: str | None, ended: Outcome, asked: bool
) -> None:
    tests = [change(ChangeKind.SAME), both("(exit)", ended)]
    wrong = entry(test=re.compile(pattern), arch=arch, owner="net")
    words = f"known issue {pattern!r} names no test that s has: is it gone, or renamed? (l, net)"
    assert list(known.silent(tests, [], [wrong])) == ([words] if asked else [])


def test_a_test_that_ran_for_the_first_time_and_passes_is_not_known_to_fail() -> None:
    runs = change(ChangeKind.SKIP_TO_RUN)
    assert known.mark_tests([runs], [entry(**KNOWN_TEST)]) == [runs]


def test_a_declared_test_whose_failure_is_known_breaks_no_promise() -> None:
    declared = replace(change(ChangeKind.REGRESSED, patched=FAIL), expected=ChangeKind.SAME)
    marked = known.mark_tests([declared], [entry(**KNOWN_TEST)])
    answer = verdict.decide((), (), marked, declared=True)
    assert answer.value is VerdictValue.VALIDATED
    assert "s/t (r, l)" in " ".join(answer.reasons)
    promised = known.mark_tests([replace(declared, expected=ChangeKind.FIXED)], [entry(**KNOWN_TEST)])
    assert verdict.decide((), (), promised, declared=True).value is VerdictValue.UNMET


def build(side: Side, *, error: str | None = None, noop: bool = False) -> BuildRecord:
    return BuildRecord(side, "x86_64", "fast", 1.0, 1.0, False, "0" * 64, noop, "build.log", error)


def test_a_patched_tree_that_does_not_build_is_regressed_and_a_base_that_does_not_is_inconclusive() -> None:
    broken = verdict.decide((build(Side.BASE), build(Side.PATCHED, error="x")), (), (), declared=False)
    assert broken.value is VerdictValue.REGRESSED
    assert verdict.decide((build(Side.BASE, error="x"),), (), (), declared=False).value is VerdictValue.INCONCLUSIVE
    ended = replace(build(Side.PATCHED, error="x"), unfinished=True)  # at a limit of the host's
    assert verdict.decide((build(Side.BASE), ended), (), (), declared=False).value is VerdictValue.INCONCLUSIVE


def test_a_kernel_that_nobody_booted_is_no_good_news() -> None:
    both = (build(Side.BASE), build(Side.PATCHED))
    answer = verdict.decide(both, (guest(Side.BASE),), (), declared=False)
    assert (answer.value, answer.reasons) == (VerdictValue.INCONCLUSIVE, ("patched/x86_64-fast was not booted",))
    assert verdict.decide((), (), (), declared=False).value is VerdictValue.INCONCLUSIVE
    assert verdict.decide(both, (guest(Side.BASE), guest(Side.PATCHED)), (), declared=False).value is VerdictValue.CLEAN


def test_what_a_build_tried_and_bases_did_not_keeps_the_answer_from_being_good() -> None:
    base, patched = build(Side.BASE), build(Side.PATCHED, noop=True)
    same = [replace(one, tried=("sh tried to write /etc/x",)) for one in (base, patched)]
    assert verdict.decide(same, (), (), declared=False).value is VerdictValue.CLEAN
    answer = verdict.decide((base, same[1]), (), (), declared=False)
    assert answer.value is VerdictValue.INCONCLUSIVE
    assert answer.reasons[0].endswith("and was denied: sh tried to write /etc/x")
    step = StepRecord(1, "mm: x", "x86_64", "fast", 1.0, 1.0, False, "log", tried=("cat opened a socket (IPv4)",))
    answer = verdict.decide((base, patched), (), (), steps=(step,), declared=False)
    assert answer.value is VerdictValue.INCONCLUSIVE
    assert answer.reasons[0].startswith("patch 1 on x86_64-fast: ")


def test_new_compiler_warnings_are_a_reason_and_change_no_verdict() -> None:
    new = FindingRecord("cc", "-Wodd", "mm/a.c", 3, "that is odd", "x86_64", "fast", FindingChange.NEW)
    other = replace(new, file="mm/b.c")
    silent = (replace(new, tool="checkpatch"), replace(new, kind="error"), replace(new, change=FindingChange.MOVED))

    def answer(*found: FindingRecord, declared: bool = False) -> Verdict:
        tests = (change(ChangeKind.FIXED, ChangeKind.FIXED),)
        return verdict.decide((), (), tests, declared=declared, findings=found)

    found = answer(new, replace(new, arch="arm64"), other, replace(other, line=9), *silent)
    assert (found.value, found.reasons) == (VerdictValue.CLEAN, ("3 new compiler warnings: mm/a.c, mm/b.c",))
    declared = answer(new, declared=True)
    assert (declared.value, declared.reasons[-1]) == (VerdictValue.VALIDATED, "1 new compiler warning: mm/a.c")
    assert answer(*silent).reasons == ("nothing regressed",)


def test_an_identical_image_is_clean_and_says_that_nothing_was_booted() -> None:
    answer = verdict.decide((build(Side.BASE), build(Side.PATCHED, noop=True)), (), (), declared=False)
    assert answer.value is VerdictValue.CLEAN
    assert "noop" in answer.reasons[0]
    declared = verdict.decide((build(Side.BASE), build(Side.PATCHED, noop=True)), (), (), declared=True)
    assert declared.value is VerdictValue.UNMET
