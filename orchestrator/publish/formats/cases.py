"""A run as a list of cases, for readers that know passed, failed, could not tell, and skipped, and no more.

What counts against the series is `against`, and nothing else: a CI that turns red on it says what the verdict says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    GuestRecord,
    Lane,
    Observed,
    Outcome,
    Run,
    Side,
)
from orchestrator.publish import digest, outline

OWN = "kdelta"  # the group of what is no test of a suite; no suite in its place, for one of that name joins it


class Standing(StrEnum):
    """What one case means for the series."""

    GOOD = "good"
    AGAINST = "against"
    UNSURE = "unsure"  # nobody can say: it is neither good nor the series' fault
    ASIDE = "aside"  # fails, and not by the series
    UNTESTED = "untested"


@dataclass(frozen=True)
class Case:
    """One line of a report; `lane` is "" where it is of all of them, `why` one sentence.

    `output` are words of a guest; of the verdict, what it rests on.
    """

    group: str
    name: str
    lane: str
    standing: Standing
    why: str
    outcome: Outcome = Outcome.PASS
    output: str = ""
    seconds: float = 0.0


def of(run: Run) -> list[Case]:
    """The verdict, then the builds, the guests, and every test of every lane."""
    base_fails = {digest.lane_of(build) for build in run.builds if build.side is Side.BASE and build.error}
    return [
        _verdict(run),
        *(_build(build, base_fails=digest.lane_of(build) in base_fails) for build in run.builds),
        *(_guest(guest) for guest in run.guests),
        *(_test(change) for change in run.tests),
    ]


def _verdict(run: Run) -> Case:
    standing = {0: Standing.GOOD, 1: Standing.AGAINST}.get(digest.exit_code(run), Standing.UNSURE)
    why = f"{digest.answer(run)}: {'; '.join(digest.reasons(run))}"
    return Case(OWN, "verdict", "", standing, why, output=digest.strength(run))


def _build(build: BuildRecord, *, base_fails: bool) -> Case:
    bad = Standing.AGAINST if build.side is Side.PATCHED and not base_fails else Standing.UNSURE
    why = f"does not build: {build.error}" if build.error else "builds"
    lane = str(Lane(build.arch, build.flavour))
    return Case(OWN, f"build {build.side}", lane, bad if build.error else Standing.GOOD, why, seconds=build.seconds)


def _guest(guest: GuestRecord) -> Case:
    """A guest that does not live on is the series' fault only if its tests, or the verdict, say so."""
    good = guest.outcome.value == "ok" or guest.went_on
    why = f"{guest.outcome}: {guest.detail}" if guest.detail else str(guest.outcome)
    lane = str(Lane(guest.arch, guest.flavour))
    standing = Standing.GOOD if good else Standing.UNSURE
    return Case(OWN, f"guest {guest.side}", lane, standing, why, seconds=guest.boot_seconds or 0.0)


def _test(change: Change) -> Case:
    standing = standing_of(change)
    said = "" if standing is Standing.GOOD else "".join(_said(change))
    lane = str(digest.lane_of(change))
    return Case(change.suite, change.name, lane, standing, outline.words(change), change.patched.outcome, said)


def standing_of(change: Change) -> Standing:
    """What one test means for the series; the verdict reads it the same way."""
    kind, now = change.change, change.patched.outcome
    if change.known:
        return Standing.ASIDE
    if kind.flaky and change.unmet:
        return Standing.UNSURE
    if kind is ChangeKind.REGRESSED or (change.unmet and not kind.unsure):
        return Standing.AGAINST
    if kind is ChangeKind.UNDECIDED and now.good:  # the question is only whether it was fixed
        return Standing.GOOD
    if kind.unsure or (now.bad and kind in (ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN)):
        return Standing.UNSURE
    return {Outcome.PASS: Standing.GOOD, Outcome.XFAIL: Standing.GOOD, Outcome.SKIP: Standing.UNTESTED}.get(
        now, Standing.ASIDE
    )


def _said(change: Change) -> Iterator[str]:
    sides: tuple[tuple[Side, Observed], ...] = ((Side.BASE, change.base), (Side.PATCHED, change.patched))
    for side, seen in sides:
        if seen.output.strip():
            yield f"{side}:\n{seen.output.rstrip()}\n"
