"""The story, top to bottom: plan, build both sides, boot both, test both, compare, judge, report.

The only place where a kernel's fault becomes a result.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kvm import accel, rootfs
from kvm.arch import get as get_arch
from kvm.errors import BuildError
from kvm.guest import Limits
from kvm.qemu import Machine
from orchestrator import store
from orchestrator.build import kbuild
from orchestrator.engine import Engine
from orchestrator.judge import diff, splat, verdict
from orchestrator.model import (
    AccelChoice,
    BuildRecord,
    Cell,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Run,
    Side,
)
from orchestrator.plan import Plan
from orchestrator.store import Recorder
from orchestrator.trial import runner, suites

Watch = Callable[[Cell, str], None]


def validate(plan: Plan, recorder: Recorder, engine: Engine, watch: Watch) -> Run:
    """Build, boot and test every cell, then compare: all of `kdelta run` but the report."""
    each(
        plan, engine, lambda arch: test(plan, arch, recorder, engine, watch, build(plan, arch, recorder, engine, watch))
    )
    return compare(plan, recorder, engine)


def each(plan: Plan, engine: Engine, work: Callable[[str], object]) -> None:
    """Do `work` for every architecture, side by side; a series that changes no file needs no work."""
    if not plan.empty:
        engine.gather([engine.start(work, arch) for arch in plan.request.pipeline.arches])


def build(plan: Plan, arch: str, recorder: Recorder, engine: Engine, watch: Watch) -> dict[Cell, kbuild.KernelBuild]:
    """Build both sides of one architecture, patched on top of base's objects; return those that were built."""
    built: dict[Cell, kbuild.KernelBuild] = {}
    for cell in plan.cells(arch):
        log = store.cell_directory(recorder.directory, cell) / "build.log"
        watch(cell, "build")
        try:
            with engine.task(f"build {cell}"):
                built[cell] = kbuild.build(plan.orders[cell], plan.cache_dir, log)
        except BuildError as fault:
            watch(cell, "does not build")
            recorder.add_build(_failed(cell, fault))
            continue
        store.place(built[cell].config, log.with_name(".config"))
        noop = cell.side is Side.PATCHED and len({kernel.image_sha256 for kernel in built.values()}) < len(built)
        recorder.add_build(_record(built[cell], noop=noop))
        watch(cell, "cached" if built[cell].cached else "built")
    return built


def test(
    plan: Plan, arch: str, recorder: Recorder, engine: Engine, watch: Watch, built: dict[Cell, kbuild.KernelBuild]
) -> None:
    """Boot what was built of one architecture and run the suites on both sides at once; nothing to do for a noop."""
    if any(build.noop and build.arch == arch for build in recorder.run.builds):
        for cell in plan.cells(arch):
            watch(cell, "noop: image identical")
        return
    if not built:
        return
    choice = accel.choose(get_arch(arch), lambda: next(iter(built.values())).image, plan.cache_dir)
    host = recorder.run.host
    known = {**host.accel, arch: AccelChoice(choice.used, choice.reason)}
    recorder.update(host=replace(host, accel=known))
    programs = tuple(runner.Program(suite, suites.compile(suite, arch, plan.cache_dir)) for suite in plan.suites)
    trials = [_trial(plan, kernel, choice, programs, recorder.directory) for kernel in built.values()]
    engine.gather([engine.start(_try, trial, recorder, engine, watch) for trial in trials])


def compare(plan: Plan, recorder: Recorder, engine: Engine) -> Run:
    """Diff what the guests gave, and judge."""
    changes, metrics = [], []
    names = [suite.name for suite in plan.suites]
    for arch in plan.request.pipeline.arches:
        base, patched = (_given(recorder, cell) for cell in plan.cells(arch))
        if base.guest.console or patched.guest.console:
            changes += diff.compare(base, patched, names, plan.expectations)
            metrics += diff.pair_metrics(base, patched)
    run = recorder.run
    answer = verdict.decide(run.builds, run.guests, changes, declared=bool(plan.expectations), empty=plan.empty)
    return recorder.update(
        tests=tuple(changes), metrics=tuple(metrics), verdict=answer, timeline=engine.timeline or run.timeline
    )


def _trial(
    plan: Plan, kernel: kbuild.KernelBuild, choice: accel.Choice, programs: tuple[runner.Program, ...], run: Path
) -> runner.Trial:
    """Lay everything that boots this kernel into the run, so that it can be booted again by hand."""
    pipeline, arch = plan.request.pipeline, get_arch(kernel.cell.arch)
    directory = store.cell_directory(run, kernel.cell)
    needs = [program.suite.needs for program in programs]
    machine = Machine(
        arch=arch,
        image=store.place(kernel.image, directory / "image"),
        initrd=store.place(rootfs.build(arch, plan.cache_dir), directory / "initramfs.cpio"),
        accel=choice.used,
        memory_mib=max([pipeline.guest.memory_mib, *(need.memory_mib for need in needs)]),
        cpus=pipeline.guest.cpus,
        disk_mib=max([0, *(need.swap_mib for need in needs)]),
    )
    limits = Limits(
        boot_seconds=pipeline.limits.boot * choice.scale,
        silence_seconds=pipeline.limits.silence * choice.scale,
        command_seconds=pipeline.limits.boot * choice.scale,
        scale=choice.scale,
    )
    return runner.Trial(kernel.cell, machine, limits, programs, pipeline.repeats, directory)


def _try(trial: runner.Trial, recorder: Recorder, engine: Engine, watch: Watch) -> None:
    """Run one guest in this thread from its first to its last moment, and keep what it gave."""
    watch(trial.cell, "waits for a place")
    with engine.guest_place(), engine.task(f"guest {trial.cell}"):
        seen = runner.run(trial, lambda stage: watch(trial.cell, stage))
    console = (trial.directory / "console.log").read_text(encoding="utf-8", errors="replace")
    seen = replace(seen, guest=replace(seen.guest, splats=splat.find(console)))
    store.save_guest(seen, trial.directory)
    recorder.add_guest(seen.guest)
    watch(trial.cell, f"done: {seen.guest.outcome}")


def _given(recorder: Recorder, cell: Cell) -> GuestRun:
    """Read what a guest gave; of one that never ran, that nothing was seen."""
    ran = store.load_guest(store.cell_directory(recorder.directory, cell))
    return ran or GuestRun(
        GuestRecord(cell.side, cell.arch, cell.flavour, "", None, GuestOutcome.LOST, "", "did not run"),
    )


def _record(kernel: kbuild.KernelBuild, *, noop: bool) -> BuildRecord:
    cell = kernel.cell
    return BuildRecord(
        side=cell.side,
        arch=cell.arch,
        flavour=cell.flavour,
        seconds=kernel.seconds,
        cpu_seconds=kernel.cpu_seconds,
        cached=kernel.cached,
        image_sha256=kernel.image_sha256,
        noop=noop,
        log=f"{cell}/build.log",
    )


def _failed(cell: Cell, fault: BuildError) -> BuildRecord:
    return BuildRecord(
        cell.side, cell.arch, cell.flavour, 0.0, 0.0, False, None, False, f"{cell}/build.log", error=fault.message
    )
