"""What becomes of a first pass and of pairs: every test its class and its rates, and no blame by chance."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.judge import chance, diff, known, reports, settle, suspects, verdict
from orchestrator.model import (
    BOOT,
    Change,
    ChangeKind,
    Expectation,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Outcome,
    Pair,
    Side,
    Splat,
    SuiteEnd,
    TestResult,
    VerdictValue,
)
from tests.unit.test_judge import entry, splat

PASS, FAIL, SKIP, TIMEOUT, CRASH = Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.TIMEOUT, Outcome.CRASH
LOST = Outcome.LOST
ALPHA = chance.ALPHA / 2  # of two lanes

Seen = Outcome | tuple[Outcome, str]


def run(side: Side, tests: dict[str, Seen], end: Outcome = PASS, outcome: GuestOutcome = GuestOutcome.OK) -> GuestRun:
    record = GuestRecord(side, "x86_64", "fast", "tcg", 1.0, outcome, "console.log")
    said = {name: seen if isinstance(seen, tuple) else (seen, "") for name, seen in tests.items()}
    return GuestRun(
        record, tuple(TestResult("s", name, *seen) for name, seen in said.items()), (), (SuiteEnd("s", 0, end, ""),)
    )


def pair(base: Seen, patched: Seen, program: str = "") -> Pair:
    return Pair("s", program, run(Side.BASE, {"t": base}), run(Side.PATCHED, {"t": patched}))


def first(base: Seen, patched: Seen, expected: ChangeKind | None = None) -> list[Change]:
    declared = [Expectation("s", "t", expected)] if expected else []
    return diff.compare(run(Side.BASE, {"t": base}), run(Side.PATCHED, {"t": patched}), ["s"], declared)


def settled(changes: list[Change], pairs: Iterable[Pair]) -> Change:
    found = settle.settle(changes, list(pairs), ALPHA)
    assert len(found) == len(changes)
    return next(change for change in found if change.name == "t")


def wants(changes: list[Change], pairs: Iterable[Pair]) -> bool:
    return ("s", "t") in set(suspects.look(changes, list(pairs), ALPHA).wanted)


def until_settled(changes: list[Change], draw: Iterable[Pair], most: int = 60) -> list[Pair]:
    """The pairs that a run would do."""
    pairs: list[Pair] = []
    source = iter(draw)
    while len(pairs) < most and wants(changes, pairs):
        pairs.append(next(source))
    return pairs


def test_a_break_that_always_shows_is_regressed_after_six_pairs() -> None:
    changes = first(PASS, FAIL)
    pairs = until_settled(changes, (pair(PASS, FAIL) for _ in range(60)))
    assert len(pairs) == 6
    found = settled(changes, pairs)
    assert found.change is ChangeKind.REGRESSED
    assert found.evidence
    assert (found.evidence.base.came, found.evidence.patched.came, found.evidence.patched.of) == (0, 6, 6)
    assert found.evidence.value and found.evidence.value >= 1 / ALPHA


def test_who_knows_one_failure_of_a_test_does_not_know_another() -> None:
    known_one, other = (FAIL, "timed out waiting"), (FAIL, "data corrupted")
    changes = first(PASS, known_one)
    listed = entry(fingerprint=settled(changes, []).fingerprint)
    for seen, kind in ((known_one, ChangeKind.KNOWN), (other, ChangeKind.REGRESSED)):
        [found] = known.mark_tests([settled(changes, [pair(PASS, seen)] * 8)], [listed])
        assert found.change is kind


def test_with_fewer_pairs_it_is_undecided_and_not_guessed() -> None:
    assert settled(first(PASS, FAIL), [pair(PASS, FAIL)] * 5).change is ChangeKind.UNDECIDED


def test_a_repair_that_nobody_declared_is_fixed_after_six_pairs() -> None:
    changes = first(FAIL, PASS)
    pairs = until_settled(changes, (pair(FAIL, PASS) for _ in range(60)))
    assert len(pairs) == 6
    assert settled(changes, pairs).change is ChangeKind.FIXED


def test_of_a_declared_change_the_first_pass_counts_for_it_was_named_before() -> None:
    changes = first(FAIL, PASS, ChangeKind.FIXED)
    pairs = until_settled(changes, (pair(FAIL, PASS) for _ in range(60)))
    assert len(pairs) == 5
    found = settled(changes, pairs)
    assert (found.change, found.unmet) == (ChangeKind.FIXED, False)
    assert settled(changes, [pair(PASS, PASS)]).change is ChangeKind.FLAKY_ON_BASE


def test_a_declared_change_of_too_few_pairs_is_not_validated() -> None:
    found = settled(first(FAIL, PASS, ChangeKind.FIXED), [pair(FAIL, PASS)] * 4)
    told = verdict.decide((), (), [found], declared=True)
    assert told.value is VerdictValue.INCONCLUSIVE
    assert "declared, and ran again too seldom to tell it from chance: s/t" in told.reasons


def test_a_test_that_fails_every_second_time_is_seldom_fixed_as_declared() -> None:
    draws = np.random.default_rng(7)
    fixed = 0
    for _ in range(400):
        stream = (pair(*(FAIL if one < 0.5 else PASS for one in draws.random(2))) for _ in range(61))
        seen = next(stream)
        changes = first(*(side.results[0].outcome for side in (seen.base, seen.patched)), ChangeKind.FIXED)
        if changes[0].change is ChangeKind.FIXED:
            fixed += settled(changes, until_settled(changes, stream)).change is ChangeKind.FIXED
    assert fixed <= 400 * ALPHA


def test_a_test_that_fails_one_time_in_five_on_both_is_flaky() -> None:
    draws = np.random.default_rng(5)
    changes, kinds = first(PASS, FAIL), []
    for _ in range(40):
        stream = (pair(*(FAIL if one < 0.2 else PASS for one in draws.random(2))) for _ in range(60))
        kinds.append(settled(changes, until_settled(changes, stream)).change)
    assert kinds.count(ChangeKind.REGRESSED) <= 1  # 0.8 % of such suspects, which few such tests become
    assert kinds.count(ChangeKind.FLAKY_ON_BOTH) >= 30
    assert {*kinds} <= {ChangeKind.FLAKY_ON_BOTH, ChangeKind.FLAKY_ON_PATCHED, ChangeKind.EXPOSED, ChangeKind.REGRESSED}


def test_one_failure_of_base_takes_the_blame_from_the_series() -> None:
    changes = first(PASS, FAIL)
    pairs = [pair(FAIL, PASS), *[pair(PASS, FAIL)] * 20]
    assert settled(changes, pairs).change is ChangeKind.EXPOSED
    assert settled(changes, [pair(FAIL, FAIL)] * 6).change is ChangeKind.FLAKY_ON_BOTH


def test_another_failure_of_base_does_not() -> None:
    changes = first(PASS, (FAIL, "lost a page"))
    pairs = [pair((FAIL, "no network"), PASS), *[pair(PASS, (FAIL, "lost a page"))] * 20]
    assert settled(changes, pairs).change is ChangeKind.REGRESSED


def test_where_words_differ_each_time_any_failure_of_base_is_the_same() -> None:
    changes = first(PASS, (FAIL, "word a"))
    pairs = [pair((FAIL, "word b"), PASS), *[pair(PASS, (FAIL, f"word {word}")) for word in "cdefghijklmnopqrst"]]
    assert settled(changes, pairs).change is ChangeKind.EXPOSED


def test_what_does_not_fail_again_is_given_up_and_not_acquitted() -> None:
    changes = first(PASS, FAIL)
    pairs = until_settled(changes, (pair(PASS, PASS) for _ in range(60)))
    assert len(pairs) == 19
    assert settled(changes, pairs).change is ChangeKind.FLAKY_ON_PATCHED
    late = first(PASS, TIMEOUT)
    assert settled(late, pairs).change is ChangeKind.TIMING


def test_the_same_failure_on_both_sides_is_seen_once_more() -> None:
    changes = first((FAIL, "at 0x1234"), (FAIL, "at 0x9999"))
    pairs = until_settled(changes, (pair(FAIL, FAIL) for _ in range(60)))
    assert len(pairs) == 1
    assert settled(changes, pairs).change is ChangeKind.SAME_FAIL


def test_another_way_to_fail_is_regressed_where_it_comes_again_and_again() -> None:
    changes = first((FAIL, "one"), (FAIL, "two"))
    again = until_settled(changes, (pair((FAIL, "one"), (FAIL, "two")) for _ in range(60)))
    assert len(again) == 6
    assert settled(changes, again).change is ChangeKind.REGRESSED
    other = until_settled(changes, (pair((FAIL, "three"), (FAIL, "four")) for _ in range(60)))
    assert len(other) == 2
    assert settled(changes, other).change is ChangeKind.SAME_FAIL


def test_a_crash_of_what_failed_is_regressed() -> None:
    changes = first(FAIL, CRASH)
    assert settled(changes, [pair(FAIL, CRASH)] * 6).change is ChangeKind.REGRESSED
    assert settled(changes, [pair(CRASH, CRASH)] * 6).change is ChangeKind.FLAKY_ON_BOTH


WARNS, OTHERWISE = splat(), replace(splat(), fingerprint="another", frames=("g", "h"))


def said(one: GuestRun, *splats: Splat) -> GuestRun:
    return replace(one, guest=replace(one.guest, splats=splats))


def report(changes: Iterable[Change]) -> list[str]:
    return [str(change.change) for change in changes if change.name == "(report) WARNING in f"]


@pytest.mark.parametrize(("on_base", "kinds"), [((), ["regressed"]), ((OTHERWISE,), ["exposed"]), ((WARNS,), [])])
def test_a_report_that_base_gave_in_the_first_pass_is_no_news_and_one_like_it_at_most_exposed(
    on_base: tuple[Splat, ...], kinds: list[str]
) -> None:
    base, patched = run(Side.BASE, {"t": PASS}), run(Side.PATCHED, {"t": PASS})
    changes = diff.compare(base, patched, ["s"], [])
    assert report(settle.settle(changes, [Pair("s", "", base, said(patched, WARNS))] * 12, ALPHA, on_base)) == kinds


@pytest.mark.parametrize("again", [(), (WARNS,)])
def test_another_report_than_base_gives_is_regressed_whatever_they_are_called(again: tuple[Splat, ...]) -> None:
    base, patched = said(run(Side.BASE, {"t": PASS}), WARNS), said(run(Side.PATCHED, {"t": PASS}), WARNS, OTHERWISE)
    under = {one.fingerprint: ("s", "") for one in (WARNS, OTHERWISE)}
    changes = [*diff.compare(base, patched, ["s"], []), *reports.compare(base.guest, patched.guest, under)]
    pairs = [Pair("s", "", said(base, *again), patched)] * 10
    found = settle.settle(changes, pairs, ALPHA, base.guest.splats)
    assert report(found) == ["regressed"]
    assert verdict.decide((), (base.guest, patched.guest), found, declared=False).value is VerdictValue.REGRESSED


def test_what_the_only_pair_shows_is_told_whatever_it_is() -> None:
    base, patched = run(Side.BASE, {"t": PASS}), run(Side.PATCHED, {"t": PASS})
    changes = diff.compare(base, patched, ["s"], [])
    tainted = replace(patched, ends=(SuiteEnd("s", 0, PASS, "", taint="D"),))
    ended, dead = run(Side.PATCHED, {"t": PASS}, FAIL), run(Side.PATCHED, {}, LOST, GuestOutcome.PANIC)

    def shown(again: GuestRun) -> dict[str, str]:
        found = settle.settle(changes, [Pair("s", "", base, again)], ALPHA)
        value = verdict.decide((), (base.guest, patched.guest), found, declared=False).value
        assert value is VerdictValue.INCONCLUSIVE
        return {change.name: str(change.change) for change in found if change.change is not ChangeKind.SAME}

    assert shown(said(patched, WARNS)) == {"(report) WARNING in f": "flaky-on-patched"}
    assert shown(tainted) == {"(taint)": "flaky-on-patched"}
    assert shown(ended) == shown(dead) == {"(exit)": "flaky-on-patched"}


def test_a_kernel_that_dies_takes_its_tests_along_in_pairs_as_well() -> None:
    dead = run(Side.PATCHED, {}, LOST, GuestOutcome.PANIC)
    changes = diff.compare(run(Side.BASE, {"t": PASS}), dead, ["s"], [])
    died = Pair("s", "", run(Side.BASE, {"t": PASS}), dead)
    found = settle.settle(changes, [died] * 6, ALPHA)
    assert {change.name: change.change for change in found} == {
        "t": ChangeKind.REGRESSED,
        "(exit)": ChangeKind.REGRESSED,
    }
    once = settle.settle(changes, [pair(PASS, PASS)] * 19, ALPHA)
    assert {change.change for change in once} == {ChangeKind.FLAKY_ON_PATCHED}


def test_a_guest_that_died_by_chance_accuses_nobody_and_one_that_always_dies_does() -> None:
    base, dead = run(Side.BASE, {"t": PASS}), run(Side.PATCHED, {}, LOST, GuestOutcome.PANIC)
    changes = diff.compare(base, dead, ["s"], [])

    def decided(pairs: list[Pair]) -> VerdictValue:
        rows = settle.settle(changes, pairs, ALPHA)
        return verdict.decide((), (base.guest, dead.guest), rows, declared=False).value

    assert decided([Pair("s", "", base, dead)] * 6) is VerdictValue.REGRESSED
    assert decided([Pair("s", "", base, dead)] * 3) is VerdictValue.INCONCLUSIVE
    old = Pair("s", "", replace(dead, guest=replace(dead.guest, side=Side.BASE)), dead)
    assert decided([old, *[Pair("s", "", base, dead)] * 11]) is VerdictValue.INCONCLUSIVE  # base dies, too
    assert decided([pair(PASS, PASS)] * 19) is VerdictValue.INCONCLUSIVE
    assert verdict.decide((), (base.guest, dead.guest), changes, declared=False).value is VerdictValue.REGRESSED


def test_a_pair_of_which_one_side_was_not_seen_is_none() -> None:
    gone = Pair("s", "", run(Side.BASE, {}, LOST), run(Side.PATCHED, {"t": FAIL}))
    found = settled(first(PASS, FAIL), [gone] * 6)
    assert found.change is ChangeKind.UNDECIDED
    assert found.evidence and found.evidence.base.of == 0


def test_a_pair_in_which_one_side_could_not_test_is_none() -> None:
    changes = first(PASS, FAIL)
    skips = until_settled(changes, (pair(SKIP, FAIL) for _ in range(60)))
    assert len(skips) == 5  # nobody sees it
    found = settled(changes, [pair(SKIP, FAIL)] * 8)
    assert found.change is ChangeKind.UNDECIDED
    assert found.evidence and found.evidence.base.of == 0
    assert settled(changes, [*[pair(SKIP, FAIL)] * 8, *[pair(PASS, FAIL)] * 6]).change is ChangeKind.REGRESSED
    assert settled(first(FAIL, PASS), [pair(FAIL, SKIP)] * 8).change is ChangeKind.UNDECIDED


@pytest.mark.parametrize("base", [False, True])
def test_what_nobody_saw_on_one_side_is_what_a_pair_shows(base: bool) -> None:
    changes = first(LOST, PASS) if base else first(PASS, LOST)
    assert until_settled(changes, [pair(PASS, PASS)] * 9) == [pair(PASS, PASS)]
    found = settled(changes, [pair(PASS, PASS)])
    assert (found.change, found.evidence and found.evidence.patched.of) == (ChangeKind.SAME, 1)
    failed = first(LOST, FAIL) if base else first(FAIL, LOST)
    assert settled(failed, [pair(FAIL, FAIL)]).change is ChangeKind.SAME_FAIL
    assert settled(changes, [pair(PASS, FAIL)] * 7).change is ChangeKind.REGRESSED
    assert len(until_settled(changes, [pair(PASS, LOST)] * 9)) == 5
    assert settled(changes, [pair(PASS, LOST)] * 5).change is ChangeKind.INFRA


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (SKIP, ChangeKind.RUN_TO_SKIP),
        (Outcome.XFAIL, ChangeKind.RUN_TO_SKIP),
        (Outcome.MISSING, ChangeKind.MISSING),
        (None, ChangeKind.REMOVED),
    ],
)
def test_what_patched_no_longer_tests_is_that_again_or_in_no_pair(now: Outcome | None, kind: ChangeKind) -> None:
    def patched(seen: Outcome | None) -> GuestRun:
        return run(Side.PATCHED, {"t": seen} if seen else {})

    changes = diff.compare(run(Side.BASE, {"t": PASS}), patched(now), ["s"], [])
    again, well = Pair("s", "", run(Side.BASE, {"t": PASS}), patched(now)), pair(PASS, PASS)
    assert until_settled(changes, [again] * 9) == [again]
    assert settled(changes, [again]).change is kind
    pairs = until_settled(changes, [well] * 9)
    assert len(pairs) == (1 if kind is ChangeKind.MISSING else 5)
    assert settled(changes, pairs).change is ChangeKind.SAME
    assert settled(changes, [*pairs[1:], again]).change is kind


def test_what_is_new_is_seen_once_more() -> None:
    changes = diff.compare(run(Side.BASE, {}), run(Side.PATCHED, {"t": PASS}), ["s"], [])
    new = Pair("s", "", run(Side.BASE, {}), run(Side.PATCHED, {"t": PASS}))
    assert until_settled(changes, [new] * 9) == [new]
    assert settled(changes, [new]).change is ChangeKind.ADDED
    assert len(until_settled(first(SKIP, PASS), [pair(SKIP, PASS)] * 9)) == 1


@pytest.mark.parametrize("side", Side)
def test_a_guest_that_the_host_killed_is_no_matter_where_all_that_it_took_along_was_seen_again(side: Side) -> None:
    def given(which: Side, end: Outcome = PASS, outcome: GuestOutcome = GuestOutcome.OK) -> GuestRun:
        return run(which, {"t": LOST if end is LOST else PASS}, end, outcome)

    guests = [given(which, *((LOST, GuestOutcome.KILLED) if which is side else ())) for which in Side]
    changes = diff.compare(*guests, ["s"], [])

    def decided(*pairs: Pair, splats: tuple[Splat, ...] = ()) -> VerdictValue:
        rows, records = settle.settle(changes, pairs, ALPHA), [one.guest for one in guests]
        records[1] = replace(records[1], splats=splats)
        return verdict.decide((), records, rows, declared=False).value

    well = Pair("s", "", *map(given, Side))
    assert decided() is decided(Pair("s", "", *guests)) is VerdictValue.INCONCLUSIVE
    assert decided(well) is VerdictValue.CLEAN
    assert decided(*[Pair("s", "", given(Side.BASE), run(Side.PATCHED, {"t": FAIL}))] * 7) is VerdictValue.REGRESSED
    assert decided(well, splats=(WARNS,)) is not VerdictValue.CLEAN


def test_a_failure_that_only_a_pair_shows_is_suspected_from_the_next_pair_on() -> None:
    changes = first(PASS, PASS)
    assert not wants(changes, [])
    assert wants(changes, [pair(PASS, FAIL)])
    assert settled(changes, [pair(PASS, FAIL)] * 6).change is ChangeKind.FLAKY_ON_PATCHED
    assert settled(changes, [pair(PASS, FAIL)] * 7).change is ChangeKind.REGRESSED  # the first of them named it
    assert settled(changes, [pair(FAIL, PASS)]).change is ChangeKind.FLAKY_ON_BASE


def test_pairs_of_another_program_say_nothing_of_a_test() -> None:
    changes = [replace(change, name="a/t") if change.name == "t" else change for change in first(PASS, FAIL)]
    other = Pair("s", "b", run(Side.BASE, {"b": PASS}), run(Side.PATCHED, {"b": PASS}))
    mine = Pair("s", "a", run(Side.BASE, {"a/t": PASS}), run(Side.PATCHED, {"a/t": FAIL}))
    lane = suspects.look(changes, [other, mine, other], ALPHA)
    assert lane.standings["s", "a/t"].counts == chance.Pairs(suspected=1)


def test_a_program_of_several_that_breaks_in_a_pair_alone_names_no_end() -> None:
    changes = [replace(change, name="a") if change.name == "t" else change for change in first(PASS, FAIL)]
    broken = Pair("s", "a", run(Side.BASE, {"a": PASS}), run(Side.PATCHED, {"a": FAIL}, FAIL))
    assert set(suspects.look(changes, [broken], ALPHA).standings) == {("s", "a")}


def test_the_end_of_several_programs_is_as_its_tests_are() -> None:
    whole = {"base": run(Side.BASE, {"a": PASS}), "patched": run(Side.PATCHED, {"a": FAIL}, FAIL)}
    changes = diff.compare(whole["base"], whole["patched"], ["s"], [])
    again = Pair("s", "a", run(Side.BASE, {"a": PASS}), run(Side.PATCHED, {"a": PASS}))
    found = {change.name: change.change for change in settle.settle(changes, [again] * 19, ALPHA)}
    assert found == {"a": ChangeKind.FLAKY_ON_PATCHED, "(exit)": ChangeKind.FLAKY_ON_PATCHED}


def test_the_end_of_several_programs_of_which_some_were_not_seen_is_as_these_are_when_run_again() -> None:
    lost = run(Side.PATCHED, {"a": LOST, "b": Outcome.MISSING}, LOST, GuestOutcome.KILLED)
    changes = diff.compare(run(Side.BASE, {"a": PASS, "b": PASS}), lost, ["s"], [])
    one, two = (Pair("s", name, *(run(side, {name: PASS}) for side in Side)) for name in "ab")
    wanted = set(suspects.look(changes, [one], ALPHA).wanted)
    assert ("s", "b") in wanted and ("s", "a") not in wanted
    found = {change.name: change.change for change in settle.settle(changes, [one], ALPHA)}
    assert found == {"a": ChangeKind.SAME, "b": ChangeKind.MISSING, "(exit)": ChangeKind.MISSING}
    assert {change.change for change in settle.settle(changes, [one, two], ALPHA)} == {ChangeKind.SAME}


@pytest.mark.parametrize("kind", [kind for kind in ChangeKind if kind is not ChangeKind.SAME])
def test_what_is_declared_the_same_may_be_flaky_and_nothing_else(kind: ChangeKind) -> None:
    as_it_was = (ChangeKind.SAME_FAIL, ChangeKind.FLAKY_ON_BOTH, ChangeKind.FLAKY_ON_BASE)
    assert kind.meets(ChangeKind.SAME) is (kind in as_it_was)
    assert kind.meets(kind)


def test_on_a_null_run_of_many_flaky_tests_almost_nothing_is_called_regressed() -> None:
    """300 tests that fail alike on both sides, run again as a run would, 50 in a program."""
    rng, kinds = np.random.default_rng(6), []
    for _ in range(6):
        rates = rng.choice([0.01, 0.05, 0.2, 0.5], size=50)

        def once(side: Side, rates: np.ndarray = rates) -> GuestRun:
            fails = rng.random(50) < rates
            return run(side, {f"t{number}": FAIL if bad else PASS for number, bad in enumerate(fails)})

        changes = diff.compare(once(Side.BASE), once(Side.PATCHED), ["s"], [])
        pairs: list[Pair] = []
        while len(pairs) < 24 and any(suspects.look(changes, pairs, ALPHA).wanted):
            pairs += [Pair("s", "", once(Side.BASE), once(Side.PATCHED)) for _ in range(6)]
        kinds += [change.change for change in settle.settle(changes, pairs, ALPHA)]
    assert kinds.count(ChangeKind.REGRESSED) <= 1
    assert kinds.count(ChangeKind.REGRESSED) + kinds.count(ChangeKind.EXPOSED) <= 3
    assert kinds.count(ChangeKind.FLAKY_ON_BOTH) >= 100


@pytest.mark.parametrize("fixes", [0, 30])
def test_what_a_series_mends_lowers_no_bar_for_what_it_may_have_broken(fixes: int) -> None:
    """Of thirty tests that failed once on patched, one fails in nine pairs: among so many that comes by chance."""
    names, mended = [f"t{number}" for number in range(30)], [f"mended{number}" for number in range(fixes)]

    def both(failed: list[str]) -> tuple[GuestRun, GuestRun]:
        good = dict.fromkeys([*names, *mended], PASS)
        return run(Side.BASE, good | dict.fromkeys(mended, FAIL)), run(Side.PATCHED, good | dict.fromkeys(failed, FAIL))

    changes = diff.compare(*both(names), ["s"], [])
    found = {one.name: one.change for one in settle.settle(changes, [Pair("s", "", *both(["t0"]))] * 9, ALPHA)}
    assert found["t0"] is ChangeKind.UNDECIDED
    assert {found[name] for name in mended} <= {ChangeKind.FIXED}
    assert ChangeKind.REGRESSED not in found.values()


def boot(side: Side, *, up: bool) -> GuestRun:
    outcome = GuestOutcome.OK if up else GuestOutcome.PANIC
    record = GuestRecord(
        side, "x86_64", "fast", "tcg", 1.0 if up else None, outcome, "console.log", "" if up else "VFS"
    )
    return GuestRun(record, ends=(SuiteEnd(BOOT, 0, PASS if up else CRASH, record.detail),))


@pytest.mark.parametrize(
    ("boots", "kind"),
    [
        ((0, 0), "undecided"),
        ((0, 0, 0), "regressed"),
        ((0, 1, 0, 0, 0), "flaky-on-patched"),
        ((1, 1), "flaky-on-patched"),
    ],
)
def test_a_kernel_that_boots_no_more_is_regressed_after_three_pairs_and_one_that_did_by_none(
    boots: tuple[int, ...], kind: str
) -> None:
    base, dead = boot(Side.BASE, up=True), boot(Side.PATCHED, up=False)
    pairs = [Pair(BOOT, "", base, boot(Side.PATCHED, up=bool(up))) for up in boots]
    [found] = settle.settle(diff.boots(base.guest, dead.guest), pairs, ALPHA)
    assert (found.suite, found.name, found.change) == (BOOT, "(exit)", kind)
