"""A series validated, or planned: `run` and `plan`."""

import json
from pathlib import Path
from typing import Any

import click

from kvm.errors import UserError
from orchestrator import hooks, options, pipeline, show
from orchestrator.build import kbuild
from orchestrator.commands import opening, stages
from orchestrator.engine import Engine
from orchestrator.mutation import COUNTING


@click.command()
@options.of_request
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
@click.option("--no-bisect", is_flag=True, help="Do not look for the patch that did it, if something regresses.")
@options.to_patchwork
@click.option("--scheduler", metavar="URL", help="Build and test on the workers of a cluster; see docs/cluster.md.")
@click.option("--store", metavar="URL", help="Where they hand each other files: a shared directory, s3://, sftp://.")
@click.option("--tls", type=click.Path(path_type=Path), envvar="KDELTA_TLS", help="The cluster's certificates.")
@click.option("--mutate", "mutants", type=click.IntRange(1), metavar="N", help="Try N mutants then (`kdelta mutate`).")
@click.pass_obj
def run(  # noqa: PLR0913, PLR0917  (options)
    cache_dir: Path,
    /,
    out: Path | None,
    as_json: bool,
    no_bisect: bool,
    to_patchwork: bool,
    mutants: int | None,
    scheduler: str | None,
    store: str | None,
    tls: Path | None,
    **asked: Any,
) -> int:
    """Build, boot and test both kernels, and say what SERIES changes.

    SERIES is the name of a bundled series, a path (mbox, patch, directory, Maildir, quilt), -, commits of a git: kernel
    (A..B or a branch), a Message-ID or lore URL; pipeline.yaml's if it is left out. See docs/series.md.

    \b
    Examples:
      kdelta run
      kdelta run 0001-my.patch --kernel git:~/linux --base v5.10 --arch x86_64
      kdelta run v6.12..topic --kernel git:~/linux --each-patch
      kdelta run my-series/ --suite kselftest_mm --suite ~/my-tests
      kdelta run my-series/ --flavour coverage --mutate 10
      kdelta run my-series/ --scheduler tls://10.0.0.1:8786 --store s3://kernels/kdelta
      kdelta run --json | jq .verdict
    """
    request = opening.asked(cache_dir, **asked)
    if no_bisect:
        request = request.model_copy(update={"pipeline": request.pipeline.model_copy(update={"bisect": False})})
    if to_patchwork:
        hooks.patchwork_token(request.pipeline.report)
    if mutants and COUNTING not in request.pipeline.flavours:
        raise UserError("--mutate wants to know which lines ran", hint=f"--flavour {COUNTING} says")
    request = request.model_copy(update={"mutants": mutants})
    there = opening.cluster(request, scheduler, store, tls) if scheduler else None
    with opening.start(request, out, there.engine if there else Engine) as started:
        if there:
            there.save(started.directory)
        pipeline.validate(started)
        stages.look_further(started)
    return opening.answer(started, as_json=as_json, to_patchwork=to_patchwork)


@click.command()
@options.of_request
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def plan(cache_dir: Path, /, as_json: bool, **asked: Any) -> None:
    """Say what `run` would do and what is cached already; builds and boots nothing.

    \b
    Example:
      kdelta plan my-series/ --arch x86_64
    """
    todo = opening.planned(opening.asked(cache_dir, **asked))
    orders = {str(cell): order for cell, order in todo.orders.items()}
    orders |= {
        f"patch {number}/{order.cell.arch}-{order.cell.flavour}": order
        for lane in todo.lanes
        for number, _, order in todo.steps(lane)
    }
    rows = [
        {"cell": name, "build": "cached" if kbuild.find(order, cache_dir) else "to be built"}
        for name, order in orders.items()
    ]
    facts = {
        "series": todo.applied.series.title,
        "patches": [patch.subject for patch in todo.applied.series.patches],
        "kernel": f"{todo.source.release} ({todo.source.spec})",
        "base": {"commit": todo.base.commit, "rule": todo.base.rule, "sure": todo.base.sure, "reverted": todo.reverted},
        "notes": [*todo.base.notes, *todo.notes],
        "suites": [suite.name for suite in todo.suites],
        "noop": todo.empty,
        "cells": rows,
    }
    click.echo(json.dumps(facts, indent=1) if as_json else show.plan(facts))
