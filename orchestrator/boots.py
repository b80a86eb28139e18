"""Benchmarks measured in boots of their own of both kernels, in turn: what differs from boot to boot is repeated."""

from dataclasses import replace
from pathlib import Path

from orchestrator import pairs, store
from orchestrator.job import Job
from orchestrator.judge import measure
from orchestrator.judge.measure import Yardstick
from orchestrator.judge.sheet import SUITE_END
from orchestrator.model import Cell, Lane, Pair, Side
from orchestrator.trial import paired
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.trial import Trial, Yard

FILE = "boots.json"


def run(job: Job, lane: Lane, trials: dict[Side, Trial], yard: Yard) -> None:
    """Boot both sides of a lane anew as often as is asked for, and run every benchmark in each boot."""
    boots = job.plan.request.pipeline.boots
    measured = [(suite.name, SUITE_END) for suite in job.plan.suites if suite.kind is SuiteKind.BENCH]
    if boots == 1 or not measured or len(trials) < len(Side) or load(job, lane):
        return
    forget(job, lane)
    done: list[Pair] = []
    steady = {side: replace(one, machine=one.machine.steady) for side, one in trials.items()}
    with job.engine.task(f"boots {lane}"):
        for number in range(1, boots + 1):
            for side in Side:
                job.watch(Cell(side, *lane), f"boot {number} of {boots}")
            again = paired.run(steady, job.take, yard, pairs.look(job), measured, number, f"{paired.BOOTS}/{number}")
            done += again
            if why := paired.unbooted(again):
                job.recorder.note(f"{lane}: boot {number} measured nothing: {why}")
                if number == 1:  # nor will the next
                    break
    store.save_pairs(done, _file(job, lane))


def yardstick(job: Job) -> Yardstick:
    """What a change must be to count, as the user and the suites say; what is claimed wrongly, over all lanes."""
    suites, least = {suite.name: suite for suite in job.plan.suites}, job.plan.request.pipeline.minimum_effect
    return Yardstick(least, measure.ERROR / len(job.plan.lanes), lambda suite, name: suites[suite].worsens(name))


def load(job: Job, lane: Lane) -> list[Pair]:
    """Read what more boots gave: what they measured, and whether they came up."""
    return store.load_pairs(_file(job, lane)) or []


def forget(job: Job, lane: Lane) -> None:
    """Remove what more boots than a first pass that is made anew have measured, or those of a run that was cut off."""
    _file(job, lane).unlink(missing_ok=True)
    pairs.clear(job, lane, paired.BOOTS)


def _file(job: Job, lane: Lane) -> Path:
    return store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / FILE
