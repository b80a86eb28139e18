"""What is known of each changed line: did it run, in which programs, and if not, why. Pure: no disk, no compiler."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.judge.csource import LineKind, Source
from orchestrator.judge.hunks import LineMap
from orchestrator.model import Cell, Side
from orchestrator.model.coverage import Compiled, LineCoverage, LineState, Reading

_PROGRAMS = 12  # of those that ran a line so many are named
_NO_KERNEL = ("tools/", "scripts/", "Documentation/", "usr/")


@dataclass(frozen=True)
class Scene:
    """One kernel: its sources that changed, what became of the objects that count, what these counted.

    `elsewhere` are the files that are compiled into objects that do not count. With `lost` a guest died before it told
    all: what is not known to have run may have.
    """

    cell: Cell
    sources: Mapping[str, str]
    objects: Mapping[str, Compiled] = field(default_factory=dict)
    readings: Iterable[Reading] = ()
    elsewhere: frozenset[str] = frozenset()
    lost: bool = False


def changed(lines: LineMap, side: Side, sources: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the lines that the series wrote, as patched has them, or took away, as base has them."""
    found: dict[str, list[int]] = {}
    files = lines.by_patched if side is Side.PATCHED else lines.by_base
    for name, file in files.items():
        spans = [(run.patched, run.added) if side is Side.PATCHED else (run.base, run.removed) for run in file.runs]
        last = len(sources.get(name, "").splitlines())
        found[name] = [line for first, count in spans for line in range(first, min(first + count, last + 1))]
    return {name: numbers for name, numbers in found.items() if numbers and name in sources}


def judge(scene: Scene, lines: Mapping[str, list[int]]) -> list[LineCoverage]:
    """Say of each of `lines`, by file, what is known of it."""
    readings = list(scene.readings)
    told = [found for file, numbers in lines.items() for found in _file(scene, readings, file, numbers)]
    return [replace(line, state=LineState.UNCOUNTED) if _may_have_run(scene, line) else line for line in told]


def _may_have_run(scene: Scene, line: LineCoverage) -> bool:
    """Is it not known to have run, where not all is known? A header's line, above all, is in other objects, too."""
    return line.state is LineState.IDLE and (scene.lost or line.file in scene.elsewhere)


def _file(scene: Scene, readings: list[Reading], file: str, numbers: list[int]) -> Iterator[LineCoverage]:
    """Every line by its own counter, by that of a line which runs as often, or by the condition that it hangs on."""
    source = Source(scene.sources[file])
    left = {line for one in scene.objects.values() for line in one.left.get(file, ())}
    totals = _totals(scene, readings, file)
    for number in numbers:
        found = LineCoverage(scene.cell.side, *scene.cell.lane, file, number, LineState.PLAIN)
        if number in totals:
            yield totals[number].of(found)
        elif source.kind(number) is not LineKind.CODE or not is_kernel_code(file):
            yield found
        elif number in left and source.acts(number) and (known := _inferred(found, source, totals)):
            yield known
        else:
            yield replace(found, state=_uncounted(scene, found, source, compiled=number in left))


@dataclass
class _Total:
    """What is known of a line that has a counter."""

    branches: int
    by: Counter[str] = field(default_factory=Counter)
    ways: Counter[int] = field(default_factory=Counter)

    def of(self, line: LineCoverage) -> LineCoverage:
        by = +self.by
        return replace(
            line,
            state=LineState.RAN if by else LineState.IDLE,
            times=by.total(),
            by=dict(by.most_common(_PROGRAMS)),
            programs=len(by),
            taken=self.taken,
            branches=self.branches,
        )

    @property
    def taken(self) -> int:
        """How many of its branches were taken at least once."""
        return sum(self.ways[way] > 0 for way in range(self.branches))


def _totals(scene: Scene, readings: list[Reading], file: str) -> dict[int, _Total]:
    """Every line with a counter, with what all programs counted."""
    totals: dict[int, _Total] = {}
    for one in scene.objects.values():
        for line, hits in one.counters.get(file, {}).items():
            totals[line] = _Total(max(len(hits.branches), totals[line].branches if line in totals else 0))
    for reading in readings:
        for line, hits in reading.lines.get(file, {}).items():
            if line in totals:
                totals[line].by[reading.program] += hits.times
                totals[line].ways.update(dict(enumerate(hits.branches)))
    return totals


def _inferred(line: LineCoverage, source: Source, totals: Mapping[int, _Total]) -> LineCoverage | None:
    """What others know of a line that was compiled and has no counter."""
    if like := next((other for other in source.together(line.line) if other in totals), None):
        return replace(totals[like].of(line), taken=0, branches=0)
    condition = [totals[other] for other in source.condition(line.line) if other in totals]
    if condition and not any(+total.by for total in condition):
        return replace(line, state=LineState.IDLE)
    branching = [total for total in condition if total.branches]
    if branching and all(total.taken == total.branches for total in branching):
        return replace(line, state=LineState.RAN)  # it went both ways: how often is not known
    return None


def _uncounted(scene: Scene, line: LineCoverage, source: Source, *, compiled: bool) -> LineState:
    """A line of code of which nobody knows; of one in a header others may, in objects that do not count."""
    header, others, inside = line.file.endswith(".h"), line.file in scene.elsewhere, source.inside(line.line)
    if header and not inside:
        return LineState.PLAIN
    if compiled:
        return LineState.UNCOUNTED if source.acts(line.line) or (header and others) else LineState.PLAIN
    return LineState.UNCOUNTED if others else LineState.ABSENT


def is_kernel_code(file: str) -> bool:
    """Is it a source from which an object of a kernel may come?"""
    return file.endswith((".c", ".h", ".S")) and not file.startswith(_NO_KERNEL)
