"""Both sides of a lane built, base first, and what differs between them; a kernel that does not build is a result."""

from collections.abc import Iterator
from dataclasses import replace

from kvm.errors import BuildError
from orchestrator import listing, store
from orchestrator.build import kbuild, kconfig, sandbox
from orchestrator.build.kconfig import Dropped
from orchestrator.job import Job
from orchestrator.model import Cell, ConfigChange, Lane, Side, StepRecord, cells

NAMES_SHOWN = 12
BUILT, CACHED = THERE = ("built", "cached")  # what is watched of a kernel that came out, new or not

Built = dict[Cell, kbuild.KernelBuild]


def build(job: Job, lane: Lane) -> Built:
    """Build both sides of one lane, patched on top of base's objects; return those that were built."""
    built: Built = {}
    for cell in cells(lane):
        if cell.side is Side.PATCHED:
            _build_steps(job, lane)
        log = store.cell_directory(job.directory, cell) / "build.log"
        job.watch(cell, "build")
        try:
            with job.engine.task(f"build {cell}"):
                built[cell] = kbuild.build(job.plan.orders[cell], job.plan.cache_dir, log)
        except BuildError as fault:
            job.watch(cell, "does not build")
            job.recorder.add("builds", kbuild.failed(cell, fault))
            _tell(job, str(cell), fault.tried)
            continue
        store.place(built[cell].config, log.with_name(".config"))
        noop = cell.side is Side.PATCHED and len({kernel.identity for kernel in built.values()}) < len(built)
        job.recorder.add("builds", built[cell].record(noop=noop))
        _tell(job, str(cell), built[cell].tried)
        job.watch(cell, CACHED if built[cell].cached else BUILT)
    if len(built) == len(Side):
        texts = [built[cell].config.read_text(encoding="utf-8") for cell in cells(lane)]
        job.recorder.add("configs", *(ConfigChange(*lane, *row) for row in kconfig.differences(*texts)))
        job.recorder.note(*_dropped(job, lane, *texts))
    return built


def _dropped(job: Job, lane: Lane, base: str, patched: str) -> Iterator[str]:
    """Say what was asked for and olddefconfig did not take: of the user's .config, and what the series takes away."""
    wish = job.plan.orders[cells(lane)[0]].wish
    own = kconfig.parse(wish.fragments + wish.optional)
    lost = [] if wish.is_goal else [loss for loss in kconfig.dropped(wish.start, base) if loss.option not in own]
    if lost:
        yield f"{lane}: of --config's file, olddefconfig changed {_names(lost)}"
    missing = kconfig.dropped(wish.fragments, base)
    if gone := [loss for loss in kconfig.dropped(wish.fragments, patched) if loss not in missing]:
        yield f"{lane}: with the series, olddefconfig drops {_names(gone)}, which was asked for"


def _names(lost: list[Dropped]) -> str:
    return listing.first([f"CONFIG_{loss.option}" for loss in lost], NAMES_SHOWN)


def _build_steps(job: Job, lane: Lane) -> None:
    """Build what lies between base and patched: each patch must leave a tree that builds."""
    cell = Cell(Side.PATCHED, *lane)
    for number, patch, order in job.plan.steps(lane):
        log = store.cell_directory(job.directory, cell) / f"patch-{number}.log"
        job.watch(cell, f"build patch {number}")
        record = StepRecord(number, patch.subject, *lane, 0.0, 0.0, False, f"{cell}/{log.name}")
        try:
            with job.engine.task(f"build {cell} patch {number}"):
                step = kbuild.build(order, job.plan.cache_dir, log)
            record = replace(record, seconds=step.seconds, cpu_seconds=step.cpu_seconds)
            record = replace(record, cached=step.cached, tried=step.tried)
        except BuildError as fault:
            record = replace(record, error=fault.message, tried=fault.tried, unfinished=fault.unfinished)
        job.recorder.add("steps", record)
        _tell(job, f"{cell}, patch {number}", record.tried)


def _tell(job: Job, where: str, tried: tuple[str, ...]) -> None:
    """Note what a build tried and the sandbox denied: it may have said nothing itself."""
    job.recorder.note(*(f"{where}: {sandbox.DENIED}{deed}" for deed in tried))
    if not (job.plan.request.pipeline.unsandboxed or sandbox.watches()):
        job.recorder.note(sandbox.UNWATCHED)
