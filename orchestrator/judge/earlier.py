"""How often the tests of a base failed in one run, and in all earlier ones: it is said, and decides nothing. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.judge import sheet
from orchestrator.model import Change, ChangeKind, GuestRun


@dataclass(frozen=True)
class Failures:
    """In how many runs of each suite on one image which tests, SUITE/TEST, failed; reports are of no suite."""

    runs: dict[str, int]
    failed: dict[str, int]


def count(seen: Iterable[GuestRun]) -> Failures:
    """Count what one base gave in the first pass and in every pair."""
    runs, failed = Counter[str](), Counter[str]()
    for run in seen:
        seen_in_it = sheet.of(run)
        runs.update({sheet.REPORT, *(end.suite for end in run.ends)})
        failed.update("/".join(name) for name in seen_in_it.failed)
        failed.update({sheet.report("", title) for title in seen_in_it.reports})
    return Failures(dict(runs), dict(failed))


def tell(changes: Iterable[Change], earlier: Sequence[Failures]) -> list[Change]:
    """Add to each test that changed how often it failed on this base in earlier runs."""
    return [change if change.change is ChangeKind.SAME else _told(change, earlier) for change in changes]


def _told(change: Change, earlier: Sequence[Failures]) -> Change:
    title = sheet.reported(change.name)
    suite, name = (sheet.REPORT, sheet.report("", title)) if title else (change.suite, f"{change.suite}/{change.name}")
    failed = sum(one.failed.get(name, 0) for one in earlier)
    runs = sum(one.runs.get(suite, 0) for one in earlier)
    words = f"failed {failed} of {runs} times on this base in earlier runs"
    return replace(change, earlier=words) if failed else change
