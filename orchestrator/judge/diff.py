"""Two GuestRuns in, a class for every test out. A test that one side lacks stays in the table."""

from collections.abc import Iterable

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
    SuiteEnd,
)

SUITE_END = "(exit)"  # the test that every suite has: did its program end as it should?
# The test that a suite has where a kernel was tainted and no report says why: did it leave the kernel's word alone?
SUITE_TAINT = "(taint)"
_TROUBLE = {
    "M": "machine check",
    "B": "bad page",
    "D": "oops or BUG",
    "W": "warning",
    "L": "soft lockup",
}

_BADNESS = (
    *(Outcome.PASS, Outcome.XFAIL, Outcome.SKIP, Outcome.FAIL),
    *(Outcome.TIMEOUT, Outcome.CRASH, Outcome.LOST, Outcome.MISSING),
)


def compare(
    base: GuestRun, patched: GuestRun, suites: Iterable[str], expectations: Iterable[Expectation]
) -> list[Change]:
    """Classify every test that either side has, or that is expected, of the `suites` that were to run."""
    wanted = tuple(suites)
    expected = {(item.suite, item.name): item.change for item in expectations if item.suite in wanted}
    names: dict[tuple[str, str], None] = dict.fromkeys((suite, SUITE_END) for suite in wanted)
    names |= dict.fromkeys((result.suite, result.name) for run in (base, patched) for result in run.results)
    names |= dict.fromkeys((end.suite, SUITE_TAINT) for run in (base, patched) for end in run.ends if _taint(run, end))
    names |= dict.fromkeys(expected)
    changes = []
    for suite, name in sorted(names):
        before, after = observe(base, suite, name), observe(patched, suite, name)
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
                )
            )
    return changes


def classify(base: Observed | None, patched: Observed | None, *, patched_fault: bool) -> ChangeKind:  # noqa: PLR0911
    """Name what happened to one test; None means that the suite was whole and has no such test.

    `patched_fault` says that the patched kernel itself died: a test that therefore could not run is regressed.
    """
    if base is None:
        return ChangeKind.ADDED
    if patched is None:
        return ChangeKind.REMOVED
    if _flaky(base) or _flaky(patched):
        return ChangeKind.FLAKY
    was, now = base.outcome, patched.outcome
    if was in (Outcome.MISSING, Outcome.LOST):
        return ChangeKind.INFRA  # "not on base" counts only if base got that far
    if now in (Outcome.MISSING, Outcome.LOST):
        return ChangeKind.REGRESSED if was.good and patched_fault else ChangeKind.INFRA
    if Outcome.SKIP in (was, now) and was is not now:
        return ChangeKind.ADDED if was is Outcome.SKIP else ChangeKind.REMOVED
    if was.good and now.bad:
        return ChangeKind.REGRESSED
    if was.bad and now.good:
        return ChangeKind.FIXED
    return ChangeKind.REGRESSED if was is Outcome.FAIL and now.bad and now is not was else ChangeKind.SAME


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


def observe(run: GuestRun, suite: str, name: str) -> Observed | None:
    """Fold the repeats of one test into one observation; None if a whole run of the suite has no such test."""
    ends = [end for end in run.ends if end.suite == suite]
    if name == SUITE_END:
        return _fold([(end.outcome, end.detail) for end in ends]) if ends else Observed(Outcome.MISSING)
    if name == SUITE_TAINT and ends:
        return _fold([_spoiled(run, end) for end in ends])
    found = [result for result in run.results if (result.suite, result.name) == (suite, name)]
    if not found:
        return None if ends and all(_whole(end) for end in ends) else Observed(Outcome.MISSING)
    return _fold([(result.outcome, result.output) for result in found])


def _taint(run: GuestRun, end: SuiteEnd) -> str:
    """The flags of trouble that a program gave its kernel, where no report, which is judged, tells of it."""
    return "" if run.guest.splats else "".join(letter for letter in end.taint if letter in _TROUBLE)


def _spoiled(run: GuestRun, end: SuiteEnd) -> tuple[Outcome, str]:
    if end.outcome is Outcome.LOST:
        return Outcome.LOST, end.detail
    if not (letters := _taint(run, end)):
        return Outcome.PASS, ""
    words = ", ".join(f"{letter} ({_TROUBLE[letter]})" for letter in letters)
    during = f" while {end.test} ran" if end.test else ""
    return Outcome.FAIL, f"the kernel was tainted{during}: {words}; no report on the console says why"


def _whole(end: SuiteEnd) -> bool:
    return end.outcome is Outcome.PASS


def _fold(seen: list[tuple[Outcome, str]]) -> Observed:
    outcome, output = max(seen, key=lambda pair: _BADNESS.index(pair[0]))
    return Observed(outcome, output, tuple(pair[0] for pair in seen))


def _flaky(observed: Observed) -> bool:
    """Did the repeats on one kernel disagree about good and bad?"""
    ran = [outcome for outcome in observed.repeats if outcome.good or outcome.bad]
    return any(outcome.good for outcome in ran) and any(outcome.bad for outcome in ran)
