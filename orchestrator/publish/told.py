"""What can be linked to in a run beside its tests, and what of that is told of single lines of the sources."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestrator.model import (
    BinaryDiff,
    ByteChange,
    ConfigChange,
    ConsoleLine,
    Culprit,
    Fate,
    FindingChange,
    FindingRecord,
    GuestRecord,
    MutantRecord,
    Run,
    Side,
    Splat,
    StepRecord,
    TextChange,
    UapiProblem,
)
from orchestrator.publish import anchors, digest
from orchestrator.publish.anchors import Named

MOST_FINDINGS = 1000
MOST_ROWS = 200  # of another table

_PLACE = re.compile(r"(?P<file>\S+):(?P<line>\d{1,9})(?: \[inline\])?$")

Place = tuple[Side, str, int]
_Located = BinaryDiff | ConfigChange | ConsoleLine | FindingRecord | GuestRecord | MutantRecord | StepRecord


@dataclass(frozen=True)
class Note:
    """A word at a line: `tag` and `tone` say of which sort, `where` of which kernels, `link` where all of it stands."""

    tag: str
    tone: str
    words: str
    where: tuple[str, ...]
    link: str


@dataclass(frozen=True)
class Binary:
    """What differs in the binary of one lane."""

    found: BinaryDiff
    functions: Named[ByteChange]
    frames: Named[ByteChange]
    sections: Named[ByteChange]
    structs: Named[TextChange]
    exports: Named[TextChange]
    constants: Named[TextChange]
    uapi_problems: Named[UapiProblem]


@dataclass(frozen=True)
class Told:
    """All of it, each with its name for links, in the report's order.

    A report of a kernel stands with its guest, and whether it is new.
    """

    culprits: Named[Culprit]
    findings: Named[FindingRecord]
    splats: Named[tuple[GuestRecord, Splat, bool]]
    mutants: Named[MutantRecord]
    binaries: list[Binary]
    steps: Named[StepRecord]
    options: Named[ConfigChange]
    lines: Named[ConsoleLine]


def read(run: Run, share: int = 1) -> Told:
    """Name all that there is; of many findings one part in `share`."""
    splats = [(guest, splat, digest.new_splat(run, guest, splat)) for guest in run.guests for splat in guest.splats]
    return Told(
        anchors.named("culprit", run.culprits, lambda one: (*one.lanes, *one.symptoms)),
        anchors.named("finding", digest.findings(run)[: MOST_FINDINGS // share], _of_finding),
        anchors.named("splat", splats, lambda one: (*_of_guest(one[0]), one[1].kind, one[1].title, one[1].fingerprint)),
        anchors.named(
            "mutant", digest.mutants(run), lambda one: (one.file, one.line, one.kind, one.words, *_lane(one))
        ),
        [_binary(found) for found in digest.binaries(run)],
        anchors.named("step", run.steps, lambda one: (one.number, one.subject, *_lane(one))),
        anchors.named("option", run.configs[:MOST_ROWS], lambda one: (one.option, *_lane(one))),
        anchors.named("line", digest.console_lines(run)[:MOST_ROWS], lambda one: (one.side, one.words, *_lane(one))),
    )


def _binary(found: BinaryDiff) -> Binary:
    def key(change: ByteChange | TextChange) -> tuple[str, ...]:
        return (change.name, change.where, *_lane(found))

    return Binary(
        found,
        anchors.named("function", found.functions[:MOST_ROWS], key),
        anchors.named("frame", found.frames[:MOST_ROWS], key),
        anchors.named("section", found.sections[:MOST_ROWS], key),
        anchors.named("struct", found.structs[:MOST_ROWS], key),
        anchors.named("export", found.exports[:MOST_ROWS], key),
        anchors.named("constant", found.constants[:MOST_ROWS], key),
        anchors.named(
            "uapi",
            found.uapi_problems[:MOST_ROWS],
            lambda one: (one.header, one.compiler, one.words, *_lane(found)),
        ),
    )


def _of_finding(found: FindingRecord) -> tuple[str | int, ...]:
    return (found.tool, found.kind, found.file, found.line, found.message, *_lane(found))


def _of_guest(guest: GuestRecord) -> tuple[str, ...]:
    return (guest.side, *_lane(guest))


def _lane(record: _Located) -> tuple[str, str]:
    return record.arch, record.flavour


def notes(told: Told) -> dict[Place, list[Note]]:
    """Everything that names a line, by that line; the same words of several kernels are one note."""
    every = [*_findings(told), *_splats(told), *_mutants(told)]
    found: dict[Place, list[Note]] = defaultdict(list)
    for same in digest.merged(every, lambda one: (one[0], one[1].tag, one[1].tone, one[1].words)):
        place, first = same[0]
        where = dict.fromkeys(name for _, note in same for name in note.where)
        found[place].append(replace(first, where=tuple(where)))
    return found


def _findings(told: Told) -> Iterator[tuple[Place, Note]]:
    tones = {FindingChange.NEW: "regressed", FindingChange.GONE: "fixed"}
    for anchor, found in told.findings:
        side = Side.BASE if found.change in (FindingChange.GONE, FindingChange.MISSING) else Side.PATCHED
        note = Note(
            str(found.change), tones.get(found.change, "same"), f"{found.tool}: {found.message}", _where(found), anchor
        )
        yield (side, found.file, found.line), note


def _splats(told: Told) -> Iterator[tuple[Place, Note]]:
    """A report is told of each line in its call trace."""
    for anchor, (guest, splat, new) in told.splats:
        for depth, frame in enumerate(splat.frames):
            if place := _PLACE.search(frame):
                words = f"{'' if depth == 0 else 'called from here: '}{splat.title}"
                tone = "regressed" if new else "same"
                note = Note(splat.kind, tone, words, (f"{guest.side} {_where(guest)[0]}",), anchor)
                yield (guest.side, place["file"], int(place["line"])), note


def _mutants(told: Told) -> Iterator[tuple[Place, Note]]:
    """Only what no test noticed."""
    for anchor, one in told.mutants:
        if one.fate is Fate.SURVIVED:
            words = f"{one.kind}: {one.words}"
            yield (Side.PATCHED, one.file, one.line), Note(str(one.fate), "regressed", words, _where(one), anchor)


def _where(record: FindingRecord | GuestRecord | MutantRecord) -> tuple[str]:
    return ("-".join(filter(None, _lane(record))),)
