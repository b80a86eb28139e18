"""Of kernels: do they build, what did their builds try, what do compilers say, and what is not in them at all?"""

from collections.abc import Iterable, Sequence

from orchestrator.judge.reasons import reason
from orchestrator.judge.reasons.reason import Reason
from orchestrator.model import (
    BuildRecord,
    FindingChange,
    FindingRecord,
    Side,
    StepRecord,
    Uncompiled,
    VerdictValue,
)

_DEEDS_SHOWN = 3


def of_builds(builds: Sequence[BuildRecord]) -> Iterable[Reason]:
    """Who breaks a build, and where the series changes nothing."""
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


def of_attempts(builds: Sequence[BuildRecord], steps: Sequence[StepRecord]) -> Iterable[Reason]:
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


def of_steps(builds: Sequence[BuildRecord], steps: Sequence[StepRecord]) -> Iterable[Reason]:
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


def of_uncompiled(builds: Sequence[BuildRecord], uncompiled: Sequence[Uncompiled]) -> Iterable[Reason]:
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


def of_findings(findings: Iterable[FindingRecord]) -> Iterable[Reason]:
    """What compilers newly warn of; several architectures may say the same."""
    new = [one for one in findings if one.change is FindingChange.NEW and one.tool == "cc" and one.kind != "error"]
    if count := len({(one.file, one.line, one.message) for one in new}):
        files = reason.listed(sorted({one.file or one.tool for one in new}))
        yield VerdictValue.CLEAN, f"{count} new compiler warning{'s' if count > 1 else ''}: {files}"
