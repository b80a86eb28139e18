"""Which of the changed lines ran in the guests of a lane whose kernels count them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from orchestrator import listing, store
from orchestrator.build import toolchain
from orchestrator.build.anatomy import gcov, kit
from orchestrator.build.anatomy.errand import NoAnswer, Place
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.sandbox import OBJ
from orchestrator.job import Job
from orchestrator.judge import coverage
from orchestrator.judge.coverage import Scene
from orchestrator.model import Cell
from orchestrator.model.coverage import Reading
from orchestrator.trial import counters
from orchestrator.trial.counters import Kept

_LOST_SHOWN = 3
_BUILD = f"{OBJ.removeprefix('/')}/"


def measure(job: Job, cell: Cell, kernel: KernelBuild) -> None:
    """Put on record what is known of each changed line; nothing of a kernel that does not count."""
    kept = counters.kept(store.cell_directory(job.directory, cell))
    if kept:
        job.watch(cell, "looks up what ran")
        with job.engine.task(f"coverage {cell}"):
            _measure(job, cell, kernel, kept)
        job.watch(cell, "done: coverage")


def _measure(job: Job, cell: Cell, kernel: KernelBuild, kept: list[Kept]) -> None:
    sources = {file: _text(job.plan.sources(cell.side) / file) for file in job.plan.touched(cell.side)}
    lines = coverage.changed(job.plan.lines, cell.side, sources)
    files = [file for file in lines if coverage.is_kernel_code(file)]
    place = Place(kernel.directory, job.plan.sources(cell.side), job.plan.cache_dir / "ccache", job.plan.quota)
    try:
        program = gcov.program(toolchain.find(cell.arch, job.plan.request.pipeline.toolchain))
    except NoAnswer as fault:
        job.recorder.note(f"{cell}: what ran is not known: {fault}")
        return
    told = gcov.look(place, files, program)
    if told.notes and not told.objects:
        job.recorder.note(*(f"{cell}: what ran is not known: {note}" for note in told.notes))
        return
    readings, notes = _readings(place, files, program, kept)
    lost = tuple(_lost(kept, told.objects))
    others = _elsewhere(kernel, place.sources, files, told.objects)
    scene = Scene(cell, sources, told.objects, readings, others, lost=bool(lost or notes))
    job.recorder.add("coverage", *coverage.judge(scene, lines))
    job.recorder.note(*(f"{cell}: what ran: {note}" for note in (*told.notes, *notes, *lost)))


def _readings(place: Place, files: list[str], program: str, kept: list[Kept]) -> tuple[list[Reading], tuple[str, ...]]:
    """Every reading of an object in lines; those that are equal are read once."""
    tools = kit.load(place.build)
    names = {name.removesuffix(".o"): name for name in gcov.counting(tools)} if tools else {}
    known = [(one, name) for one in kept if (name := _name(one, names))]
    counts = {f"{name} {one.file.name}": (name, one.file.read_bytes()) for one, name in known}
    lines, notes = gcov.read(place, files, program, counts)
    return [
        Reading(one.program, lines[key]) for one, name in known if (key := f"{name} {one.file.name}") in lines
    ], notes


def _name(one: Kept, names: Mapping[str, str]) -> str:
    """The object of a reading, which the guest calls by its path in the build's directory; "" if there is none."""
    return names.get(one.object.removeprefix(f"{OBJ.strip('/')}/"), "")


def _elsewhere(
    kernel: KernelBuild, sources: Path, files: Iterable[str], counting: Mapping[str, object]
) -> frozenset[str]:
    """The files that are compiled into objects that do not count."""
    tools = kit.load(kernel.directory)
    if tools is None:
        return frozenset(files)
    others = {file for file in files if (tools.built_from(file) | tools.users(file)) - counting.keys()}
    return frozenset(others | {file for file in files if not tools.built_from(file) and _is_included(sources / file)})


def _is_included(source: Path) -> bool:
    """Does another source of its directory include this one, which then has no object of its own?"""
    if source.suffix != ".c":
        return False
    line = re.compile(rf'^[ \t]*#[ \t]*include[ \t]+"(?:[^"\n]*/)?{re.escape(source.name)}"', re.MULTILINE)
    others = (other for other in source.parent.glob("*.c") if other.is_file() and not other.is_symlink())
    return any(line.search(_text(other)) for other in others)


def _lost(kept: list[Kept], counting: Mapping[str, object]) -> Iterator[str]:
    names = [one.program for one in kept if not one.object] if counting else []
    if names:
        yield f"nobody knows of {listing.first(names, _LOST_SHOWN)}: the guest did not live to tell"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
