"""All that was seen in, one answer out, with its reasons."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.judge import ending, measure, sheet
from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    FindingChange,
    FindingRecord,
    GuestOutcome,
    GuestRecord,
    MetricPair,
    Outcome,
    Run,
    Side,
    Splat,
    StepRecord,
    Uncompiled,
    Verdict,
    VerdictValue,
)

Reason = tuple[VerdictValue, str]
_ORDER = list(VerdictValue)
_NAMES_SHOWN, _DEEDS_SHOWN = 8, 3


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
        *_of_builds(builds),
        *_of_attempts(builds, steps),
        *_of_steps(builds, steps),
        *_of_uncompiled(builds, uncompiled),
        *_of_guests(guests, changes),
        *_of_unseen(builds, guests, changes),
        *_of_tests(changes),
        *_of_blind(changes),
        *_of_metrics(metrics),
        *_of_findings(findings),
        *_of_expectations(builds, changes, declared),
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
    if any(blamed(guest, run.tests) for _, guest in comparable(run.guests)):
        return True

    def is_test(change: Change) -> bool:
        return change.change is ChangeKind.REGRESSED and sheet.reported(change.name) is None

    rest = [replace(change, change=ChangeKind.SAME) if is_test(change) else change for change in run.tests]
    told = decide(run.builds, run.guests, rest, declared=False, steps=run.steps, metrics=run.metrics)
    return told.value is VerdictValue.REGRESSED


def _of_builds(builds: Sequence[BuildRecord]) -> Iterable[Reason]:
    broken_on_base = {(build.arch, build.flavour) for build in builds if build.side is Side.BASE and build.error}
    for build in builds:
        words = f"{build.side}/{build.arch}-{build.flavour} does not build: {build.error}"
        if build.side is Side.BASE and build.error:
            yield VerdictValue.INCONCLUSIVE, words
        elif build.error and (build.arch, build.flavour) not in broken_on_base:
            yield _broken(build), words
    same = sorted({build.arch for build in builds if build.noop})
    if same:
        words = f"noop: the series leaves the image identical on {', '.join(same)}; nothing was booted there"
        yield VerdictValue.CLEAN, words


def _of_attempts(builds: Sequence[BuildRecord], steps: Sequence[StepRecord]) -> Iterable[Reason]:
    """Whoever tries to get out of the sandbox may have done more to the image than anybody sees in it."""
    on_base = {(build.arch, build.flavour): build.tried for build in builds if build.side is Side.BASE}
    rows: list[tuple[str, BuildRecord | StepRecord]] = []
    rows += ((f"{build.side}/", build) for build in builds if build.side is Side.PATCHED)
    rows += ((f"patch {step.number} on ", step) for step in steps)
    for name, build in rows:
        new = [deed for deed in build.tried if deed not in on_base.get((build.arch, build.flavour), ())]
        more = f" and {len(new) - _DEEDS_SHOWN} more" if len(new) > _DEEDS_SHOWN else ""
        if new:
            words = f"{name}{build.arch}-{build.flavour}: what base's build does not, and was denied"
            yield VerdictValue.INCONCLUSIVE, f"{words}: {'; '.join(new[:_DEEDS_SHOWN])}{more}"


def _of_steps(builds: Sequence[BuildRecord], steps: Sequence[StepRecord]) -> Iterable[Reason]:
    """A patch in the middle that does not build breaks every bisection that meets it."""
    for step in broken_steps(builds, steps):
        words = f"the tree after patch {step.number} ({step.subject}) does not build: {step.error}"
        yield _broken(step), words


def broken_steps(builds: Sequence[BuildRecord], steps: Sequence[StepRecord]) -> list[StepRecord]:
    """Return the steps that do not build where base does."""
    base_builds = {(build.arch, build.flavour) for build in builds if build.side is Side.BASE and not build.error}
    return [step for step in steps if step.error and (step.arch, step.flavour) in base_builds]


def _broken(build: BuildRecord | StepRecord) -> VerdictValue:
    """What a build that failed is worth: one that was ended at a limit of the host's may be nobody's fault."""
    return VerdictValue.INCONCLUSIVE if build.unfinished else VerdictValue.REGRESSED


def _of_uncompiled(builds: Sequence[BuildRecord], uncompiled: Sequence[Uncompiled]) -> Iterable[Reason]:
    """A pass says nothing of code that is not in the kernel; a noop for want of it is no answer at all."""
    noop = {(build.arch, build.flavour) for build in builds if build.noop}
    for file in sorted({found.file for found in uncompiled}):
        here = [found for found in uncompiled if found.file == file]
        unseen = noop & {(found.arch, found.flavour) for found in here}
        value = VerdictValue.INCONCLUSIVE if unseen else VerdictValue.CLEAN
        lanes = ", ".join(f"{found.arch}-{found.flavour}" for found in here)
        options = sorted({f"CONFIG_{name}" for found in here for name in found.options})
        wanted = f": it waits for {', '.join(options)} (--enable-touched)" if options else ""
        needs = "".join(f"; {needs}" for needs in sorted({found.needs for found in here if found.needs}))
        yield value, f"{file} is not compiled on {lanes}{wanted}{needs}"


def _of_guests(guests: Sequence[GuestRecord], changes: Sequence[Change]) -> Iterable[Reason]:
    told = {(change.arch, change.flavour, title) for change, title in reports(changes, guests)}
    base = {(guest.arch, guest.flavour): guest for guest in guests if guest.side is Side.BASE}
    for guest in guests:
        name = f"{guest.side}/{guest.arch}-{guest.flavour}"
        before = base.get((guest.arch, guest.flavour))
        base_ok = before is not None and lived(before)
        if not lived(guest):
            yield _of_death(name, guest, guests, changes, base_ok=base_ok)
        if base_ok and before and guest.side is Side.PATCHED:
            yield from _of_splats(name, before, guest, told)
            if off := sorted({*guest.off} - {*before.off}):
                yield VerdictValue.INCONCLUSIVE, f"{name}: {', '.join(off)} was off before the end, and base's was not"


def _of_death(
    name: str, guest: GuestRecord, guests: Sequence[GuestRecord], changes: Sequence[Change], *, base_ok: bool
) -> Reason:
    """What the end of a guest comes to: base's own comes to no more than that nothing can be compared."""
    end = f"{name}: {_end(guest)}"
    if _seen_again(guest, guests, changes):
        return VerdictValue.CLEAN, f"{end}; what it took along was seen when run again"
    if base_ok and blamed(guest, changes):
        return VerdictValue.REGRESSED, end
    chance = base_ok and guest.outcome.bad
    return VerdictValue.INCONCLUSIVE, f"{end}{'; not against chance when run again' if chance else ''}"


