"""What to look for in the trees between base and patched, whether one of them shows it, and how sure that is. Pure.

A tree in which nothing shows may have been lucky, and one in which it shows may do as base does now and then. How often
patched and base show it is itself known from a few runs only, so what a tree shows is weighed over all rates that these
runs allow. Why these priors, and what they cost: docs/bisect.md.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.judge import ending, fingerprint, measure, reports, sheet
from orchestrator.model import (
    BOOT,
    BuildRecord,
    Change,
    ChangeKind,
    Effect,
    GuestRecord,
    GuestRun,
    Lane,
    MetricPair,
    Outcome,
    Run,
    Side,
    Splat,
)

ERROR = 0.01  # how probable it may be that a tree is taken for the other kind
MOST_RUNS = 64  # of one tree
# What is known before any run: as much as two runs tell (runs that showed it, and that did not).
_PATCHED = (1.0, 1.0)  # all rates are as probable
_BASE = (0.1, 1.9)  # one time in twenty, and mostly never


class Kind(StrEnum):
    """Where a symptom is seen."""

    BUILD = "build"
    BOOT = "boot"
    END = "end"
    SPLAT = "splat"
    TEST = "test"
    METRIC = "metric"


class Taken(StrEnum):
    """Did patched's guest end before a test could end, and how far had it come?"""

    NO = "no"
    AT_BOOT = "at boot"
    LATER = "later"


@dataclass(frozen=True)
class Seen:
    """In how many of the runs of a tree it showed."""

    bad: int
    runs: int

    def __add__(self, more: "Seen") -> "Seen":
        return Seen(self.bad + more.bad, self.runs + more.runs)


_ONCE, _NEVER = Seen(1, 1), Seen(0, 1)


@dataclass(frozen=True)
class Symptom:
    """Something that patched has and base has not. `key` says what is looked for, the same in every lane.

    `patched` and `base` say how often they showed it in runs of the suite, all suites where that is "". `effect` is a
    metric's. A test that was `taken` along by patched's guest shows in a tree whose guest ends there, too.
    """

    kind: Kind
    lane: Lane
    key: tuple[str, ...]
    words: str
    suite: str = ""
    patched: Seen = _ONCE
    base: Seen = _NEVER
    effect: Effect | None = None
    taken: Taken = Taken.NO

    def seen(self, more: Seen, *, bad: bool) -> "Symptom":
        """The same, known from the runs of one more tree, a bad one or a good one."""
        return replace(self, patched=self.patched + more) if bad else replace(self, base=self.base + more)


def symptoms(run: Run) -> list[Symptom]:
    """Return all that makes a run's verdict `regressed`, the gravest first."""
    told = sorted(reports.rows(run.tests, run.guests), key=lambda one: one[0].change is ChangeKind.REGRESSED)
    rows = {(Lane(row.arch, row.flavour), title): row for row, title in told}  # of one title, what regressed counts
    ends, splats = _of_ends(run.guests, run.tests), _of_splats(run.guests, rows)
    pairs, tests = _of_pairs(run.tests), _of_tests(run.tests, run.guests)
    return [*_of_builds(run.builds), *ends, *splats, *pairs, *tests, *_of_metrics(run.metrics)]


def show(symptom: Symptom, tree: GuestRun) -> Seen | None:
    """In how many of its runs does a tree show it? None where nobody can tell."""
    if symptom.kind is Kind.TEST:
        return _show_test(symptom, tree)
    if symptom.kind is Kind.BOOT:
        fell = tree.guest.boot_seconds is None
        return Seen(int(fell), 1) if tree.guest.outcome.bad or not fell else None
    if symptom.kind is Kind.SPLAT:
        names = ((_named(splat), splat.identity, (splat.title,)) for splat in tree.guest.splats)
        found = any(symptom.key in some for some in names)
    else:
        found = (str(tree.guest.outcome),) == symptom.key
    whole = ending.lived(tree.guest) and not tree.guest.more_splats
    repeats = 1 + max((end.repeat for end in tree.ends), default=0)
    return Seen(1, 1) if found else Seen(0, repeats) if whole else None


