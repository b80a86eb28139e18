"""The series as one diff, each line with what is known of it: did it run, and where; what was said of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator import listing, store
from orchestrator.judge import hunks
from orchestrator.model import Fate, Lane, LineCoverage, LineState, Run, Side
from orchestrator.model.coverage import BOOT
from orchestrator.publish.told import Note, Place

MOST_LINES = 3000  # in one report
MOST_BYTES = 4 << 20
_SIGNS = {"+": Side.PATCHED, "-": Side.BASE}
_NAMED = 3  # programs

Known = dict[Place, dict[Lane, LineCoverage]]
Notes = Mapping[Place, Sequence[Note]]


@dataclass(frozen=True)
class Row:
    """One line; `tone` says in a word how good the news of it are, `marks` what is known of it in each lane."""

    sign: str
    base: int | None
    patched: int | None
    text: str
    tone: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    by: str = ""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class File:
    """One file of the diff."""

    name: str
    rows: tuple[Row, ...]

    @property
    def telling(self) -> bool:
        """Is anything known of any of its lines?"""
        return any(row.tone or row.notes for row in self.rows)


@dataclass(frozen=True)
class Patch:
    """The whole diff; `lanes` are the names of those that were measured, `left_out` lines are not shown."""

    files: tuple[File, ...] = ()
    lanes: tuple[str, ...] = ()
    left_out: int = 0


def read(run: Run, directory: Path, names: dict[Lane, str], notes: Notes, share: int = 1) -> Patch:
    """Annotate the diff in the run directory; of a run from which it was not kept there is nothing to show."""
    known: Known = {}
    for line in run.coverage:
        known.setdefault((line.side, line.file, line.line), {})[Lane(line.arch, line.flavour)] = line
    lanes = [lane for lane in names if any(lane in lines for lines in known.values())]
    path = directory / store.DIFF
    if not path.is_file():
        return Patch()
    with path.open("rb") as diff:
        text = diff.read(MOST_BYTES).decode("utf-8", "replace")
        beyond = sum(block.count(b"\n") for block in iter(partial(diff.read, 1 << 20), b""))
    files = [_file(lines, known, lanes, notes) for lines in hunks.sections(text)]
    shown = _fitted(files, tuple(names[lane] for lane in lanes), MOST_LINES // share)
    return replace(shown, left_out=shown.left_out + beyond)


def _fitted(files: list[File], lanes: tuple[str, ...], room: int) -> Patch:
    """As many lines as a report has room for; if not for all, files of which something is known come first."""
    kept = []
    if sum(len(file.rows) for file in files) > room:
        files = sorted(files, key=lambda file: not file.telling)
    for file in files:
        if file.rows and room > 0:
            kept.append(File(file.name, file.rows[:room]))
        room -= len(file.rows)
    return Patch(tuple(kept), lanes, max(0, -room))


def _file(lines: list[str], known: Known, lanes: list[Lane], notes: Notes) -> File:
    found = hunks.read(lines)
    names = {Side.BASE: found.base or "", Side.PATCHED: found.patched or ""}
    rows = tuple(_noted(row, _notes(row, names, notes)) for row in _rows(lines, names, known, lanes))
    return File(found.patched or found.base or "", rows)


def _notes(row: Row, names: dict[Side, str], notes: Notes) -> tuple[Note, ...]:
    """What was said of the line, as each side numbers it."""
    at = {Side.BASE: row.base, Side.PATCHED: row.patched}
    return tuple(note for side, line in at.items() if line for note in notes.get((side, names[side], line), ()))


def _noted(row: Row, notes: tuple[Note, ...]) -> Row:
    """That a line ran says little where no test noticed a fault in it."""
    survived = row.tone in ("ran", "part") and any(note.tag == Fate.SURVIVED for note in notes)
    return replace(row, notes=notes, tone="survived" if survived else row.tone)


def _rows(lines: list[str], names: dict[Side, str], known: Known, lanes: list[Lane]) -> Iterator[Row]:
    at: dict[Side, int] = {}
    for line in lines:
        sign, text = line[:1], line[1:]
        if header := hunks.HEADER.match(line):
            at = {Side.BASE: int(header[1]), Side.PATCHED: int(header[3])}
            yield Row("@", None, None, line)
        elif not at or sign not in ("+", "-", " "):
            continue  # before the first hunk, or about the file's end
        else:
            side = _SIGNS.get(sign)
            numbers = {one: at[one] if side in (one, None) else None for one in Side}
            told = known.get((side, names[side], at[side]), {}) if side else {}
            yield _row(sign, numbers, text, [told.get(lane) for lane in lanes])
            at = {one: at[one] + (side in (one, None)) for one in Side}


def _row(sign: str, numbers: dict[Side, int | None], text: str, told: list[LineCoverage | None]) -> Row:
    states = [line.state for line in told if line]
    marks = tuple((line.state.name.lower(), _words(line)) if line else ("plain", "") for line in told)
    by = _programs([line for line in told if line])
    return Row(sign, numbers[Side.BASE], numbers[Side.PATCHED], text, _tone(states), marks, by)


def _tone(states: list[LineState]) -> str:
    """The word for all lanes together: ran, part, idle, absent, or none."""
    code = [state for state in states if state in (LineState.RAN, LineState.IDLE)]
    if LineState.RAN in code:
        return "part" if LineState.IDLE in code else "ran"
    return "idle" if code else "absent" if LineState.ABSENT in states else ""


def _words(line: LineCoverage) -> str:
    """`ran 12 times, 1 of 2 ways`."""
    if line.state is LineState.PLAIN:
        return ""
    times = f" {line.times:,} time{'s' if line.times != 1 else ''}" if line.times else ""
    ways = f", {line.taken} of {line.branches} ways" if line.branches and line.state is LineState.RAN else ""
    return f"{line.state}{times}{ways}"


def _programs(lines: list[LineCoverage]) -> str:
    """Who ran it, in whichever lane; the boot, which runs much, last."""
    names = sorted({name for line in lines for name in line.by}, key=lambda name: (name == BOOT, name))
    return listing.first(names, _NAMED, total=max((line.programs for line in lines), default=0))