def comparable(guests: Iterable[GuestRecord]) -> Iterator[tuple[GuestRecord, GuestRecord]]:
    """Yield base's guest and patched's, of each lane whose base lived."""
    base = {(guest.arch, guest.flavour): guest for guest in guests if guest.side is Side.BASE}
    for guest in guests:
        before = base.get((guest.arch, guest.flavour))
        if guest.side is Side.PATCHED and before and lived(before):
            yield before, guest


def blamed(guest: GuestRecord, changes: Iterable[Change]) -> bool:
    """Is it the kernel that ended a guest, and, where what it took along was run again, not by chance?"""
    taken = (Outcome.CRASH, Outcome.LOST, Outcome.MISSING)
    lane = [change for change in changes if (change.arch, change.flavour) == (guest.arch, guest.flavour)]
    again = [change for change in lane if change.evidence and change.patched.outcome in taken]
    return (
        not lived(guest)
        and guest.outcome.bad
        and (not again or any(change.change is ChangeKind.REGRESSED for change in again))
    )


def _seen_again(guest: GuestRecord, guests: Iterable[GuestRecord], changes: Iterable[Change]) -> bool:
    """Was a guest killed from outside, and all that it took along seen in pairs?

    What base reports is not all there then: where patched reported anything new nobody can say that base does not.
    """
    lane = guest.arch, guest.flavour
    here = [change for change in changes if (change.arch, change.flavour) == lane]
    observed = [(change, change.base if guest.side is Side.BASE else change.patched) for change in here]
    taken = [change for change, seen in observed if seen.outcome in (Outcome.LOST, Outcome.MISSING)]
    known = guest.side is Side.PATCHED or not any(
        new_splats(guest, one) for one in guests if one.side is Side.PATCHED and (one.arch, one.flavour) == lane
    )
    killed = guest.outcome is GuestOutcome.KILLED  # what breaks a connection may be the kernel, now and then
    again = all(change.change not in (ChangeKind.INFRA, ChangeKind.MISSING) for change in taken)
    return killed and known and again and any(change.evidence for change in taken)


