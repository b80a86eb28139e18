"""Everything new, each night: `nightly`."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kvm import disk
from orchestrator import actions, hooks, options, request, show, store
from orchestrator.build import sandbox
from orchestrator.commands import opening
from orchestrator.model import ItemEnd, ItemReport, NightReport
from orchestrator.nightly import faults
from orchestrator.places import processors
from orchestrator.publish import night as words
from orchestrator.request import Request

if TYPE_CHECKING:
    from orchestrator.cluster.where import Where


@click.command()
@click.option("--pipeline", "file", type=click.Path(path_type=Path), help="Instead of ./pipeline.yaml.")
@click.option("--jobs", type=click.IntRange(1), default=processors, show_default="processors", help="make -j.")
@options.to_patchwork
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def nightly(cache_dir: Path, file: Path | None, jobs: int, to_patchwork: bool, as_json: bool) -> int:
    """Run what is new in the trees and queues of pipeline.yaml's `nightly:`, and write one summary.

    What was done before is not done again; what regressed since the last night is bisected; an item that fails keeps no
    other from running; what is cut off, by the budget, a kill or a reboot, goes on the next time. Run it from the
    directory that holds results/. Exit: as `run`, by the worst item. See docs/nightly.md.

    \b
    Examples:
      kdelta nightly
      kdelta nightly --pipeline lab.yaml --json >last-night.json
    """
    from orchestrator.nightly import night  # noqa: PLC0415  (sqlalchemy)
    from orchestrator.nightly.place import Place  # noqa: PLC0415

    asked = request.make(cache_dir, file=file, jobs=jobs)
    if to_patchwork:
        hooks.patchwork_token(asked.pipeline.report)
    if not asked.pipeline.unsandboxed:
        sandbox.require()
    there = _cluster(asked)
    results, runs = Path.cwd() / "results", actions.Night()

    def told(one: ItemReport) -> None:
        if one.end is ItemEnd.RAN:
            where = Path(one.directory)
            run = store.load(where)
            runs.add(one.item, run)
            hooks.tell(run, where, asked.pipeline.report, to_patchwork=to_patchwork)

    with opening.history() as book:
        with show.Board() as board:
            place = Place(book, results, opening.publish, board.tell, there=there, told=told)
            report = night.run(asked, place)
        summary = words.summary(report)
        with faults.warned("the summary is not kept"):
            _write(report, summary, results / "nightly" / time.strftime("%Y%m%d-%H%M%S"))
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(report), indent=1))
        else:
            click.echo(actions.harmless(summary), nl=False)
        with faults.warned("the page of all runs is as it was"):
            opening.write_index(book, results)
    with faults.warned("GitHub is not told"):
        runs.tell(summary)
    return report.exit_code


def _cluster(asked: Request) -> "Where | None":
    """The cluster that pipeline.yaml names, if it does; what is a path begins at the file."""
    named, near = asked.pipeline.nightly and asked.pipeline.nightly.cluster, Path(asked.near)
    if not named:
        return None
    files = named.store if "://" in named.store else str(near / disk.expanded(named.store))
    certificates = near / disk.expanded(named.tls) if named.tls else os.environ.get("KDELTA_TLS")
    return opening.cluster(asked, named.scheduler, files, Path(certificates) if certificates else None)


def _write(report: NightReport, summary: str, name: Path) -> None:
    disk.write(name.with_suffix(".json"), json.dumps(dataclasses.asdict(report), indent=1) + "\n")
    disk.write(name.with_suffix(".txt"), summary)
