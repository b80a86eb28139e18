"""Two GuestRuns in, a class for every test out. A test that one side lacks stays in the table."""

import itertools
from collections.abc import Iterable, Sequence

from orchestrator.judge import fingerprint, measure, sheet
from orchestrator.judge.measure import Boot, Yardstick
from orchestrator.judge.sheet import SUITE_END
from orchestrator.model import (
    BOOT,
    Change,
    ChangeKind,
    Expectation,
    GuestRecord,
    GuestRun,
    MetricPair,
    Observed,
    Outcome,
    Pair,
    Samples,
)

_AS_IT_IS = Yardstick()


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
        if before or after or (suite, name) in expected:
            changes.append(
                Change(
                    suite=suite,
                    name=name,
                    arch=patched.guest.arch,
                    flavour=patched.guest.flavour,
                    base=before or Observed(Outcome.MISSING),
                    patched=after or Observed(Outcome.MISSING),
                    change=classify(before, after, patched_fault=patched.guest.outcome.bad)
                    if before or after
                    else ChangeKind.MISSING,
                    expected=expected.get((suite, name)),
                    fingerprint=next(
                        (fingerprint.of(seen) for seen in (after, before) if seen and seen.outcome.bad), ""
                    ),
                )
            )
    return changes


def boots(base: GuestRecord, patched: GuestRecord) -> list[Change]:
    """A kernel that does not boot any more has failed a test, of the suite `(boot)`."""
    if base.boot_seconds is None or patched.boot_seconds is not None or not patched.outcome.bad:
        return []
    lane, after = (patched.arch, patched.flavour), Observed.once(Outcome.CRASH, patched.detail)
    passed = Observed.once(Outcome.PASS)
    return [Change(BOOT, SUITE_END, *lane, passed, after, ChangeKind.REGRESSED, fingerprint=fingerprint.of(after))]


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
    if now is Outcome.XFAIL:  # a test may find out as it runs that its kernel cannot do what it wants
        return ChangeKind.RUN_TO_SKIP
    if now.bad:
        return ChangeKind.REGRESSED if was.good or was is Outcome.FAIL else ChangeKind.SAME_FAIL
    return ChangeKind.FIXED if was.bad else ChangeKind.SKIP_TO_RUN


def pair_metrics(
    base: GuestRun, patched: GuestRun, more: Sequence[Pair] = (), by: Yardstick = _AS_IT_IS
) -> list[MetricPair]:
    """Put the samples of both sides next to each other; a side that has none has an empty tuple.

    Each of `more` is of another boot of both; of what those measured the first pass does not count.
    """
    first, measured = _boots([(base, patched)]), _boots([(one.base, one.patched) for one in more])
    steady = all(one.patched.guest.counts_instructions for one in more)
    worse = {named: by.worse(*named[:2]) for named in (*first, *measured)}
    judged = sum(kind is not None for kind in worse.values())
    guest, pairs = patched.guest, []
    for named, kind in sorted(worse.items()):
        samples = measured.get(named) or first[named]
        before, after = (
            Samples(tuple(itertools.chain(*side)), tuple(map(len, side))) for side in zip(*samples, strict=True)
        )
        said = measure.effect(samples, by.minimum, by.error / judged if kind else measure.ERROR)
        counted = steady and named in measured
        missed = _missed(samples, first.get(named, []))
        pairs.append(MetricPair(*named, guest.arch, guest.flavour, before, after, said, kind, counted, missed))
    return pairs


def _missed(boots: Sequence[Boot], first: Sequence[Boot]) -> int:
    """In how many boots fewer than base did patched measure what it can: it did in one, or in the first pass?"""
    fewer = sum(bool(before) - bool(after) for before, after in boots)
    return max(0, fewer) if any(after for _, after in (*boots, *first)) else 0


def _boots(runs: Sequence[tuple[GuestRun, GuestRun]]) -> dict[tuple[str, str, str], list[Boot]]:
    """What each boot of both sides measured, by metric."""
    boots = [[_by_name(run) for run in both] for both in runs]
    names = {named for both in boots for side in both for named in side}
    return {named: [(before.get(named, ()), after.get(named, ())) for before, after in boots] for named in names}


def _by_name(run: GuestRun) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {(metric.suite, metric.name, metric.unit): metric.samples for metric in run.metrics}


def _failed(observed: Observed) -> bool:
    return any(outcome.bad for outcome in observed.repeats)


def _flaky(observed: Observed) -> bool:
    """Did the repeats on one kernel disagree about good and bad?"""
    ran = [outcome for outcome in observed.repeats if outcome.good or outcome.bad]
    return any(outcome.good for outcome in ran) and any(outcome.bad for outcome in ran)
