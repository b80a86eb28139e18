"""What to look for in the trees between base and patched, whether one of them shows it, and how sure that is. Pure.

A tree in which nothing shows may have been lucky. How often what is looked for shows is itself known from a few runs
only, so the chance that a bad tree stays clean is taken over all rates that these runs allow (a uniform prior).
"""

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.judge import measure, sheet, verdict
from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    GuestRecord,
    GuestRun,
    Lane,
    MetricPair,
    Outcome,
    Run,
    Side,
    Splat,
)

ERROR = 0.01  # how probable a tree may be called good by chance
MOST_RUNS = 64  # of one tree


class Kind(StrEnum):
    """Where a symptom is seen."""

    BUILD = "build"
    END = "end"
    SPLAT = "splat"
    TEST = "test"
    METRIC = "metric"


@dataclass(frozen=True)
class Symptom:
    """Something that patched has and base has not. `key` says what is looked for, the same in every lane.

    It showed in `bad` of `runs` of the suite, all suites where that is "". A metric's is `ratio` times base's.
    """

    kind: Kind
    lane: Lane
    key: tuple[str, ...]
    words: str
    suite: str = ""
    bad: int = 1
    runs: int = 1
    ratio: float = 1.0

    def seen(self, more: "Seen") -> "Symptom":
        """The same, known from more runs."""
        return replace(self, bad=self.bad + more.bad, runs=self.runs + more.runs)


@dataclass(frozen=True)
class Seen:
    """In how many of the runs of a tree it showed."""

    bad: int
    runs: int


def symptoms(run: Run) -> list[Symptom]:
    """Return all that makes a run's verdict `regressed`, the gravest first."""
    chance = {
        (Lane(change.arch, change.flavour), title)
        for change, title in verdict.reports(run.tests, run.guests)
        if change.change is not ChangeKind.REGRESSED
    }
    ends, splats = _of_ends(run.guests, run.tests), _of_splats(run.guests, chance)
    return [*_of_builds(run.builds), *ends, *splats, *_of_tests(run.tests), *_of_metrics(run.metrics)]


def show(symptom: Symptom, tree: GuestRun) -> Seen | None:
    """In how many of its runs does a tree show it? None where nobody can tell."""
    if symptom.kind is Kind.TEST:
        return _show_test(symptom, tree)
    if symptom.kind is Kind.SPLAT:
        found = any(symptom.key in (_named(splat), verdict.identity(splat)) for splat in tree.guest.splats)
    else:
        found = (str(tree.guest.outcome),) == symptom.key
    whole = verdict.lived(tree.guest) and not tree.guest.more_splats
    repeats = 1 + max((end.repeat for end in tree.ends), default=0)
    return Seen(1, 1) if found else Seen(0, repeats) if whole else None


def weigh(symptom: Symptom, boots: Sequence[tuple[GuestRun, GuestRun]]) -> tuple[bool, float] | None:
    """Is a tree's metric, measured in turn with base's, as bad as patched's, and how probable is that by chance?

    None where nobody can tell.
    """
    samples = [(_samples(symptom, base), _samples(symptom, tree)) for base, tree in boots]
    return measure.nearer(samples, symptom.ratio)


def luck(symptom: Symptom, clean: int) -> float:
    """How probable is it that what showed in `bad` of `runs` does not show in `clean` more?"""
    good = symptom.runs - symptom.bad + 1
    return math.prod((good + number) / (symptom.runs + 2 + number) for number in range(clean))


def needed(symptom: Symptom) -> int:
    """How many clean runs a tree must have to be called good."""
    return next((runs for runs in range(1, MOST_RUNS) if luck(symptom, runs) <= ERROR), MOST_RUNS)


def _of_builds(builds: Iterable[BuildRecord]) -> Iterator[Symptom]:
    broken = {(build.arch, build.flavour) for build in builds if build.side is Side.BASE and build.error}
    for build in builds:
        lane = Lane(build.arch, build.flavour)
        if build.side is Side.PATCHED and build.error and lane not in broken:
            yield Symptom(Kind.BUILD, lane, (), "does not build")


