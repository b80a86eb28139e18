"""What the comparison says: changes, expectations, the verdict."""

import itertools
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.cells import Side
from orchestrator.model.guests import Known, Outcome


class ChangeKind(StrEnum):
    """What the series did to one test (docs/judgement.md); the worst first."""

    REGRESSED = "regressed"
    EXPOSED = "exposed"
    UNDECIDED = "undecided"
    TIMING = "timing"
    FLAKY_ON_PATCHED = "flaky-on-patched"
    INFRA = "infra"
    MISSING = "missing"
    REMOVED = "removed"
    RUN_TO_SKIP = "run-to-skip"
    FLAKY_ON_BOTH = "flaky-on-both"
    FLAKY_ON_BASE = "flaky-on-base"
    KNOWN = "known"
    ADDED = "added"
    SKIP_TO_RUN = "skip-to-run"
    FIXED = "fixed"
    SAME_FAIL = "same-fail"
    SAME = "same"

    @property
    def unchanged(self) -> bool:
        """Did the test do on patched what it did on base?"""
        return self in (ChangeKind.SAME, ChangeKind.SAME_FAIL)

    @property
    def flaky(self) -> bool:
        """Did runs on one kernel disagree?"""
        return self in (ChangeKind.FLAKY_ON_PATCHED, ChangeKind.FLAKY_ON_BOTH, ChangeKind.FLAKY_ON_BASE)

    @property
    def unsure(self) -> bool:
        """Is it no answer, good or bad?"""
        return self in (
            *(ChangeKind.EXPOSED, ChangeKind.UNDECIDED, ChangeKind.TIMING, ChangeKind.FLAKY_ON_PATCHED),
            *(ChangeKind.INFRA, ChangeKind.MISSING, ChangeKind.REMOVED, ChangeKind.RUN_TO_SKIP),
        )

    def meets(self, declared: "ChangeKind") -> bool:
        """Is it what was declared? What fails as it did, or did not always, is as it was."""
        as_it_was = self.unchanged or self in (ChangeKind.FLAKY_ON_BOTH, ChangeKind.FLAKY_ON_BASE)
        return self is declared or (declared is ChangeKind.SAME and as_it_was)


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

    @classmethod
    def once(cls, outcome: Outcome, output: str = "") -> "Observed":
        """What was seen in one run."""
        return cls(outcome, output, (outcome,))


@dataclass(frozen=True)
class Rate:
    """An event that `came` in so many runs of one side; the true rate lies between `low` and `high`."""

    came: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Evidence:
    """What running a test again, in pairs of both sides, gave: how often it went wrong (docs/judgement.md).

    `value` is the e-value against chance, None where the question was only whether it comes out the same.
    """

    base: Rate
    patched: Rate
    value: float | None = None


@dataclass(frozen=True)
class Change:
    """One test, compared; `expected` is what the series declares for it, if it does.

    `base` and `patched` are the first pass; `evidence` is of what was run again. `fingerprint` is that of the failure,
    of patched's where both failed; `known` says why it does not count, `earlier` what
    other runs saw of it on the same base.
    """

    suite: str
    name: str
    arch: str
    flavour: str
    base: Observed
    patched: Observed
    change: ChangeKind
    expected: ChangeKind | None = None
    evidence: Evidence | None = None
    fingerprint: str = ""
    known: Known | None = None
    earlier: str = ""

    @property
    def unmet(self) -> bool:
        """Did the series declare something else for this test?"""
        return self.expected is not None and not self.change.meets(self.expected)

    @property
    def both_fail(self) -> bool:
        """Did both sides fail in the whole first pass? Then `evidence` is of patched's failure: base has its own."""
        return all(outcome.bad for seen in (self.base, self.patched) for outcome in seen.repeats or (seen.outcome,))


@dataclass(frozen=True)
class Samples:
    """The samples of one side, boot after boot; `per_boot` says how many each boot gave, () where nobody knows."""

    samples: tuple[float, ...] = ()
    per_boot: tuple[int, ...] = ()

    @property
    def boots(self) -> tuple[tuple[float, ...], ...]:
        """The samples of each boot; all as of one where nobody knows."""
        ends = tuple(itertools.accumulate(self.per_boot or (len(self.samples),)))
        return tuple(self.samples[start:end] for start, end in itertools.pairwise((0, *ends)))


class EffectKind(StrEnum):
    """What a series did to a measured quantity, as far as its boots tell."""

    MORE = "more"
    LESS = "less"
    SAME = "same"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Effect:
    """Patched against base over `boots` of both; from two boots on with an interval of 95 %.

    `ratio` is patched by base, and `smallest` the part by which patched would have had to differ to be seen, four times
    in five. Where a median is zero, or below, there is no ratio: `difference` is patched less base, and `low`, `high`
    and `smallest` are in the metric's unit as well.
    """

    ratio: float | None
    boots: int
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    kind: EffectKind = EffectKind.UNKNOWN
    difference: float | None = None


_TIMES = frozenset(("ns", "us", "µs", "ms", "s", "sec", "seconds", "min", "cycles"))


@dataclass(frozen=True)
class MetricPair:
    """One metric, side by side, all samples of a side together; `effect` is None where a side has none.

    `worse` is the change that makes it worse, where its suite says so. With `counted`, the guest's clock counted
    instructions. In so many boots fewer than base, `missed`, patched measured it, which in some it can.
    """

    suite: str
    name: str
    unit: str
    arch: str
    flavour: str
    base: Samples
    patched: Samples
    effect: Effect | None = None
    worse: EffectKind | None = None
    counted: bool = False
    missed: int = 0

    @property
    def worsened(self) -> bool:
        """Did it change for the worse for sure?"""
        return self.effect is not None and self.effect.kind is self.worse

    @property
    def alone(self) -> Side | None:
        """The only side that measured it; None where both did."""
        if self.base.samples and self.patched.samples:
            return None
        return Side.BASE if self.base.samples else Side.PATCHED

    @property
    def timed(self) -> bool:
        """Is it a time, or a rate? On an emulated or shared machine a count says more."""
        of, _, per = self.unit.partition("/")
        return (of in _TIMES or per in _TIMES) and not self.counted


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
    """A commit that may have done it, or, without one, an option of Kconfig.

    `number` is the patch's in the series, 0 where it is no patch of one.
    """

    number: int
    commit: str
    subject: str


@dataclass(frozen=True)
class Culprit:
    """What brought `symptoms`: one commit, or those among which it is, where the trees between cannot be told.

    `confidence` is the probability, from 0 to 1, that no tree was called good, or bad, by chance. It took so many
    `builds` of trees, and `boots`. `command` shows it, `log` is what `git bisect replay` reads.
    """

    symptoms: tuple[str, ...]
    lanes: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    confidence: float
    builds: int
    boots: int
    command: str
    log: str
