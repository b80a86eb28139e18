"""The first pass and the pairs so far in; what is suspected, and how far chance has let it go, out. Pure.

The first pass names a suspect, and so does a pair in which something new failed; what named it is no evidence, but for
what was named before it.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.judge import chance, diff, fingerprint, sheet
from orchestrator.judge.chance import Pairs
from orchestrator.judge.sheet import Name, Sheet
from orchestrator.model import BOOT, Change, ChangeKind, Observed, Outcome, Pair, Side, Splat

_BAD = frozenset(outcome for outcome in Outcome if outcome.bad)
_WORSE_THAN_FAIL = _BAD - {Outcome.FAIL}
_ENOUGH = 5  # pairs after which what was seen on both sides may be dropped
_STABLE = 2  # pairs in which a way to fail must come again, or its words are different each time
_CONFIRM = 1  # pairs for what is not asked against chance, as there is nothing to compare it with
_CONFIRMED = frozenset({ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN, ChangeKind.SAME_FAIL})
# What one side did not test, and in how many pairs it must so that there is no difference. Of what was not seen, or not
# told, one is as good as the first pass; what was seen to be left out may be left out now and then.
_UNTESTED = {
    ChangeKind.INFRA: 1,
    ChangeKind.MISSING: 1,
    ChangeKind.REMOVED: _ENOUGH,
    ChangeKind.RUN_TO_SKIP: _ENOUGH,
}
_BOOT = (BOOT, sheet.SUITE_END)
_ITS_SHARE = 0.25  # of the error that a lane may have, beside its tests: none of them runs where nothing boots


@dataclass(frozen=True)
class Suspect:
    """An event of a test that is suspected to come more often on `side`; pairs of its suite before `since` named it.

    It ends with one of `outcomes`, and, where that is said, with this fingerprint. What is `foretold` was named before
    anything ran, and not chosen of many for how it came out: the first pass, in which it came, is evidence as well.
    """

    name: Name
    side: Side
    outcomes: frozenset[Outcome] = _BAD
    fingerprint: str = ""
    since: int = 0
    foretold: bool = False

    def came(self, one: Sheet) -> bool | None:
        """Did it come? None if nobody saw: what skips would else be called good."""
        seen = one.observe(*self.name)
        if seen is None or seen.outcome is Outcome.SKIP:
            return None
        if seen.outcome in (Outcome.LOST, Outcome.MISSING):  # a kernel that dies takes it along
            return True if one.run.guest.outcome.bad and not self.fingerprint else None
        return self.like(seen)

    def like(self, seen: Observed) -> bool:
        """Is this observation the event?"""
        alike = not self.fingerprint or self.fingerprint == fingerprint.of(seen)
        return seen.outcome in self.outcomes and alike


@dataclass(frozen=True, eq=False)
class Once:
    """One pair, looked through."""

    pair: Pair
    base: Sheet
    patched: Sheet

    def sides(self, first: Side) -> tuple[Sheet, Sheet]:
        """Both sheets, that of `first` first."""
        return (self.base, self.patched) if first is Side.BASE else (self.patched, self.base)

    @property
    def failed(self) -> dict[Name, None]:
        """Every test that was seen to fail in it, on either side."""
        return self.failed_on(self.base) | self.failed_on(self.patched)

    def failed_on(self, side: Sheet) -> dict[Name, None]:
        """Every test that was seen to fail on one side, what its kernel reported among them."""
        reports = (sheet.report(self.pair.program, title) for title in side.reports)
        return side.failed | {(self.pair.suite, name): None for name in reports}


@dataclass(frozen=True)
class Course:
    """The pairs of one suite in order, looked through."""

    pairs: tuple[Once, ...] = ()

    def of(self, name: Name) -> "Course":
        """Those that ran one test."""
        return Course(tuple(pair for pair in self.pairs if pair.pair.runs(name)))

    def count(self, suspect: Suspect, since: int = 0) -> Pairs:
        """How often the event came in the pairs in which both sides were seen."""
        counts = Pairs()
        for pair in self.pairs[since:]:
            here, there = map(suspect.came, pair.sides(suspect.side))
            if here is not None and there is not None:
                counts = counts.add(suspected=here, other=there)
        return counts

    def seen(self, name: Name) -> int:
        """In how many pairs there was something to be seen of a test."""
        both = ((pair.base.observe(*name), pair.patched.observe(*name)) for pair in self.pairs)
        return sum(any(seen and seen.outcome is not Outcome.MISSING for seen in one) for one in both)


@dataclass(frozen=True)
class Standing:
    """How a suspect stands: pairs since it was named (and all), and if these are enough to be `named` for good.

    `on_other`: the same failure was seen on the other side, in the first pass or in any pair; `tried` are its pairs.
    """

    suspect: Suspect
    counts: Pairs
    all_counts: Pairs
    on_other: bool
    tried: int
    named: bool = False

    @property
    def weighed(self) -> Pairs:
        """All that is evidence."""
        return self.counts.add(suspected=True, other=False) if self.suspect.foretold else self.counts

    @property
    def value(self) -> float:
        """What it is worth."""
        return chance.evidence(self.weighed.suspected, self.weighed.other)

    @property
    def open(self) -> bool:
        """Does it want another pair?"""
        counts, here = self.counts, self.counts.both + self.counts.suspected
        if self.named or (self.suspect.fingerprint and counts.of >= _STABLE and not here):
            return False
        if self.on_other and counts.of >= _ENOUGH and self.value < 1:
            return False
        if self.tried >= _ENOUGH and not counts.of:  # nobody sees it
            return False
        return chance.against_effect(counts) < 1 / chance.ALPHA


@dataclass(frozen=True)
class Lane:
    """All that is known of the tests of one lane: `standings` by test, `courses` by suite."""

    changes: tuple[Change, ...]
    standings: dict[Name, Standing] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)

    @property
    def fell(self) -> bool:
        """Does patched boot no more? Then nothing can be run in it."""
        return _BOOT in self.standings and self.standings[_BOOT].named

    @property
    def wanted(self) -> Iterator[Name]:
        """The tests that want another pair: whether it boots at all, then what is suspected of patched first."""
        if self.fell:
            return
        first = sorted(
            self.standings.values(), key=lambda one: (one.suspect.name != _BOOT, one.suspect.side is Side.BASE)
        )
        yield from (one.suspect.name for one in first if one.open)
        for change in self.changes:
            name = change.suite, change.name
            if name not in self.standings and (change.change in _UNTESTED or change.change in _CONFIRMED):
                course = self.course(name)
                done = instead(change, course) if change.change in _UNTESTED else course.seen(name) >= _CONFIRM
                if not done and len(course.pairs) < _ENOUGH:
                    yield name

    def course(self, name: Name) -> Course:
        """The pairs that ran one test."""
        return self.courses.get(name[0], Course()).of(name)


def look(changes: Iterable[Change], pairs: Sequence[Pair], alpha: float, on_base: Collection[Splat] = ()) -> Lane:
    """Say how every suspect of one lane stands; `alpha` is the false discovery rate that the lane may have.

    `on_base` are the reports that base gave in the first pass: in a pair they are no news, and one of the same title
    that a pair alone shows is taken for one of them.
    """
    first = {(change.suite, change.name): change for change in changes}
    lane, titles = Lane(tuple(first.values()), {}, _courses(pairs, on_base)), {splat.title for splat in on_base}
    suspects = {one.name: one for change in lane.changes for one in _first(change)}
    for course in lane.courses.values():
        suspects |= _later(course, suspects)
    found = [_stand(one, lane.course(one.name), first.get(one.name), titles) for one in suspects.values()]
    return replace(lane, standings={one.suspect.name: one for side in Side for one in _named(found, side, alpha)})


def instead(change: Change, course: Course) -> ChangeKind | None:
    """Say what pairs make of what one side did not test: the same where it is so again; None if nobody knows."""
    name = change.suite, change.name
    kinds = [
        diff.classify(pair.base.observe(*name), pair.patched.observe(*name), patched_fault=False)
        for pair in course.pairs
    ]
    if change.change in kinds and change.change is not ChangeKind.INFRA:  # a guest that is lost again tells nothing
        return change.change
    well = [kind for kind in kinds if kind.unchanged or kind is change.expected]
    return well[0] if 0 < _UNTESTED.get(change.change, 0) <= len(well) else None


def _named(found: Iterable[Standing], side: Side, alpha: float) -> Iterator[Standing]:
    """Name what is suspected of one side, with an error of its own: true fixes would lower the bar for breaks."""
    here = [one for one in found if one.suspect.side is side]
    for one, yes in zip(here, chance.discoveries([one.value for one in here], alpha), strict=True):
        yield replace(one, named=yes or _never_boots(one, alpha))


def _never_boots(one: Standing, alpha: float) -> bool:
    """Did patched not boot in any pair, and base in all? Unlike tests, both were started by themselves."""
    if one.suspect.name != _BOOT or one.suspect.side is Side.BASE:
        return False
    return chance.each_time(one.weighed) * alpha * _ITS_SHARE >= 1


def _courses(pairs: Iterable[Pair], on_base: Collection[Splat]) -> dict[str, Course]:
    found: dict[str, list[Once]] = {}
    for pair in pairs:
        base, patched = (sheet.of(run, on_base) for run in (pair.base, pair.patched))
        found.setdefault(pair.suite, []).append(Once(pair, base, patched))
    return {suite: Course(tuple(course)) for suite, course in found.items()}


def _first(change: Change) -> Iterator[Suspect]:
    """What the first pass makes suspicious of one test."""
    name, kind = (change.suite, change.name), change.change
    base, patched = change.base, change.patched
    if kind is ChangeKind.REGRESSED:
        bad = _BAD if base.outcome.good else _WORSE_THAN_FAIL
        yield Suspect(name, Side.PATCHED, bad, foretold=name == _BOOT)
    elif kind in (ChangeKind.FLAKY_ON_PATCHED, ChangeKind.FLAKY_ON_BOTH):
        yield Suspect(name, Side.PATCHED)
    elif kind is ChangeKind.FIXED:
        yield Suspect(name, Side.BASE, foretold=change.expected is kind)
    elif kind is ChangeKind.SAME_FAIL and fingerprint.of(base) != fingerprint.of(patched):
        yield Suspect(name, Side.PATCHED, frozenset({patched.outcome}), fingerprint.of(patched))


def _later(course: Course, known: dict[Name, Suspect]) -> dict[Name, Suspect]:
    """What a pair makes suspicious that the first pass did not."""
    found: dict[Name, Suspect] = {}
    for pair in course.pairs:
        for name in pair.failed_on(pair.patched):
            seen = pair.base.observe(*name) if pair.pair.runs(name) else None
            if name not in known and name not in found and seen and seen.outcome.good:
                since = course.of(name).pairs.index(pair) + 1
                found[name] = Suspect(name, Side.PATCHED, since=since)
    return found


def _stand(suspect: Suspect, course: Course, first: Change | None, titles: Collection[str]) -> Standing:
    counts, title = course.count(suspect, suspect.since), sheet.reported(suspect.name[1])
    return Standing(
        suspect,
        counts,
        course.count(suspect),
        (first is None and title in titles) or _on_other(suspect, course, first),
        len(course.pairs) - suspect.since,
    )


def _on_other(suspect: Suspect, course: Course, first: Change | None) -> bool:
    """Was the same failure seen on the other side? Where its words differ each time, any failure is the same."""
    here, there = ([], []) if first is None else _of_first(suspect, first)
    for pair in course.pairs:
        one, other = pair.sides(suspect.side)
        here += _like(suspect, one)
        there += _like(suspect, other)
    volatile = len(here) > 1 and len(set(here)) > 1
    return any(volatile or print_ in here for print_ in there)


def _of_first(suspect: Suspect, first: Change) -> tuple[list[str], list[str]]:
    both = (first.base, first.patched) if suspect.side is Side.BASE else (first.patched, first.base)
    here, there = ([fingerprint.of(seen)] if suspect.like(seen) else [] for seen in both)
    return here, there


def _like(suspect: Suspect, one: Sheet) -> list[str]:
    seen = one.observe(*suspect.name)
    if seen and suspect.came(one):
        return [fingerprint.of(seen)]
    return []
