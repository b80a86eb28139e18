"""Which reports and failures are known and do not count against a series. Pure: no entry here has expired."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.judge.sheet import SUITE_END
from orchestrator.model import Change, ChangeKind, GuestRecord, Known, KnownIssue, Outcome, Splat

_COUNTS = (
    *(ChangeKind.REGRESSED, ChangeKind.EXPOSED, ChangeKind.UNDECIDED, ChangeKind.TIMING, ChangeKind.FLAKY_ON_PATCHED),
    *(ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN),
)
_MAY_PASS = (ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN, ChangeKind.UNDECIDED)


def mark(guest: GuestRecord, entries: Iterable[KnownIssue]) -> GuestRecord:
    """Say of each report of a guest whether it is known; the first entry that matches says why."""
    here = [entry for entry in entries if entry.arch in (None, guest.arch)]
    return replace(guest, splats=tuple(replace(splat, known=_why(splat, here)) for splat in guest.splats))


def mark_tests(changes: Iterable[Change], entries: Sequence[KnownIssue]) -> list[Change]:
    """Class as known what fails with the series as an entry says; it is shown with its reason, and no finding hides."""
    return [_marked(change, entries) for change in changes]


def silent(changes: Sequence[Change], guests: Sequence[GuestRecord], entries: Iterable[KnownIssue]) -> Iterator[str]:
    """Name the entries that matched nothing, though what they name was run: the issue, or the test, may be gone."""
    for entry in entries:
        owner = f", {entry.owner}" if entry.owner else ""
        ran = [change for change in changes if _names(entry, change)]
        failed = any(_is(entry, change) for change in ran)
        said = any(_matches(entry, splat) for guest in guests if _here(entry, guest.arch) for splat in guest.splats)
        if ran and not failed and not said:
            yield f"known issue {entry.name!r} did not show: is it gone? ({entry.link}{owner})"
        if not ran and (suite := _ended(entry, changes)):
            words = f"known issue {entry.name!r} names no test that {suite} has: is it gone, or renamed?"
            yield f"{words} ({entry.link}{owner})"


def _ended(entry: KnownIssue, changes: Iterable[Change]) -> str:
    """The suite whose test the entry names, if it ran to its end; "" where a pattern stands for the suite, too."""
    suite = entry.test.pattern.partition("/")[0] if entry.test else ""
    ends = [one for one in changes if (one.suite, one.name) == (suite, SUITE_END) and _here(entry, one.arch)]
    said = {seen.outcome for end in ends for seen in (end.base, end.patched)}
    return suite if said & {Outcome.PASS, Outcome.FAIL} else ""


def _marked(change: Change, entries: Sequence[KnownIssue]) -> Change:
    fails = change.change in _COUNTS and (change.patched.outcome.bad or change.change not in _MAY_PASS)
    entry = next((entry for entry in entries if _is(entry, change)), None) if fails else None
    return replace(change, change=ChangeKind.KNOWN, known=_known(entry)) if entry else change


def _is(entry: KnownIssue, change: Change) -> bool:
    """Does the entry speak of this failure?"""
    of_tests = bool(entry.test or entry.fingerprint) and not entry.title and not entry.kind
    failed = bool(change.fingerprint) or change.change in _COUNTS
    return of_tests and failed and _names(entry, change) and entry.fingerprint in (None, change.fingerprint)


def _names(entry: KnownIssue, change: Change) -> bool:
    named = entry.test is None or entry.test.fullmatch(f"{change.suite}/{change.name}") is not None
    return named and _here(entry, change.arch)


def _here(entry: KnownIssue, arch: str) -> bool:
    return entry.arch in (None, arch)


def _known(entry: KnownIssue) -> Known:
    return Known(entry.reason, entry.link, entry.expiry.isoformat(), entry.owner, entry.since)


def _why(splat: Splat, entries: Iterable[KnownIssue]) -> Known | None:
    return next((_known(entry) for entry in entries if _matches(entry, splat)), None)


def _matches(entry: KnownIssue, splat: Splat) -> bool:
    return (
        entry.test is None
        and entry.kind in (None, splat.kind)
        and entry.fingerprint in (None, splat.fingerprint)
        and (entry.title is None or entry.title.fullmatch(splat.title) is not None)
    )
