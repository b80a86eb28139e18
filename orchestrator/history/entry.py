"""A run in, what the history keeps of it out: each lane's tests, and of those that did not just pass what they gave."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model import Change, ChangeKind, Observed, Outcome, PastSide, Rate, Run, Side
from orchestrator.publish import clean

LONGEST = 500  # characters of a name; PostgreSQL refuses to index a few thousand

Name = tuple[str, str]  # suite, test


@dataclass(frozen=True)
class Result:
    """One test that did not pass, or did not always, or not on both sides."""

    name: Name
    change: ChangeKind
    base: PastSide
    patched: PastSide


@dataclass(frozen=True)
class LaneEntry:
    """One lane; what is neither `skipped` nor among the `results` of its `tests` passed on both sides."""

    arch: str
    flavour: str
    images: dict[Side, str]
    repeats: int
    tests: tuple[Name, ...]
    skipped: tuple[Name, ...]
    results: tuple[Result, ...]


def lanes(run: Run) -> list[LaneEntry]:
    """Every lane that was to be built or tested."""
    images = {(build.arch, build.flavour, build.side): build.image_sha256 or "" for build in run.builds}
    changes: dict[tuple[str, str], list[Change]] = {(arch, flavour): [] for arch, flavour, _ in images}
    for change in run.tests:
        changes.setdefault((change.arch, change.flavour), []).append(change)
    return [
        _lane(*lane, {side: images.get((*lane, side), "") for side in Side}, found)
        for lane, found in sorted(changes.items())
    ]


def shown(text: str) -> str:
    """A guest's or a patch's word as the history knows it: one line of what every database takes, of bounded length."""
    text = clean.line(text)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 40]}...{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _lane(arch: str, flavour: str, images: dict[Side, str], changes: list[Change]) -> LaneEntry:
    usual = Counter(len(change.base.repeats) or 1 for change in changes).most_common(1)
    repeats = usual[0][0] if usual else 1
    skipped = [change for change in changes if _same(change, Outcome.SKIP)]
    passed = (change for change in changes if _same(change, Outcome.PASS) and _runs(change) == {repeats})
    plain = {id(change) for change in (*skipped, *passed)}
    return LaneEntry(
        arch,
        flavour,
        images,
        repeats,
        _names(changes),
        _names(skipped),
        tuple(_worst(_result(change) for change in changes if id(change) not in plain)),
    )


def _worst(results: Iterable[Result]) -> Iterable[Result]:
    """One of each name: what differs in what is not shown has the same."""
    ordered = sorted(results, key=lambda result: list(ChangeKind).index(result.change), reverse=True)
    return {result.name: result for result in ordered}.values()


def _same(change: Change, outcome: Outcome) -> bool:
    alike = change.base.outcome is change.patched.outcome is outcome
    return alike and change.change is ChangeKind.SAME and change.evidence is None


def _runs(change: Change) -> set[int]:
    return {len(side.repeats) or 1 for side in (change.base, change.patched)}


def _names(changes: Iterable[Change]) -> tuple[Name, ...]:
    return tuple(_name(change) for change in changes)


def _name(change: Change) -> Name:
    return shown(change.suite), shown(change.name)


def _result(change: Change) -> Result:
    seen = None if change.both_fail else change.evidence
    return Result(
        _name(change),
        change.change,
        _side(change.base, seen.base if seen else None),
        _side(change.patched, seen.patched if seen else None),
    )


def _side(observed: Observed, rate: Rate | None) -> PastSide:
    """How often it failed, in whichever way: in all pairs if they counted that, else in repeats of the first pass."""
    if rate:
        return PastSide(observed.outcome, rate.came, rate.of)
    ran = [outcome for outcome in observed.repeats or (observed.outcome,) if outcome.good or outcome.bad]
    return PastSide(observed.outcome, sum(outcome.bad for outcome in ran), len(ran))
