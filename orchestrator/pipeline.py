"""The story, top to bottom: plan, build both sides, boot both, test both, compare, judge, report."""

from collections.abc import Callable
from dataclasses import replace

from orchestrator import boots, checks, consoles, coverage, delta, flakes, pairs, payloads, sides, store, trials
from orchestrator.job import Job
from orchestrator.judge import diff, earlier, known, settle, strength, verdict
from orchestrator.model import (
    BOOT,
    Cell,
    Change,
    ConsoleLine,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Lane,
    Pair,
    Run,
    Side,
    cells,
)
from orchestrator.payloads import Alike


def validate(job: Job) -> Run:
    """Build, boot and test every cell, then compare: all of `kdelta run` but the report."""
    _each_beside_checks(job, lambda lane: _go(job, lane))
    return compare(job)


def go_on(job: Job) -> Run:
    """Do what is left of a run that was cut off: builds are in the cache, and guests that gave all stay as they are."""
    asked = tuple(suite.name for suite in job.plan.suites)
    kept = {cell: store.load_guest(store.cell_directory(job.directory, cell)) for cell in job.plan.orders}
    done = {cell: found for cell, found in kept.items() if found and found.asked == asked}
    job.recorder.add("guests", *(found.guest for found in done.values()))  # the last one may be on disk alone
    return validate(replace(job, done=frozenset(done)))


def build(job: Job) -> None:
    """Build every cell and say what differs before anything boots: all of `kdelta build`."""
    _each_beside_checks(job, lambda lane: _look(job, lane, job.engine.do(sides.build, job, lane)))


def _each_beside_checks(job: Job, work: Callable[[Lane], object]) -> None:
    checking = job.engine.start(checks.of_sources, job)
    each(job, work)
    job.engine.gather([checking])


def _go(job: Job, lane: Lane) -> None:
    alike = payloads.look_up(job.plan, lane)
    built = job.engine.do(sides.build, job, lane)
    looking = job.engine.start(_look, job, lane, built)
    test(job, lane, built, alike)
    job.engine.gather([looking])


def _look(job: Job, lane: Lane, built: sides.Built) -> None:
    delta.look(job, lane, built)
    checks.of_objects(job, lane, built)


def each(job: Job, work: Callable[[Lane], object]) -> None:
    """Do `work` for every lane, side by side; a series that changes no file needs no work."""
    if not job.plan.empty:
        job.engine.gather([job.engine.start(work, lane) for lane in job.plan.lanes])


def test(job: Job, lane: Lane, built: sides.Built, alike: Alike) -> None:
    """Boot what was built of one lane and run the suites on both sides at once; nothing to do for a noop.

    `alike` is what is there already of what both sides are given.
    """
    if any(build.noop and Lane(build.arch, build.flavour) == lane for build in job.run.builds):
        for cell in cells(lane):
            job.watch(cell, "noop: image identical")
        return
    if not built:
        return
    supplies = tuple(trials.supply(job.plan, kernel, alike) for kernel in built.values())
    job.engine.do(trials.run, job, lane, supplies)
    measuring = [job.engine.start(coverage.measure, job, *one) for one in built.items()]
    consoles.locate(job, built)
    job.engine.gather(measuring)


def compare(job: Job) -> Run:
    """Diff what the guests gave, and judge."""
    changes, metrics, lines = [], [], list[ConsoleLine]()
    for lane in job.plan.lanes:
        base, patched = (given(job, cell) for cell in cells(lane))
        if base.guest.console or patched.guest.console:
            lines += consoles.new_lines(job, lane, base.guest, patched.guest)
            more = boots.load(job, lane)
            changes += _settled(job, lane, base, pairs.compared(job, lane, base, patched), more)
            measured = [pair for pair in more if pair.suite != BOOT]
            metrics += diff.pair_metrics(base, patched, measured, boots.yardstick(job))
    run, declared = job.run, bool(job.plan.expectations)
    guests = tuple(known.mark(guest, job.plan.known_issues) for guest in run.guests)
    changes = known.mark_tests(changes, job.plan.known_issues)
    job.recorder.note(*known.silent(changes, guests, job.plan.known_issues))
    answer = verdict.decide(
        run.builds,
        guests,
        changes,
        steps=run.steps,
        uncompiled=run.uncompiled,
        metrics=metrics,
        findings=run.findings,
        declared=declared,
        left_out=job.plan.left_out,
        empty=job.plan.empty,
    )
    files = () if job.plan.empty else run.series.files
    words = strength.sentence(run.builds, run.uncompiled, run.coverage, files, run.mutants, guests)
    answer = replace(answer, strength=words)
    timeline, busy = (job.engine.timeline, job.engine.busy) if job.engine.timeline else (run.timeline, run.busy)
    return job.recorder.update(
        guests=guests,
        lines=tuple(lines),
        tests=tuple(changes),
        metrics=tuple(metrics),
        verdict=answer,
        timeline=timeline,
        busy=busy,
    )


def _settled(job: Job, lane: Lane, base: GuestRun, changes: list[Change], more: list[Pair]) -> list[Change]:
    """What becomes of a lane's first pass by what was run again, and what earlier runs say of it.

    `more` are boots for benchmarks, which are pairs as well. Where no others were made the first pass stands for what
    these did not run.
    """
    again = pairs.load(job, lane)
    done = [*(again or ()), *more]
    ran = {pair.suite for pair in done} if again is None else {change.suite for change in changes}
    tried = [change for change in changes if change.suite in ran]
    settled = [change for change in changes if change.suite not in ran]
    settled += settle.settle(tried, done, pairs.alpha(job), base.guest.splats)
    here = (build for build in job.run.builds if build.side is Side.BASE and Lane(build.arch, build.flavour) == lane)
    image = next((build.image_sha256 for build in here if build.image_sha256), None)
    seen = [base, *(pair.base for pair in done)]
    return (
        earlier.tell(settled, flakes.note(job.plan.cache_dir, image, f"{job.run.started} {job.run.id}", seen))
        if image
        else settled
    )


def given(job: Job, cell: Cell) -> GuestRun:
    """Read what a guest gave; of one that never ran, that nothing was seen."""
    ran = store.load_guest(store.cell_directory(job.directory, cell))
    return ran or GuestRun(
        GuestRecord(cell.side, cell.arch, cell.flavour, "", None, GuestOutcome.LOST, "", "did not run"),
    )
