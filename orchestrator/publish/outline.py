"""What a reader who sees nothing else is told of a run: sections of lines, worst first, for Markdown and mail.

The lines hold words of guests and patches as they are: whoever writes them makes them safe.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator import listing
from orchestrator.model import Change, Lane, Run
from orchestrator.publish import digest, effects

MOST = 20  # lines of one section
_NAMED = 8  # tests of one line


@dataclass(frozen=True)
class Section:
    """A title and its lines; `title` is "" where the lines go without saying."""

    title: str
    lines: tuple[str, ...]


def headline(run: Run) -> str:
    """The verdict and of what."""
    return f"{digest.headword(run)}: {run.series.title}"


def sections(run: Run) -> list[Section]:
    """All there is to say, the sections with nothing in them left out."""
    names = digest.lanes(run)
    every: tuple[tuple[str, Iterable[str]], ...] = (
        ("", filter(None, (digest.strength(run), *digest.reasons(run)))),
        ("Culprits", (f"{digest.blame(run, culprit)}: {culprit.symptoms[0]}" for culprit in run.culprits)),
        ("Changed tests", changes(run)),
        ("New warnings", _findings(run)),
        ("Measured", _metrics(run, names)),
        ("Binary", (f"{names[digest.lane_of(found)]}: {found.summary}" for found in digest.binaries(run))),
        ("Tests", map(digest.counts, digest.tallies(run))),
        ("Notes", digest.notes(run)),
        ("Tested", _ground(run)),
    )
    held = [Section(title, _some(list(lines))) for title, lines in every]
    return [section for section in held if section.lines]


def _some(lines: list[str]) -> tuple[str, ...]:
    return tuple(lines if len(lines) <= MOST else [*lines[: MOST - 1], f"... and {len(lines) - MOST + 1} more"])


def changes(run: Run) -> Iterator[str]:
    """What became of tests, the worst first; those of which the same is to be said are one line."""
    lanes = digest.lanes(run)
    rows = [
        (some[0].suite, some[0].name, ", ".join(lanes[digest.lane_of(test)] for test in some), words(some[0]))
        for some in digest.merged(digest.noteworthy(run), lambda test: (test.suite, test.name, words(test)))
    ]
    for alike in digest.merged(rows, lambda row: (row[0], *row[2:])):
        suite, _, where, said = alike[0]
        yield f"{suite}/{listing.first([name for _, name, _, _ in alike], _NAMED)} on {where}: {said}"


def words(change: Change) -> str:
    """Both outcomes and what that is: `pass on base, fail on patched: regressed (same declared)`."""
    declared = f" ({change.expected} declared)" if change.unmet else ""
    rates = f"; {digest.rates(change)}" if digest.rates(change) else ""
    known = f"; known: {change.known.reason}, {change.known.discussed}" if change.known else ""
    sides = f"{change.base.outcome} on base, {change.patched.outcome} on patched"
    return f"{sides}: {change.change}{declared}{rates}{known}"


def _findings(run: Run) -> Iterator[str]:
    for some in digest.new_findings(run):
        place = f"{some[0].file}{f':{some[0].line}' if some[0].line else ''}"
        yield f"{place}: {some[0].message} ({some[0].tool} {some[0].kind})"


def _metrics(run: Run, names: dict[Lane, str]) -> Iterator[str]:
    for pair in effects.metrics(run):
        place, sure = f"{pair.suite}/{pair.name} on {names[digest.lane_of(pair)]}", effects.sure(pair)
        if effects.moved(pair):
            yield f"{place}: {effects.against(pair)} ({sure})"
        elif pair.alone:
            yield f"{place}: {sure}"


def _ground(run: Run) -> Iterator[str]:
    """On what it was tested, so that it can be doubted."""
    yield f"base: Linux {run.kernel.release} ({run.kernel.source}, commit {run.kernel.base_commit[:12]})"
    for arch, compiler in run.host.compilers.items():
        choice = run.host.accel.get(arch)
        yield f"{arch}: {compiler}; {run.host.qemu.get(arch, 'QEMU')}{f', {choice.used}' if choice else ''}"
