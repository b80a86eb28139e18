"""All that was seen in, one answer out, with its reasons."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.judge import ending, sheet
from orchestrator.judge.reasons.builds import of_attempts, of_builds, of_findings, of_steps, of_uncompiled
from orchestrator.judge.reasons.guests import of_guests, of_unseen
from orchestrator.judge.reasons.metrics import of_metrics
from orchestrator.judge.reasons.tests import of_blind, of_expectations, of_tests
from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    FindingRecord,
    GuestRecord,
    MetricPair,
    Run,
    StepRecord,
    Uncompiled,
    Verdict,
    VerdictValue,
)

_ORDER = list(VerdictValue)


def decide(  # noqa: PLR0913  (all that was seen)
    builds: Sequence[BuildRecord],
    guests: Sequence[GuestRecord],
    changes: Sequence[Change],
    *,
    declared: bool,
    left_out: Sequence[str] = (),
    steps: Sequence[StepRecord] = (),
    uncompiled: Sequence[Uncompiled] = (),
    metrics: Sequence[MetricPair] = (),
    findings: Sequence[FindingRecord] = (),
    empty: bool = False,
) -> Verdict:
    """Combine builds, guests and tests: the worst reason decides, and every reason is kept, worst first.

    `declared` says that the series names what it must change: then nothing bad means `validated`, else `clean`, as
    where suites of which it declares results were `left_out`.
    `empty` says that the series changes no file.
    """
    if empty:
        words = "noop: the series changes no file; nothing was built or booted"
        return Verdict(VerdictValue.UNMET if declared else VerdictValue.CLEAN, (words,))
    reasons = [
        *of_builds(builds),
        *of_attempts(builds, steps),
        *of_steps(builds, steps),
        *of_uncompiled(builds, uncompiled),
        *of_guests(guests, changes),
        *of_unseen(builds, guests, changes),
        *of_tests(changes),
        *of_blind(changes),
        *of_metrics(metrics),
        *of_findings(findings),
        *of_expectations(builds, changes, declared),
        *((VerdictValue.CLEAN, f"{suite}: of what the series declares nothing was tested") for suite in left_out),
    ]
    good = VerdictValue.VALIDATED if declared and not left_out else VerdictValue.CLEAN
    value = min((value for value, _ in reasons), key=_ORDER.index, default=good)
    value = good if value in (VerdictValue.VALIDATED, VerdictValue.CLEAN) else value
    ordered = sorted(reasons, key=lambda reason: _ORDER.index(reason[0]))
    nothing = "nothing regressed" if changes else "no test was run: both kernels booted, and that is all"
    return Verdict(value, tuple(words for _, words in ordered) or (nothing,))


def regressed_beyond_tests(run: Run) -> bool:
    """Would the run still be `regressed` if no test of it had? A report of the kernel, or its end, is none."""
    if any(ending.blamed(guest, run.tests) for _, guest in ending.comparable(run.guests)):
        return True

    def is_test(change: Change) -> bool:
        return change.change is ChangeKind.REGRESSED and sheet.reported(change.name) is None

    rest = [replace(change, change=ChangeKind.SAME) if is_test(change) else change for change in run.tests]
    told = decide(run.builds, run.guests, rest, declared=False, steps=run.steps, metrics=run.metrics)
    return told.value is VerdictValue.REGRESSED
