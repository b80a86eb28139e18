"""Of tests: what changed, where nothing could have been seen, and what the series declares."""

from collections.abc import Iterable, Sequence

from orchestrator.judge import sheet
from orchestrator.judge.reasons import reason
from orchestrator.judge.reasons.reason import Reason
from orchestrator.model import BuildRecord, Change, ChangeKind, Outcome, VerdictValue

_MEANINGS = {
    ChangeKind.REGRESSED: (VerdictValue.REGRESSED, "regressed"),
    ChangeKind.EXPOSED: (VerdictValue.INCONCLUSIVE, "failed on base as well, and more often with the series"),
    ChangeKind.UNDECIDED: (VerdictValue.INCONCLUSIVE, "ran again too seldom to tell the series from chance"),
    ChangeKind.TIMING: (VerdictValue.INCONCLUSIVE, "ran out of time on patched once"),
    ChangeKind.FLAKY_ON_PATCHED: (VerdictValue.INCONCLUSIVE, "flaky on patched, and not seen to fail on base"),
    ChangeKind.INFRA: (VerdictValue.INCONCLUSIVE, "could not be compared"),
    ChangeKind.MISSING: (VerdictValue.INCONCLUSIVE, "gave no result on one side"),
    ChangeKind.REMOVED: (VerdictValue.INCONCLUSIVE, "ran on base and no longer run"),
    ChangeKind.RUN_TO_SKIP: (VerdictValue.INCONCLUSIVE, "ran on base and skip, or fail as expected, on patched"),
    ChangeKind.FLAKY_ON_BOTH: (VerdictValue.CLEAN, "flaky on both sides"),
    ChangeKind.FLAKY_ON_BASE: (VerdictValue.CLEAN, "flaky on base"),
}


def of_tests(changes: Sequence[Change]) -> Iterable[Reason]:
    """What each class of change is worth, by architecture."""
    for arch in sorted({change.arch for change in changes}):
        here = [change for change in changes if change.arch == arch]
        for kind, (value, words) in _MEANINGS.items():
            found = [change for change in here if change.change is kind]
            if found:
                harmless = kind is ChangeKind.UNDECIDED and _better(found)
                yield VerdictValue.CLEAN if harmless else value, f"{arch}: {len(found)} {words}: {reason.named(found)}"
        for change in here:
            if why := change.known:
                words = f"{arch}: known to fail: {change.suite}/{change.name} ({why.reason}, {why.discussed})"
                yield VerdictValue.CLEAN, words
        fresh = (ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN)
        bad = [change for change in here if change.change in fresh and change.patched.outcome.bad]
        if bad:
            yield VerdictValue.INCONCLUSIVE, f"{arch}: {len(bad)} fail that base could not run: {reason.named(bad)}"


def _better(changes: Iterable[Change]) -> bool:
    """Is all that is not decided whether they were fixed?"""
    return all(change.patched.outcome.good for change in changes)


def of_blind(changes: Sequence[Change]) -> Iterable[Reason]:
    """A regression can only show where something passed: what skips, or fails, on both sides has tested nothing."""
    for arch, flavour in sorted({(change.arch, change.flavour) for change in changes}):
        lane = [change for change in changes if (change.arch, change.flavour) == (arch, flavour)]
        here = [change for change in lane if not sheet.reported(change.name)]
        suites = {suite: [change for change in here if change.suite == suite] for suite in {c.suite for c in here}}
        blind = {suite: _alike(tests) for suite, tests in sorted(suites.items()) if _blind(tests)}
        names = ", ".join(f"{suite} ({', '.join(seen)})" for suite, seen in blind.items())
        broken = any({Outcome.CRASH, Outcome.TIMEOUT} & {*seen} for seen in blind.values())
        if blind and len(blind) == len(suites):
            words = f"{arch}-{flavour}: no test passed on either side: {names}: none could have regressed"
            yield VerdictValue.INCONCLUSIVE, words
        elif blind:
            value = VerdictValue.INCONCLUSIVE if broken else VerdictValue.CLEAN
            yield value, f"{arch}-{flavour}: could test nothing: {names}"


def _blind(tests: Sequence[Change]) -> bool:
    """Did no test pass, on either side, and is that all there is to say of them?"""
    said = (ChangeKind.REGRESSED, ChangeKind.INFRA, ChangeKind.MISSING, ChangeKind.REMOVED, ChangeKind.RUN_TO_SKIP)
    return not any(t.base.outcome.good or t.patched.outcome.good or t.change in said for t in tests)


def _alike(tests: Sequence[Change]) -> list[Outcome]:
    """What was seen of them."""
    return sorted({outcome for test in tests for outcome in (test.base.outcome, test.patched.outcome)})


def of_expectations(builds: Sequence[BuildRecord], changes: Sequence[Change], declared: bool) -> Iterable[Reason]:
    """What the series declares: met or not, and what it did not say."""
    if not declared:
        return
    expected = [change for change in changes if change.expected is not None]
    met, unmet = ([change for change in expected if change.unmet is unmet] for unmet in (False, True))
    wrong = [change for change in unmet if not (change.known and change.expected is ChangeKind.SAME)]
    if absent := [change for change in wrong if change.base.outcome is change.patched.outcome is Outcome.MISSING]:
        yield VerdictValue.INCONCLUSIVE, f"declared, and not seen on either side: {reason.named(absent)}"
    for change in wrong:
        # what was not seen is no broken promise, and what regressed is already said
        if not (change.change.unsure or change.change.flaky or change.change is ChangeKind.REGRESSED):
            words = f"{change.arch}: {change.suite}/{change.name} should be {change.expected} and is {change.change}"
            yield VerdictValue.UNMET, f"{words} ({change.base.outcome} -> {change.patched.outcome})"
    if undecided := [change for change in wrong if change.change is ChangeKind.UNDECIDED and _better([change])]:
        words = f"declared, and ran again too seldom to tell it from chance: {reason.named(undecided)}"
        yield VerdictValue.INCONCLUSIVE, words
    if any(change.change.flaky for change in wrong):
        yield VerdictValue.INCONCLUSIVE, "a declared change is flaky"
    if any(build.noop for build in builds):
        yield VerdictValue.UNMET, "the series declares changes, and an image that is identical cannot show them"
    elif not expected:
        yield VerdictValue.INCONCLUSIVE, "the series declares changes, and no test of them was run"
    elif not wrong:
        fixed = sum(change.expected is ChangeKind.FIXED for change in met)
        yield VerdictValue.VALIDATED, f"all {len(met)} declared results are as declared, {fixed} of them fixed"
    surprises = [change for change in changes if change.expected is None and change.change is ChangeKind.FIXED]
    if surprises:
        yield VerdictValue.VALIDATED, f"{len(surprises)} fixed that were not declared: {reason.named(surprises)}"
