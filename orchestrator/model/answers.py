"""What the comparison says: changes, expectations, the verdict."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.guests import Outcome


class ChangeKind(StrEnum):
    """What the series did to one test."""

    SAME = "same"
    REGRESSED = "regressed"
    FIXED = "fixed"
    ADDED = "added"
    REMOVED = "removed"
    FLAKY = "flaky"
    INFRA = "infra"


class VerdictValue(StrEnum):
    """The answer, worst first when cells are combined: regressed > unmet > inconclusive > validated, clean."""

    REGRESSED = "regressed"
    UNMET = "unmet"
    INCONCLUSIVE = "inconclusive"
    VALIDATED = "validated"
    CLEAN = "clean"

    @property
    def exit_code(self) -> int:
        """The process exit code that carries this verdict; `git bisect run` reads 125 as skip."""
        return {"regressed": 1, "unmet": 1, "inconclusive": 125}.get(self.value, 0)


@dataclass(frozen=True)
class Observed:
    """One side of a comparison; over several repeats the worst outcome, and every outcome in `repeats`."""

    outcome: Outcome
    output: str = ""
    repeats: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Change:
    """One test, compared; `expected` is what the series declares for it, if it does."""

    suite: str
    name: str
    arch: str
    flavour: str
    base: Observed
    patched: Observed
    change: ChangeKind
    expected: ChangeKind | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of one side."""

    samples: tuple[float, ...] = ()


@dataclass(frozen=True)
class MetricPair:
    """One metric, side by side."""

    suite: str
    name: str
    unit: str
    arch: str
    flavour: str
    base: Samples
    patched: Samples


@dataclass(frozen=True)
class Expectation:
    """What the series declares for one test: the change it must show, on every architecture."""

    suite: str
    name: str
    change: ChangeKind


@dataclass(frozen=True)
class Verdict:
    """The answer and why, the strongest reason first; `strength` says what it rests on: which changed lines ran."""

    value: VerdictValue
    reasons: tuple[str, ...]
    strength: str = ""


@dataclass(frozen=True)
class Suspect:
    """A commit that may have done it; `number` is the patch's in the series, 0 where it is no patch of one."""

    number: int
    commit: str
    subject: str


@dataclass(frozen=True)
class Culprit:
    """What brought `symptoms`: one commit, or those among which it is, where the trees between cannot be told.

    `confidence` is the probability, from 0 to 1, that no tree was called good by chance. It took so many `builds` of
    trees, and `boots`. `command` shows it, `log` is what `git bisect replay` reads.
    """

    symptoms: tuple[str, ...]
    lanes: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    confidence: float
    builds: int
    boots: int
    command: str
    log: str