def lived(guest: GuestRecord) -> bool:
    """Did it live to its end, with nothing that makes its results worth less?"""
    return guest.outcome is GuestOutcome.OK or ending.reported(guest)


def _end(guest: GuestRecord) -> str:
    said = guest.detail.removeprefix(f"{guest.outcome}: ")
    return f"{guest.outcome}: {said}"


def _of_unseen(
    builds: Sequence[BuildRecord], guests: Sequence[GuestRecord], changes: Sequence[Change]
) -> Iterable[Reason]:
    """Nothing is good because nobody looked."""
    if not builds and not guests and not changes:
        yield VerdictValue.INCONCLUSIVE, "nothing was built"
    noop = {(build.arch, build.flavour) for build in builds if build.noop}
    seen = {(guest.side, guest.arch, guest.flavour) for guest in guests}
    for build in builds:
        lane = (build.arch, build.flavour)
        if not build.error and lane not in noop and (build.side, *lane) not in seen:
            yield VerdictValue.INCONCLUSIVE, f"{build.side}/{build.arch}-{build.flavour} was not booted"


def _of_splats(
    name: str, base: GuestRecord, patched: GuestRecord, told: Iterable[tuple[str, str, str]]
) -> Iterable[Reason]:
    """A report that base does not have; of a base that has more than were kept nobody knows what it does not have.

    Those that are `told` have rows of their own: they were run again.
    """
    for splat in new_splats(base, patched):
        if (patched.arch, patched.flavour, splat.title) in told:
            continue
        if splat.known:
            words = f"{name}: known {splat.kind} on the console: {splat.title}"
            yield VerdictValue.CLEAN, f"{words} ({splat.known.reason}, {splat.known.discussed})"
        elif base.more_splats:
            words = f"{name}: {splat.kind} on the console: {splat.title}: may be among {base.more_splats} more of base"
            yield VerdictValue.INCONCLUSIVE, words
        else:
            yield VerdictValue.REGRESSED, f"{name}: new {splat.kind} on the console: {splat.title}"
    if patched.more_splats:
        words = f"{name}: {patched.more_splats} more reports on the console than are kept and compared"
        yield VerdictValue.INCONCLUSIVE, words


def reports(changes: Iterable[Change], guests: Iterable[GuestRecord]) -> Iterator[tuple[Change, str]]:
    """Yield the rows of reports, with their titles; a test may bear such a name, and has no report's fingerprint."""
    known = {splat.fingerprint for guest in guests for splat in guest.splats}
    for change in changes:
        if (title := sheet.reported(change.name)) and change.fingerprint in known:
            yield change, title


def new_splats(base: GuestRecord, patched: GuestRecord) -> list[Splat]:
    """Return the reports that base's console does not have, without the one that says how patched ended."""
    seen, ended = {splat.identity for splat in base.splats}, None if patched.went_on else patched.outcome
    return [splat for splat in patched.splats if splat.identity not in seen and splat.kind not in ("panic", ended)]


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


