"""Static checkers over both sides: those that read sources once, those that go through make for each lane."""

import functools
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk
from kvm.errors import BuildError
from orchestrator import cache, store
from orchestrator.build import kbuild
from orchestrator.build.findings import checkers, units
from orchestrator.build.findings.checkers import Checked, Checker, Scene
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.sandbox import PATH, Sandbox
from orchestrator.job import Job
from orchestrator.judge import findings
from orchestrator.model import Cell, Lane, Side, ToolRecord, cells
from orchestrator.sides import Built

RECIPE = 1  # raise it when the same sources would be told otherwise
MOST_OBJECTS = 100  # thousands may include a header that a series touches

_Said = dict[str, Checked]  # by the checker's name
_ADAPTER = TypeAdapter(Checked)


def of_sources(job: Job) -> None:
    """Run the checkers that read sources and patches, once for all lanes."""
    rows = [] if job.plan.empty else _rows(job, per_arch=False)
    if rows:
        with job.engine.task("check"):
            base, patched = ({row.name: _source(job, side, row) for row in rows if _fits(row, side)} for side in Side)
            _keep(job, base, patched)


def of_objects(job: Job, lane: Lane, built: Built) -> None:
    """Run the checkers that go through make, over both kernels of a lane."""
    rows = _rows(job, per_arch=True) if len(built) == len(Side) else []
    if rows:
        base, patched = cells(lane)
        with job.engine.task(f"check {lane}"):
            before, after = (_objects(job, cell, built[cell], rows) for cell in (base, patched))
            _keep(job, before, after, lane)


def _rows(job: Job, *, per_arch: bool) -> list[Checker]:
    """The chosen checkers of one kind; none, and a note, where there is no sandbox to run them in."""
    pipeline = job.plan.request.pipeline
    rows = [row for row in checkers.named(tuple(pipeline.checks)) if row.per_arch is per_arch]
    if pipeline.unsandboxed:
        job.recorder.note(*(f"{row.name} was not run: it needs the sandbox" for row in rows))
        return []
    return rows


def _fits(row: Checker, side: Side) -> bool:
    return side is Side.PATCHED or not row.judges_patches


def _source(job: Job, side: Side, row: Checker) -> Checked:
    plan = job.plan
    files = plan.touched(side)
    patches = tuple(sorted((job.directory / "series").glob("*.patch"))) if row.judges_patches else ()

    def look() -> Checked:
        with disk.scratch("kdelta-check-") as scratch:
            box = Sandbox(plan.sources(side), scratch, plan.cache_dir / "ccache", plan.quota)
            return checkers.run(row, Scene(box, plan.sources(Side.BASE), (), files, patches=patches))

    where = plan.cache_dir / "checks" / plan.files(side)
    where.mkdir(parents=True, exist_ok=True)
    os.utime(where)  # last use, for gc
    mails = [patch.read_text(encoding="utf-8", errors="replace") for patch in patches]
    return _remembered(where, row, [plan.files(Side.BASE), files, mails], look)


def _objects(job: Job, cell: Cell, built: KernelBuild, rows: list[Checker]) -> _Said:
    """What is not known is looked at in this side's O=, where the objects are."""
    plan, files = job.plan, job.plan.touched(cell.side)

    def look(row: Checker) -> Checked:
        log = store.cell_directory(job.directory, cell) / "check.log"
        with kbuild.compiled(plan.orders[cell], plan.cache_dir, log) as made:
            assert isinstance(made.sandbox, Sandbox)  # see _rows
            found = units.objects_of(made.sandbox.obj, files)
            make = *made.command, f"-j{made.order.jobs}"
            scene = Scene(made.sandbox, plan.sources(Side.BASE), make, files, found[:MOST_OBJECTS])
            answer = checkers.run(row, scene)
        left = len(found) - len(scene.objects)
        note = f"{row.name}: {left} more objects on {cell.lane} include what the series touches, and were not checked"
        return replace(answer, notes=(*answer.notes, note)) if left else answer

    return {row.name: _remembered(built.directory, row, [files], functools.partial(look, row)) for row in rows}


def _remembered(where: Path, row: Checker, inputs: list[object], look: Callable[[], Checked]) -> Checked:
    """Ask a checker, in the version that is installed, what it was not asked before."""
    found = [shutil.which(name, path=PATH) for name in (row.program, *row.helpers)]
    versions = [Path(program).stat().st_mtime_ns if program else None for program in found]
    try:
        return cache.remember(
            where / row.name, [RECIPE, versions, *inputs], _ADAPTER, look, whole=lambda said: not said.late
        )
    except BuildError as fault:  # make, which checkers run, does what a series wants, and may try to get out
        return Checked({}, (f"{row.name} gave no answer: {fault.message}",), late=True)


def _keep(job: Job, base: _Said, patched: _Said, lane: Lane | None = None) -> None:
    """Put on record what differs, and what could not be looked at."""
    arch, flavour = lane or ("", "")
    before, after = ({name: found.units for name, found in said.items()} for said in (base, patched))
    records, notes = findings.compare_checks(before, after, job.plan.lines, arch=arch, flavour=flavour)
    job.recorder.add("findings", *findings.unlike(records))
    gaps = {name: [note for side in (base, patched) if name in side for note in side[name].notes] for name in patched}
    job.recorder.add("tools", *(ToolRecord(name, arch, flavour, whole=not left) for name, left in gaps.items()))
    job.recorder.note(*(note for left in gaps.values() for note in left), *notes)
