"""Benchmarks measured in more boots of both kernels, in turn: the boot is what differs, so it is what is repeated."""

from pathlib import Path

from kvm.errors import BootError, GuestLost
from orchestrator import pairs, store
from orchestrator.job import Job
from orchestrator.judge.sheet import SUITE_END
from orchestrator.model import Cell, Lane, Pair, Side
from orchestrator.trial import paired
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.runner import Trial, Yard

FILE = "boots.json"


def run(job: Job, lane: Lane, trials: dict[Side, Trial], yard: Yard) -> None:
    """Boot both sides of a lane anew as often as is asked for, and run every benchmark in each boot."""
    more = job.plan.request.pipeline.boots - 1
    measured = [(suite.name, SUITE_END) for suite in job.plan.suites if suite.kind is SuiteKind.BENCH]
    if not more or not measured or len(trials) < len(Side) or load(job, lane):
        return
    done: list[Pair] = []
    with job.engine.task(f"boots {lane}"):
        for number in range(1, more + 1):
            for side in Side:
                job.watch(Cell(side, *lane), f"boot {number + 1} of {more + 1}")
            try:
                done += paired.run(
                    trials, job.take, yard, pairs.look(job), measured, number, f"{paired.BOOTS}/{number}"
                )
            except (BootError, GuestLost) as fault:
                job.recorder.note(f"{lane}: boot {number + 1} measured nothing: {fault.message}")
    store.save_pairs(done, _file(job, lane))


def load(job: Job, lane: Lane) -> list[Pair]:
    """Read what more boots measured."""
    return store.load_pairs(_file(job, lane)) or []


def forget(job: Job, lane: Lane) -> None:
    """Remove what more boots than a first pass that is made anew have measured."""
    _file(job, lane).unlink(missing_ok=True)


def _file(job: Job, lane: Lane) -> Path:
    return store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / FILE