def _of_tests(changes: Sequence[Change]) -> Iterable[Reason]:
    for arch in sorted({change.arch for change in changes}):
        here = [change for change in changes if change.arch == arch]
        for kind, (value, words) in _MEANINGS.items():
            found = [change for change in here if change.change is kind]
            if found:
                harmless = kind is ChangeKind.UNDECIDED and _better(found)
                yield VerdictValue.CLEAN if harmless else value, f"{arch}: {len(found)} {words}: {_names(found)}"
        for change in here:
            if why := change.known:
                words = f"{arch}: known to fail: {change.suite}/{change.name} ({why.reason}, {why.discussed})"
                yield VerdictValue.CLEAN, words
        fresh = (ChangeKind.ADDED, ChangeKind.SKIP_TO_RUN)
        bad = [change for change in here if change.change in fresh and change.patched.outcome.bad]
        if bad:
            yield VerdictValue.INCONCLUSIVE, f"{arch}: {len(bad)} fail that base could not run: {_names(bad)}"


def _better(changes: Iterable[Change]) -> bool:
    """Is all that is not decided whether they were fixed?"""
    return all(change.patched.outcome.good for change in changes)


def _of_blind(changes: Sequence[Change]) -> Iterable[Reason]:
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


def _of_metrics(metrics: Sequence[MetricPair]) -> Iterable[Reason]:
    """What became worse for sure, or is gone, of what somebody said which way is worse; what did not always come."""
    judged = [pair for pair in metrics if pair.worse]
    for pair in judged:
        if (effect := pair.effect) and pair.worsened:
            size, *ends = measure.said(effect)
            than = f"{pair.unit} against base" if effect.ratio is None else "of base's"
            words = f"{pair.arch}-{pair.flavour}: {pair.suite}/{pair.name} became worse: {size} {than}"
            yield VerdictValue.REGRESSED, f"{words} ({' to '.join(ends)}) over {effect.boots} boots"
    gone = [pair for pair in judged if pair.alone is Side.BASE]
    for arch, flavour in sorted({(pair.arch, pair.flavour) for pair in gone}):
        names = _names([pair for pair in gone if (pair.arch, pair.flavour) == (arch, flavour)])
        yield VerdictValue.INCONCLUSIVE, f"{arch}-{flavour}: measured on base and not on patched: {names}"
    for pair in metrics:
        if pair.missed and pair not in gone:
            words = f"measured in fewer boots than on base: {pair.suite}/{pair.name} ({pair.missed} fewer)"
            yield VerdictValue.INCONCLUSIVE, f"{pair.arch}-{pair.flavour}: {words}"


def _of_findings(findings: Iterable[FindingRecord]) -> Iterable[Reason]:
    """What compilers newly warn of; several architectures may say the same."""
    new = [one for one in findings if one.change is FindingChange.NEW and one.tool == "cc" and one.kind != "error"]
    if count := len({(one.file, one.line, one.message) for one in new}):
        files = _some(sorted({one.file or one.tool for one in new}))
        yield VerdictValue.CLEAN, f"{count} new compiler warning{'s' if count > 1 else ''}: {files}"


def _of_expectations(builds: Sequence[BuildRecord], changes: Sequence[Change], declared: bool) -> Iterable[Reason]:
    if not declared:
        return
    expected = [change for change in changes if change.expected is not None]
    met, unmet = ([change for change in expected if change.unmet is unmet] for unmet in (False, True))
    wrong = [change for change in unmet if not (change.known and change.expected is ChangeKind.SAME)]
    if absent := [change for change in wrong if change.base.outcome is change.patched.outcome is Outcome.MISSING]:
        yield VerdictValue.INCONCLUSIVE, f"declared, and not seen on either side: {_names(absent)}"
    for change in wrong:
        # what was not seen is no broken promise, and what regressed is already said
        if not (change.change.unsure or change.change.flaky or change.change is ChangeKind.REGRESSED):
            words = f"{change.arch}: {change.suite}/{change.name} should be {change.expected} and is {change.change}"
            yield VerdictValue.UNMET, f"{words} ({change.base.outcome} -> {change.patched.outcome})"
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
        yield VerdictValue.VALIDATED, f"{len(surprises)} fixed that were not declared: {_names(surprises)}"


def _names(some: Sequence[Change | MetricPair]) -> str:
    return _some([f"{one.suite}/{one.name}" for one in some])


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