def weigh(symptom: Symptom, boots: Sequence[tuple[GuestRun, GuestRun]]) -> float | None:
    """How probable is it that a tree's metric, measured in turn with base's, is nearer to patched's than to base's?

    None where nobody can tell.
    """
    samples = [(_samples(symptom, base), _samples(symptom, tree)) for base, tree in boots]
    return measure.nearer(samples, symptom.effect) if symptom.effect else None


def posterior(symptom: Symptom, tree: Seen) -> float:
    """How probable is it that a tree is bad, which is as probable as not before anything of it is seen?"""
    like_base = _log_chance(tree, symptom.base, _BASE) - _log_chance(tree, symptom.patched, _PATCHED)
    return (1 - math.tanh(like_base / 2)) / 2  # 1 / (1 + exp(like_base)), which would overflow


def enough(symptom: Symptom, tree: Seen) -> bool:
    """Is what a tree showed enough to say whether it is bad, or all that is tried?"""
    return tree.runs >= MOST_RUNS or sure(posterior(symptom, tree))


def sure(probable: float) -> bool:
    """Is it as good as sure that a tree is bad, or that it is good?"""
    return not ERROR < probable < 1 - ERROR


def _of_builds(builds: Iterable[BuildRecord]) -> Iterator[Symptom]:
    broken = {(build.arch, build.flavour) for build in builds if build.side is Side.BASE and build.error}
    for build in builds:
        lane = Lane(build.arch, build.flavour)
        if build.side is Side.PATCHED and build.error and not build.unfinished and lane not in broken:
            yield Symptom(Kind.BUILD, lane, (fingerprint.fold(build.error),), "does not build")


def _of_ends(guests: Iterable[GuestRecord], changes: Sequence[Change]) -> Iterator[Symptom]:
    for _, guest in ending.comparable(guests):
        if ending.blamed(guest, changes):
            lane = Lane(guest.arch, guest.flavour)
            yield Symptom(Kind.END, lane, (str(guest.outcome),), f"its guest ends by {guest.outcome}")


def _of_splats(guests: Iterable[GuestRecord], rows: Mapping[tuple[Lane, str], Change]) -> Iterator[Symptom]:
    for before, guest in ending.comparable(guests):
        lane, on_base = Lane(guest.arch, guest.flavour), {_named(splat) for splat in before.splats}
        for splat in reports.new(before, guest):
            row = rows.get((lane, splat.title))
            if splat.known or before.more_splats or (row and row.change is not ChangeKind.REGRESSED):
                continue
            key = splat.identity if _named(splat) in on_base else _named(splat)
            suite, rates = (_suite(row), _rates(row)) if row else ("", (_ONCE, _NEVER))
            yield Symptom(Kind.SPLAT, lane, key, f"{splat.kind}: {splat.title}", suite, *rates)


def _of_pairs(changes: Iterable[Change]) -> Iterator[Symptom]:
    """What pairs alone have shown of a kernel: that it does not boot, or a report, known by its title alone."""
    for change in changes:
        if change.change is not ChangeKind.REGRESSED or change.patched.outcome is not Outcome.MISSING:
            continue
        lane, rates = Lane(change.arch, change.flavour), _rates(change)
        if title := sheet.reported(change.name):
            yield Symptom(Kind.SPLAT, lane, (title,), title, _suite(change), *rates)
        elif change.suite == BOOT:
            yield Symptom(Kind.BOOT, lane, (), "does not boot", "", *rates)


def _suite(report: Change) -> str:
    """What is run to see a report: any suite, where the kernel gives it as it boots."""
    return "" if report.suite == BOOT else report.suite