def _of_ends(guests: Iterable[GuestRecord], changes: Sequence[Change]) -> Iterator[Symptom]:
    for lane, _, guest in _comparable(guests):
        if verdict.blamed(guest, changes):
            yield Symptom(Kind.END, lane, (str(guest.outcome),), f"its guest ends by {guest.outcome}")


def _of_splats(guests: Iterable[GuestRecord], chance: Container[tuple[Lane, str]]) -> Iterator[Symptom]:
    for lane, before, guest in _comparable(guests):
        on_base = {_named(splat) for splat in before.splats}
        for splat in verdict.new_splats(before, guest):
            if splat.known or before.more_splats or (lane, splat.title) in chance:
                continue
            key = verdict.identity(splat) if _named(splat) in on_base else _named(splat)
            yield Symptom(Kind.SPLAT, lane, key, f"{splat.kind}: {splat.title}")


def _named(splat: Splat) -> tuple[str, str]:
    """What a report is called, whoever called the function that it names: that may differ from tree to tree."""
    return splat.kind, splat.title


def _comparable(guests: Iterable[GuestRecord]) -> Iterator[tuple[Lane, GuestRecord, GuestRecord]]:
    """Base's guest and patched's, of each lane whose base lived."""
    base = {Lane(guest.arch, guest.flavour): guest for guest in guests if guest.side is Side.BASE}
    for guest in guests:
        before = base.get(lane := Lane(guest.arch, guest.flavour))
        if guest.side is Side.PATCHED and before and verdict.lived(before):
            yield lane, before, guest


def _of_tests(changes: Iterable[Change]) -> Iterator[Symptom]:
    for change in changes:
        if change.change is ChangeKind.REGRESSED and not sheet.reported(change.name):  # they are the guest's
            key = (change.suite, change.name, "" if change.base.outcome.good else change.patched.outcome)
            seen = _count(change.patched.repeats, key[2]) or Seen(1, 1)
            if again := change.evidence:
                seen = Seen(seen.bad + again.patched.came, seen.runs + again.patched.of)
            lane = Lane(change.arch, change.flavour)
            words = f"{change.suite}/{change.name} ({change.base.outcome} -> {change.patched.outcome})"
            yield Symptom(Kind.TEST, lane, key, words, change.suite, max(1, seen.bad), seen.runs)


def _of_metrics(metrics: Iterable[MetricPair]) -> Iterator[Symptom]:
    for pair in metrics:
        if (effect := pair.effect) and pair.worsened:
            lane, key = Lane(pair.arch, pair.flavour), (pair.suite, pair.name, pair.unit)
            words = f"{pair.suite}/{pair.name} (x{effect.ratio:.3g})"
            yield Symptom(Kind.METRIC, lane, key, words, pair.suite, effect.boots, effect.boots, effect.ratio)


def _samples(symptom: Symptom, tree: GuestRun) -> tuple[float, ...]:
    return next((one.samples for one in tree.metrics if (one.suite, one.name, one.unit) == symptom.key), ())


def _show_test(symptom: Symptom, tree: GuestRun) -> Seen | None:
    suite, name, outcome = symptom.key
    found = sheet.of(tree).observe(suite, name)
    if found and (seen := _count(found.repeats, outcome)):
        return seen
    return Seen(1, 1) if tree.guest.outcome.bad and not outcome else None


def _count(outcomes: Iterable[Outcome], wanted: str) -> Seen | None:
    """How often a test went wrong, or, of one that always did, wrong in the `wanted` way; None if it never ran."""
    ran = [outcome for outcome in outcomes if outcome.good or outcome.bad]
    bad = sum(outcome == wanted if wanted else outcome.bad for outcome in ran)
    return Seen(bad, len(ran)) if ran else None
