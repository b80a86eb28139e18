"""The first pass and all pairs in, every test with its class and its rates out. Pure.

What may be claimed, and with which error rate: docs/judgement.md.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from orchestrator.judge import chance, diff, fingerprint, sheet, suspects
from orchestrator.judge.sheet import SUITE_END, Name
from orchestrator.judge.suspects import Course, Lane, Standing, Suspect
from orchestrator.model import Change, ChangeKind, Evidence, Observed, Outcome, Pair, Rate, Side, Splat

_ORDER = list(ChangeKind)


def settle(
    changes: Iterable[Change], pairs: Sequence[Pair], alpha: float, on_base: Collection[Splat] = ()
) -> list[Change]:
    """Class every test of one lane anew by what its pairs gave; `alpha` and `on_base` as in `suspects.look`."""
    lane = suspects.look(changes, pairs, alpha, on_base)
    failed = {name for course in lane.courses.values() for pair in course.pairs for name in pair.failed}
    settled = [
        change
        if change.change is ChangeKind.SAME and (change.suite, change.name) not in failed
        else _of_all_its_failures(lane, _settle(lane, change))
        for change in lane.changes
    ]
    settled += [_unheard_of(lane, name) for name in _new(lane)]
    settled = [_as_its_tests(change, settled) for change in settled]
    return settled if lane.fell else [_proved(change, settled) for change in settled]


def _settle(lane: Lane, change: Change) -> Change:
    name = change.suite, change.name
    standing, course = lane.standings.get(name), lane.course(name)
    if standing and (standing.tried or standing.suspect.since):
        return replace(change, change=_judged(standing, change), evidence=_evidence(standing))
    if not course.pairs:
        return change
    kind = _disagreement(change, course)
    if kind is change.change and change.change is ChangeKind.SAME:
        return change
    rates = course.count(Suspect(name, Side.PATCHED))
    return replace(change, change=kind, evidence=_rates(rates, Side.PATCHED) if rates.of else None)


def _of_all_its_failures(lane: Lane, change: Change) -> Change:
    """Patched may fail in several ways: who knows one of them does not know the others."""
    if sheet.reported(change.name):  # whose fingerprint is of another kind
        return change
    runs = (pair.patched.observe(change.suite, change.name) for pair in lane.course((change.suite, change.name)).pairs)
    ways = Counter(fingerprint.of(seen) for seen in runs if seen and seen.outcome.bad)
    del ways[change.fingerprint]
    return replace(change, fingerprint=ways.most_common(1)[0][0]) if ways else change


def _judged(standing: Standing, first: Change) -> ChangeKind:
    """Class a suspect."""
    suspect, always = standing.suspect, standing.counts.both + standing.counts.suspected == standing.counts.of
    on_patched = suspect.side is Side.PATCHED
    if standing.named:
        alone = ChangeKind.REGRESSED if on_patched else ChangeKind.FIXED
        shared = ChangeKind.EXPOSED if on_patched else ChangeKind.FLAKY_ON_BOTH
        return shared if standing.on_other else alone
    if suspect.fingerprint:
        return ChangeKind.SAME_FAIL
    if standing.on_other:
        return ChangeKind.FLAKY_ON_BOTH
    if always and not suspect.since:
        return ChangeKind.UNDECIDED
    if on_patched:
        late = first.patched.outcome is Outcome.TIMEOUT and not suspect.since and not standing.all_counts.suspected
        return ChangeKind.TIMING if late else ChangeKind.FLAKY_ON_PATCHED
    return ChangeKind.FLAKY_ON_BASE


def _disagreement(first: Change, course: Course) -> ChangeKind:
    """Class a test that nobody suspects: it is what the first pass says, unless runs on one kernel disagree."""
    failed = []
    for side, seen in ((Side.BASE, first.base), (Side.PATCHED, first.patched)):
        outcomes = [seen.outcome, *_outcomes(course, side, first)]
        bad, good = (any(test(outcome) for outcome in outcomes) for test in (_bad, _good))
        failed.append((bad, bad and good))
    (base, base_differs), (patched, patched_differs) = failed
    if base_differs or patched_differs:
        return diff.flaky_on(base=base, patched=patched)
    return suspects.instead(first, course) or first.change


def _bad(outcome: Outcome) -> bool:
    return outcome.bad


def _good(outcome: Outcome) -> bool:
    return outcome.good


def _outcomes(course: Course, side: Side, first: Change) -> list[Outcome]:
    seen = (pair.sides(side)[0].observe(first.suite, first.name) for pair in course.pairs)
    return [one.outcome for one in seen if one]


def _new(lane: Lane) -> list[Name]:
    """The suspects that the first pass did not have at all."""
    known = {(change.suite, change.name) for change in lane.changes}
    return [name for name in lane.standings if name not in known]


def _unheard_of(lane: Lane, name: Name) -> Change:
    """A test that only pairs have shown."""
    like = lane.changes[0]
    seen = Observed(Outcome.MISSING)
    change = replace(like, suite=name[0], name=name[1], base=seen, patched=seen, change=ChangeKind.SAME)
    return _settle(lane, replace(change, expected=None, evidence=None, fingerprint=""))


def _as_its_tests(change: Change, settled: Sequence[Change]) -> Change:
    """Of several programs, the end is what becomes of them: it was not run again as a whole."""
    ended = change.change in (ChangeKind.REGRESSED, ChangeKind.INFRA)
    if change.name != SUITE_END or change.evidence or not ended:
        return change
    tests = (one for one in settled if one.suite == change.suite and one is not change)
    others = [one for one in tests if one.evidence or one.change is not ChangeKind.SAME]
    if not any(one.evidence for one in others):
        return change
    return replace(change, change=min((one.change for one in others), key=_ORDER.index))


def _proved(change: Change, settled: Iterable[Change]) -> Change:
    """What differed once, and was not run again, nor is as its tests are, is not decided."""
    kind = change.change
    suite = () if sheet.reported(change.name) else (one for one in settled if one.suite == change.suite)
    again = change.evidence or any(one.evidence and one.change is kind for one in suite)
    if again or kind.meets(change.expected or ChangeKind.SAME) or kind not in (ChangeKind.REGRESSED, ChangeKind.FIXED):
        return change
    return replace(change, change=ChangeKind.UNDECIDED)


def _evidence(standing: Standing) -> Evidence:
    return replace(_rates(standing.all_counts, standing.suspect.side), value=standing.value)


def _rates(counts: chance.Pairs, side: Side) -> Evidence:
    here = _rate(counts.both + counts.suspected, counts.of)
    there = _rate(counts.both + counts.other, counts.of)
    return Evidence(*((here, there) if side is Side.BASE else (there, here)))


def _rate(came: int, of: int) -> Rate:
    low, high = chance.interval(came, of)
    return Rate(came, of, round(low, 4), round(high, 4))