def _named(splat: Splat) -> tuple[str, str]:
    """What a report is called, whoever called the function that it names: that may differ from tree to tree."""
    return splat.kind, splat.title


def _of_tests(changes: Iterable[Change], guests: Iterable[GuestRecord]) -> Iterator[Symptom]:
    patched = {Lane(guest.arch, guest.flavour): guest for guest in guests if guest.side is Side.PATCHED}
    for change in changes:
        mine = change.suite != BOOT and not sheet.reported(change.name)  # those are the guest's
        if change.change is ChangeKind.REGRESSED and mine:
            key = (change.suite, change.name, change.patched.outcome if change.base.outcome.bad else "")
            lane = Lane(change.arch, change.flavour)
            words = f"{change.suite}/{change.name} ({change.base.outcome} -> {change.patched.outcome})"
            rates = _rates(change, key[2])
            yield Symptom(Kind.TEST, lane, key, words, change.suite, *rates, taken=_taken(change, patched.get(lane)))


def _taken(change: Change, patched: GuestRecord | None) -> Taken:
    """What fails for certain is not taken along; of what passed at first, pairs count that it was."""
    outcome = change.patched.outcome
    if not patched or (outcome.bad and outcome is not Outcome.CRASH):
        return Taken.NO
    return Taken.AT_BOOT if patched.boot_seconds is None else Taken.LATER


def _rates(change: Change, wanted: str = "") -> tuple[Seen, Seen]:
    """How often a test went wrong, in the `wanted` way if there is one, on patched and on base, in all runs of it."""
    patched = _count(change.patched.repeats, wanted) or _ONCE
    base = _count(change.base.repeats, wanted) or _NEVER
    if again := change.evidence:
        patched += Seen(again.patched.came, again.patched.of)
        base += Seen(again.base.came, again.base.of)
    return replace(patched, bad=max(1, patched.bad)), base


def _of_metrics(metrics: Iterable[MetricPair]) -> Iterator[Symptom]:
    for pair in metrics:
        if (effect := pair.effect) and pair.worsened:
            lane, key = Lane(pair.arch, pair.flavour), (pair.suite, pair.name, pair.unit)
            words = f"{pair.suite}/{pair.name} ({measure.said(effect)[0]})"
            boots = Seen(effect.boots, effect.boots)
            yield Symptom(Kind.METRIC, lane, key, words, pair.suite, boots, effect=effect)


def _samples(symptom: Symptom, tree: GuestRun) -> tuple[float, ...]:
    return next((one.samples for one in tree.metrics if (one.suite, one.name, one.unit) == symptom.key), ())


def _show_test(symptom: Symptom, tree: GuestRun) -> Seen | None:
    suite, name, outcome = symptom.key
    found = sheet.of(tree).observe(suite, name)
    if found and (seen := _count(found.repeats, outcome)):
        return seen
    where = Taken.AT_BOOT if tree.guest.boot_seconds is None else Taken.LATER
    return Seen(1, 1) if tree.guest.outcome.bad and where is symptom.taken and not outcome else None


def _count(outcomes: Iterable[Outcome], wanted: str) -> Seen | None:
    """How often a test went wrong, or, of one that always did, wrong in the `wanted` way; None if it never ran."""
    ran = [outcome for outcome in outcomes if outcome.good or outcome.bad]
    bad = sum(outcome == wanted if wanted else outcome.bad for outcome in ran)
    return Seen(bad, len(ran)) if ran else None


def _log_chance(tree: Seen, known: Seen, prior: tuple[float, float]) -> float:
    """The logarithm of how probable it is that a kernel known from some runs shows it in so many more."""
    shown, hidden = known.bad + prior[0], known.runs - known.bad + prior[1]
    return _log_beta(shown + tree.bad, hidden + tree.runs - tree.bad) - _log_beta(shown, hidden)


def _log_beta(one: float, two: float) -> float:
    return math.lgamma(one) + math.lgamma(two) - math.lgamma(one + two)
