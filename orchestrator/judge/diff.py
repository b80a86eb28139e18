"""Two GuestRuns in, a class for every test out. A test that one side lacks stays in the table."""

from collections.abc import Iterable

from orchestrator.judge import fingerprint, sheet
from orchestrator.judge.sheet import SUITE_END
from orchestrator.model import (
    Change,
    ChangeKind,
    Expectation,
    GuestRun,
    Metric,
    MetricPair,
    Observed,
    Outcome,
    Samples,
)


def compare(
    base: GuestRun, patched: GuestRun, suites: Iterable[str], expectations: Iterable[Expectation]
) -> list[Change]:
    """Classify every test that either side has, or that is expected, of the `suites` that were to run."""
    wanted = tuple(suites)
    expected = {(item.suite, item.name): item.change for item in expectations if item.suite in wanted}
    sheets = sheet.of(base), sheet.of(patched)
    names: dict[tuple[str, str], None] = dict.fromkeys((suite, SUITE_END) for suite in wanted)
    names |= dict.fromkeys(name for one in sheets for name in one.names)
    names |= dict.fromkeys(expected)
    changes = []
    for suite, name in sorted(names):
        before, after = (one.observe(suite, name) for one in sheets)
        if before or after:
            changes.append(
                Change(
                    suite=suite,
                    name=name,
                    arch=patched.guest.arch,
                    flavour=patched.guest.flavour,
                    base=before or Observed(Outcome.MISSING),
                    patched=after or Observed(Outcome.MISSING),
                    change=classify(before, after, patched_fault=patched.guest.outcome.bad),
                    expected=expected.get((suite, name)),
                    fingerprint=next(
                        (fingerprint.of(seen) for seen in (after, before) if seen and seen.outcome.bad), ""
                    ),
                )
            )
    return changes


def classify(base: Observed | None, patched: Observed | None, *, patched_fault: bool) -> ChangeKind:  # noqa: PLR0911
    """Name what one pass shows of one test; None means that the suite was whole and has no such test.

    `patched_fault` says that the patched kernel itself died: a test that therefore could not run is regressed.
    """
    if base is None:
        return ChangeKind.ADDED
    if patched is None:
        return ChangeKind.REMOVED
    if _flaky(base) or _flaky(patched):
        return flaky_on(base=_failed(base), patched=_failed(patched))
    was, now = base.outcome, patched.outcome
    for unseen, kind in ((Outcome.LOST, ChangeKind.INFRA), (Outcome.MISSING, ChangeKind.MISSING)):
        if was is unseen:
            return kind  # "not on base" counts only if base got that far
        if now is unseen:
            return ChangeKind.REGRESSED if was.good and patched_fault else kind
    if was is now:
        return ChangeKind.SAME_FAIL if was.bad else ChangeKind.SAME
    return _moved(was, now)


def flaky_on(*, base: bool, patched: bool) -> ChangeKind:
    """Name a test whose runs on one kernel disagree by where it failed."""
    if base and patched:
        return ChangeKind.FLAKY_ON_BOTH
    return ChangeKind.FLAKY_ON_PATCHED if patched else ChangeKind.FLAKY_ON_BASE


def _moved(was: Outcome, now: Outcome) -> ChangeKind:
    """Name the step from one outcome to another; both were seen."""
    if Outcome.SKIP in (was, now):
        return ChangeKind.SKIP_TO_RUN if was is Outcome.SKIP else ChangeKind.RUN_TO_SKIP
    if now.bad:
        return ChangeKind.REGRESSED if was.good or was is Outcome.FAIL else ChangeKind.SAME_FAIL
    return ChangeKind.FIXED if was.bad else ChangeKind.SAME


def pair_metrics(base: GuestRun, patched: GuestRun) -> list[MetricPair]:
    """Put the samples of both sides next to each other; a side that has none has an empty tuple."""
    sides = [{_identity(metric): metric for metric in run.metrics} for run in (base, patched)]
    pairs = []
    for suite, name, unit in sorted({**sides[0], **sides[1]}):
        before, after = (Samples(_samples(side.get((suite, name, unit)))) for side in sides)
        pairs.append(MetricPair(suite, name, unit, patched.guest.arch, patched.guest.flavour, before, after))
    return pairs


def _identity(metric: Metric) -> tuple[str, str, str]:
    return metric.suite, metric.name, metric.unit


def _samples(metric: Metric | None) -> tuple[float, ...]:
    return metric.samples if metric else ()


def _failed(observed: Observed) -> bool:
    return any(outcome.bad for outcome in observed.repeats)


def _flaky(observed: Observed) -> bool:
    """Did the repeats on one kernel disagree about good and bad?"""
    ran = [outcome for outcome in observed.repeats if outcome.good or outcome.bad]
    return any(outcome.good for outcome in ran) and any(outcome.bad for outcome in ran)
