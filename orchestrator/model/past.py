"""What the history of runs tells: of one test over time, of two runs, of tests that do not always come out the same."""

from dataclasses import dataclass

from orchestrator.model.answers import ChangeKind
from orchestrator.model.guests import Outcome


@dataclass(frozen=True)
class PastRun:
    """One run of the history; it `began` in seconds since the epoch. `verdict` is "" where there is none.

    `never_ran` is what a good one says with it: `2 changed lines never ran`, or "".
    """

    name: str
    began: int
    verdict: str
    title: str
    directory: str
    release: str
    base_commit: str
    seconds: float
    never_ran: str

    @property
    def answer(self) -> str:
        """The verdict, and all that belongs into one sentence with it."""
        return f"{self.verdict} ({self.never_ran})" if self.never_ran else self.verdict


@dataclass(frozen=True)
class PastSide:
    """What one kernel gave for one test: the outcome, and how often it failed in so many runs of the test."""

    outcome: Outcome
    failed: int
    runs: int

    @property
    def good(self) -> bool:
        """Did it pass whenever it ran?"""
        return self.outcome.good and not self.failed


@dataclass(frozen=True)
class Sight:
    """One test in one lane of one run."""

    arch: str
    flavour: str
    change: ChangeKind
    base: PastSide
    patched: PastSide


@dataclass(frozen=True)
class Moved:
    """One test that came out otherwise in one of two runs; None is the run that does not have it."""

    suite: str
    name: str
    arch: str
    flavour: str
    first: tuple[Outcome, Outcome] | None
    second: tuple[Outcome, Outcome] | None

    @property
    def worse(self) -> bool:
        """Does it fail on the second run's patched kernel, and did not on the first one's, or else on base?"""
        if not self.second:
            return False
        base, now = self.second
        return now.bad and not (self.first[1] if self.first else base).bad


@dataclass(frozen=True)
class Flake:
    """One test that on one and the same image both failed and passed, over all such images of a lane."""

    suite: str
    name: str
    arch: str
    flavour: str
    failed: int
    runs: int
    images: int

    @property
    def rate(self) -> float:
        """The part of the runs that failed."""
        return self.failed / self.runs


@dataclass(frozen=True)
class Trend:
    """What one run had in all its lanes: tests, those that failed on either side, those that regressed."""

    run: PastRun
    tests: int
    base_failed: int
    patched_failed: int
    regressed: int
