"""The guests of one lane: both kernels booted and tried side by side, and again in pairs, all on one machine."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import accel, rootfs
from kvm.accel import Choice
from kvm.arch import get as get_arch
from orchestrator import boots, cache, consoles, pairs, payloads, store
from orchestrator.build.kbuild import KernelBuild
from orchestrator.job import Job
from orchestrator.judge import ending
from orchestrator.model import AccelChoice, GuestOutcome, GuestRun, Lane
from orchestrator.payloads import Alike
from orchestrator.plan import Plan
from orchestrator.trial import durations, layout, runner
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.suite import Suite
from orchestrator.trial.trial import Trial, Yard


@dataclass(frozen=True)
class Supply:
    """All that the guests of one cell are made of."""

    kernel: KernelBuild
    payloads: tuple[Payload, ...]
    initrd: Path


def supply(todo: Plan, kernel: KernelBuild, alike: Alike) -> Supply:
    """Make what the guests of a kernel are given; what is in `alike` is there already."""
    initrd = cache.keep(rootfs.build(get_arch(kernel.cell.arch), todo.cache_dir))
    return Supply(kernel, payloads.of(todo, kernel.cell, kernel, alike), initrd)


def run(job: Job, lane: Lane, supplies: tuple[Supply, ...]) -> None:
    """Boot the kernels of a lane and run the suites on both at once, and what is suspicious then again."""
    cache_dir, arch = job.plan.cache_dir, get_arch(lane.arch)
    choice = accel.choose(arch, lambda: supplies[0].kernel.image, cache_dir)
    job.recorder.add_accel(arch.name, AccelChoice(choice.used, choice.words))
    trials = {
        one.kernel.cell.side: trial(job.plan, one, choice, store.cell_directory(job.directory, one.kernel.cell))
        for one in supplies
    }
    todo = [one for one in trials.values() if one.cell not in job.done]
    if todo:
        pairs.forget(job, lane)
        boots.forget(job, lane)
    yard = Yard(job.engine.places, durations.of(cache_dir, arch.name))
    job.engine.gather([job.engine.start(_try, job, one, yard) for one in todo])
    pairs.run(job, lane, trials, yard)
    boots.run(job, lane, trials, yard)
    yard.durations.save()


def trial(todo: Plan, supplied: Supply, choice: Choice, directory: Path) -> Trial:
    """Lay out in `directory` what boots a kernel and tries the suites on it."""
    return layout.trial(
        supplied.kernel,
        supplied.payloads,
        initrd=supplied.initrd,
        choice=choice,
        pipeline=todo.request.pipeline,
        directory=directory,
    )


def tried(job: Job, trial: Trial, yard: Yard) -> GuestRun:
    """Run one cell's trial, read its console, and keep what its guests gave beside that."""
    with job.engine.task(f"guest {trial.cell}") as placed:

        def on_stage(stage: str) -> None:
            placed()
            job.watch(trial.cell, stage)

        seen = runner.run(trial, job.take, yard, on_stage)
    seen = replace(seen, asked=tuple(payload.suite.name for payload in trial.payloads))
    found = consoles.read(trial.directory / "console.log", job.plan.splat_rules)
    seen = replace(seen, guest=ending.name(replace(seen.guest, splats=found.splats, more_splats=found.more)))
    store.save_guest(seen, trial.directory)
    return seen


def once(
    job: Job,
    kernel: KernelBuild,
    suites: tuple[Suite, ...],
    where: Path,
    *,
    programs: Collection[str] = (),
    steady: bool = False,
) -> GuestRun:
    """Boot a kernel that is neither side, and run these suites once; what it runs is not counted.

    What it gave `where` before stays, unless nobody saw how it ended. Of the suites' `programs` only those run, if any
    is named. With `steady` it is a machine to measure with.
    """
    kept = store.load_guest(where)
    if kept and (kept.guest.outcome is GuestOutcome.OK or kept.guest.outcome.bad):
        return kept
    where.mkdir(parents=True, exist_ok=True)
    plan, arch = job.plan, get_arch(kernel.cell.arch)
    choice = accel.choose(arch, lambda: kernel.image, plan.cache_dir)
    todo = replace(plan, suites=suites)
    given = supply(todo, kernel, {})
    if programs:
        given = replace(given, payloads=tuple(payload.only(programs) for payload in given.payloads))
    whole = trial(todo, given, choice, where)
    machine = whole.machine.steady if steady else whole.machine
    yard = Yard(job.engine.places, durations.of(plan.cache_dir, arch.name))
    return tried(job, replace(whole.kept_nothing(where), machine=machine, repeats=1), yard)


def label(kernel: KernelBuild, suites: Iterable[Suite], programs: Iterable[str] = ()) -> str:
    """Name what a kernel gives under suites, for a directory: other files of a suite are another suite."""
    contents = ([suite.name, suite.content()] for suite in suites)
    return cache.key([*kernel.identity, *contents, *sorted(programs)])[:12]


def _try(job: Job, trial: Trial, yard: Yard) -> None:
    """Run one cell, and put on record what its guests gave."""
    job.watch(trial.cell, "waits for a place")
    seen = tried(job, trial, yard)
    for core in sorted(trial.directory.rglob("vmcore")):
        job.recorder.note(f"{trial.cell}: memory of a guest that panicked: {core.relative_to(job.directory)}")
    job.recorder.add("guests", seen.guest)
    job.watch(trial.cell, f"done: {seen.guest.outcome}")
