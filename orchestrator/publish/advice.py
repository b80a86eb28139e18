"""What to do next with a run: a few sentences, the first thing first, each with where to look or what to type."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model import Change, ChangeKind, Culprit, Fate, FindingChange, LineState, Run, RunStatus, VerdictValue
from orchestrator.publish import digest

MOST = 4

Anchors = Mapping[Change | Culprit, str]  # where each of them stands


@dataclass(frozen=True)
class Step:
    """One thing to do; `link` is a section or a row of the report, `command` what to type, "" where there is none."""

    words: str
    link: str = ""
    command: str = ""


def steps(run: Run, directory: Path, anchors: Anchors) -> list[Step]:
    """The few that matter most."""
    said = _unfinished(run, directory) if run.verdict is None else _judged(run, directory, anchors)
    return list(said)[:MOST]


def _unfinished(run: Run, directory: Path) -> Iterator[Step]:
    if run.status is RunStatus.RUNNING:
        yield Step("It still runs; this report is written anew when it ends.")
    else:
        yield Step("Go on where it stopped.", command=_typed("resume", directory))


def _judged(run: Run, directory: Path, anchors: Anchors) -> Iterator[Step]:
    assert run.verdict
    yield from _broken(run)
    changed = [test for test in digest.noteworthy(run) if test in anchors]
    yield from _tests(changed, anchors)
    if run.culprits:
        yield Step("Read which patch it was.", anchors[run.culprits[0]])
    elif run.verdict.value is VerdictValue.REGRESSED and len(run.series.patches) > 1:
        yield Step("Find the patch that brought it.", command=_typed("bisect", directory))
    yield from _unseen(run, directory)
    yield from _words(run)
    if run.verdict.value.exit_code == 0:
        yield Step("Send the block for a reply along with the series; a Tested-by is yours to add.", "reply")


def _broken(run: Run) -> Iterator[Step]:
    """What stands before any test: builds, guests, reports of the kernel."""
    if any(build.error for build in run.builds):
        yield Step("Read the first error of the build.", "builds")
    if any(guest.outcome.bad for guest in run.guests):
        yield Step("Read the console of the guest that did not end well.", "guests")
    elif any(digest.new_splat(run, guest, splat) for guest in run.guests for splat in guest.splats):
        yield Step("Read what the patched kernel reported.", "guests")


def _tests(changed: list[Change], anchors: Anchors) -> Iterator[Step]:
    """The worst of each kind that wants an eye."""
    bad = [test for test in changed if test.change is ChangeKind.REGRESSED]
    unmet = [test for test in changed if test.unmet and test not in bad]
    unsure = [test for test in changed if test.change.unsure and test not in unmet]
    for tests, words in (
        (bad, "Read how {} failed on patched"),
        (unmet, "Compare what {} did with what the series declares"),
        (unsure, "Look whether {} says anything of the series: it is {}"),
    ):
        if tests:
            more = f", and {len(tests) - 1} more" if len(tests) > 1 else ""
            name = f"{tests[0].suite}/{tests[0].name}"
            yield Step(f"{words.format(name, tests[0].change)}{more}.", anchors[tests[0]])


def _unseen(run: Run, directory: Path) -> Iterator[Step]:
    """What no test has looked at."""
    if any(build.noop for build in run.builds):
        yield Step("Find out why the image is identical: is what the series changes compiled at all?", "code")
    elif not run.coverage and run.guests:
        again = shlex.join(["kdelta", "run", "--pipeline", str(directory / "pipeline.yaml"), "--flavour", "coverage"])
        yield Step("Measure whether the changed lines run at all.", command=again)
    elif idle := len({(line.file, line.line) for line in run.coverage if line.state is LineState.IDLE}):
        yield Step(f"Write a test for the changed lines that never ran on some architecture ({idle}).", "patch")
    if any(one.fate is Fate.SURVIVED for one in run.mutants):
        yield Step("Write a test for the faults that no test noticed.", "mutants")


def _words(run: Run) -> Iterator[Step]:
    new = sum(found.change is FindingChange.NEW for found in run.findings)
    if new:
        yield Step(f"Read the new words of compilers and checkers ({new}).", "findings")


def _typed(command: str, directory: Path) -> str:
    return shlex.join(["kdelta", command, str(directory)])
