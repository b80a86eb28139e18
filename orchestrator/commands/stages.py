"""A run, a stage at a time, on saved files (`build`, `boot`, `test`, `diff`), or `resume`d."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kvm.errors import UserError
from orchestrator import culprits, mutation, options, pipeline, show
from orchestrator.build import kbuild
from orchestrator.commands import opening
from orchestrator.engine import Engine
from orchestrator.job import Job, MakeEngine
from orchestrator.model import GuestOutcome, Lane, Run, cells


@click.command()
@options.of_request
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.pass_obj
def build(cache_dir: Path, /, out: Path | None, **asked: Any) -> int:
    """Build both kernels of SERIES and open a run directory for the stages that follow.

    \b
    Example:
      kdelta build && kdelta boot && kdelta test && kdelta diff && kdelta report
    """
    with opening.start(opening.asked(cache_dir, **asked), out) as started:
        pipeline.build(started)
    click.echo(show.builds(started.run, started.directory))
    return 1 if any(record.error for record in started.run.builds) else 0


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def boot(directory: Path | None) -> int:
    """Boot what RUN built, on both sides, and say how that went. RUN is a run's directory; the newest by default.

    \b
    Example:
      kdelta boot results/20260101-120000-my-series
    """
    return _booted(_tested(directory, suites=False))


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def test(directory: Path | None) -> int:
    """Boot what RUN built and run the suites on both sides.

    \b
    Example:
      kdelta test && kdelta diff
    """
    return _booted(_tested(directory, suites=True))


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def diff(directory: Path | None, as_json: bool) -> int:
    """Compare what the guests of RUN gave, and judge.

    \b
    Example:
      kdelta diff results/20260101-120000-my-series
    """
    return judged(directory, pipeline.compare, as_json=as_json)


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def resume(directory: Path | None, as_json: bool) -> int:
    """Go on with a run that was cut off: what was built and tested is not done again.

    \b
    Example:
      kdelta resume results/20260101-120000-my-series
    """
    return judged(directory, go_on, as_json=as_json)


def _tested(directory: Path | None, *, suites: bool) -> Run:
    with opening.resume(directory) as resumed:
        todo = resumed.plan
        job_ = resumed if suites else replace(resumed, plan=todo.without_suites())

        def work(lane: Lane) -> None:
            built = {cell: kbuild.find(todo.orders[cell], todo.cache_dir) for cell in cells(lane)}
            ready = {cell: kernel for cell, kernel in built.items() if kernel}
            if not ready:
                raise UserError(f"nothing is built for {lane}", hint="`kdelta build` first")
            pipeline.test(job_, lane, ready, {})

        pipeline.each(job_, work)
    return resumed.run


def go_on(job: Job) -> Run:
    """Do what is still to be done of a run, and what comes after its verdict, too."""
    pipeline.go_on(job)
    return look_further(job)


def look_further(job: Job) -> Run:
    """Do what was asked for after the verdict: the search for what regressed, and mutants."""
    asked = job.plan.request
    if asked.pipeline.bisect:
        culprits.look_after(job)
    if asked.mutants:
        mutation.look(job, mutation.Bounds(asked.mutants, mutation.SECONDS))
    return job.run


def judged(directory: Path | None, work: Callable[[Job], Run], *, as_json: bool, engine: MakeEngine = Engine) -> int:
    """Do `work` on a run that is there, and say what came of it; returns the exit code."""
    with opening.resume(directory, engine) as resumed:
        work(resumed)
    return opening.answer(resumed, as_json=as_json)


def _booted(run: Run) -> int:
    click.echo(show.guests(run))
    return 0 if all(record.outcome is GuestOutcome.OK for record in run.guests) else 1
