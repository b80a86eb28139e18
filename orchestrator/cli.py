"""kdelta's commands: the only place that reads flags, prints answers, and exits."""

import contextlib
import datetime
import errno
import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kvm import accel, guest, proc, rootfs
from kvm.arch import get as get_arch
from kvm.errors import Error, InfraError, Interrupted, UserError
from kvm.qemu import Machine
from orchestrator import cache, config, doctor, job, options, pipeline, plan, request, show, store, sweep
from orchestrator.build import kbuild, sandbox
from orchestrator.intake import mail
from orchestrator.job import Job
from orchestrator.model import Cell, GuestOutcome, Lane, Run, Side, VerdictValue, cells
from orchestrator.plan import Plan
from orchestrator.publish import clean, html, text
from orchestrator.request import Request

EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 2, 125, 130


def entry() -> None:
    """Run the command line and exit as docs/architecture.md says; click's own exit codes are not used."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: proc.stop.set())
    sys.exit(_guarded())


def _guarded() -> int:  # noqa: PLR0911  (one return per kind of end)
    try:
        result = main.main(prog_name="kdelta", standalone_mode=False)
        sys.stdout.flush()
    except (Interrupted, KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as fault:
        fault.show()
        return EXIT_USAGE
    except Error as fault:
        _explain(fault)
        return EXIT_USAGE if isinstance(fault, UserError) else EXIT_INCONCLUSIVE
    except BrokenPipeError:  # whoever read our answer has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INCONCLUSIVE
    except OSError as fault:
        named = f"{fault.filename or 'the system'}: {fault.strerror}"
        if fault.errno == errno.ENAMETOOLONG:  # we give none
            _explain(UserError(named[-1000:], hint="no file has such a name: look at what was given"))
            return EXIT_USAGE
        _explain(InfraError(named, hint="is the disk full or read-only?"))
        return EXIT_INCONCLUSIVE
    except Exception:
        traceback.print_exc()
        click.echo("Error: this is a fault of kdelta itself; please report it with the lines above", err=True)
        return EXIT_INCONCLUSIVE
    return result if isinstance(result, int) else 0


def _explain(fault: Error) -> None:
    click.echo(f"Error: {clean.printable(fault.message)}", err=True)  # it may quote a guest or a patch
    if fault.log:
        click.echo(f"  log:  {fault.log}", err=True)
    if fault.hint:
        click.echo(f"  hint: {fault.hint}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdelta", prog_name="kdelta")
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr which processes are started.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Instead of $KDELTA_CACHE or ~/.cache/kdelta.")
@click.pass_context
def main(context: click.Context, verbose: bool, cache_dir: Path | None) -> None:
    """Say what a Linux kernel patch series changes, before it is posted.

    Builds the base and the patched kernel, boots both under QEMU, runs the same tests on both, compares, and judges.
    Exit: 0 validated or clean, 1 regressed or unmet, 2 usage, 125 inconclusive, 130 interrupted.

    \b
    Examples:
      kdelta run                          what pipeline.yaml says
      kdelta run my-series/ --arch arm64
      kdelta plan my-series/              what would be built, and what is cached
      kdelta doctor                       is this machine fit for it
    """
    _log(verbose)
    context.obj = (cache_dir.expanduser().resolve() if cache_dir else cache.default_root()).absolute()


def _log(verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", handlers=[show.Log()], force=True)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


@main.command()
@options.of_request
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
@click.pass_obj
def run(cache_dir: Path, /, out: Path | None, as_json: bool, **asked: Any) -> int:
    """Build, boot and test both kernels, and say what SERIES changes.

    SERIES is the name of a bundled series, a path (mbox, patch, directory, Maildir, quilt), -, commits of a git: kernel
    (A..B or a branch), a Message-ID or lore URL; pipeline.yaml's if it is left out. See docs/series.md.

    \b
    Examples:
      kdelta run
      kdelta run 0001-my.patch --kernel git:~/linux --base v5.10 --arch x86_64
      kdelta run v6.12..topic --kernel git:~/linux --each-patch
      kdelta run --json | jq .verdict
    """
    with _start(_request(cache_dir, **asked), out) as started:
        pipeline.validate(started)
    return _answer(started.run, started.directory, as_json=as_json)


@main.command("plan")
@options.of_request
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def plan_(cache_dir: Path, /, as_json: bool, **asked: Any) -> None:
    """Say what `run` would do and what is cached already; builds and boots nothing.

    \b
    Example:
      kdelta plan my-series/ --arch x86_64
    """
    todo = _plan(_request(cache_dir, **asked))
    rows = [
        {"cell": str(cell), "build": "cached" if kbuild.find(order, cache_dir) else "to be built"}
        for cell, order in todo.orders.items()
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


@main.command()
@options.of_request
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.pass_obj
def build(cache_dir: Path, /, out: Path | None, **asked: Any) -> int:
    """Build both kernels of SERIES and open a run directory for the stages that follow.

    \b
    Example:
      kdelta build && kdelta boot && kdelta test && kdelta diff && kdelta report
    """
    with _start(_request(cache_dir, **asked), out) as started:
        pipeline.build(started)
    click.echo(show.builds(started.run, started.directory))
    return 1 if any(record.error for record in started.run.builds) else 0


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def boot(directory: Path | None) -> int:
    """Boot what RUN built, on both sides, and say how that went. RUN is a run's directory; the newest by default.

    \b
    Example:
      kdelta boot results/20260101-120000-my-series
    """
    return _booted(_tested(directory, suites=False))


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def test(directory: Path | None) -> int:
    """Boot what RUN built and run the suites on both sides.

    \b
    Example:
      kdelta test && kdelta diff
    """
    return _booted(_tested(directory, suites=True))


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def diff(directory: Path | None, as_json: bool) -> int:
    """Compare what the guests of RUN gave, and judge.

    \b
    Example:
      kdelta diff results/20260101-120000-my-series
    """
    with _resume(directory) as resumed:
        pipeline.compare(resumed)
    return _answer(resumed.run, resumed.directory, as_json=as_json)


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def report(directory: Path | None) -> None:
    """Write RUN's report.html again from its run.json.

    \b
    Example:
      kdelta report && xdg-open results/*/report.html
    """
    where = _run_directory(directory)
    click.echo(store.save_report(html.render(store.load(where), where), where))


@main.command()
@click.option("--arch", "arch_name", default="x86_64", show_default=True, help="Which architecture.")
@click.option("--side", type=click.Choice([side.value for side in Side]), default="patched", show_default=True)
@click.option("--flavour", default="fast", show_default=True, help="Which flavour.")
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def shell(cache_dir: Path, arch_name: str, side: str, flavour: str, directory: Path | None) -> int:
    """Boot one kernel of RUN with a shell on its console, on this terminal. `exit` ends it.

    \b
    Example:
      kdelta shell --arch arm64 --side base
    """
    where = store.cell_directory(_run_directory(directory), Cell(Side(side), arch_name, flavour))
    image = where / "image"
    if not image.is_file():
        raise UserError(f"{where} holds no kernel", hint="`kdelta boot` puts them there")
    arch = get_arch(arch_name)
    choice = accel.choose(arch, lambda: image, cache_dir)
    return guest.interact(Machine(arch, image, rootfs.build(arch, cache_dir), choice.used))


@main.command("doctor")
@click.pass_obj
def doctor_(cache_dir: Path) -> int:
    """Say whether this machine is fit: tools, compilers, accelerator (proven by a boot), disk, memory.

    \b
    Example:
      kdelta doctor
    """
    findings = doctor.examine(cache_dir)
    click.echo(show.findings(findings))
    return EXIT_USAGE if any(finding.remedy and finding.fatal for finding in findings) else 0


@main.command()
@click.option("--free", is_flag=True, help="Free it, instead of saying what would be freed.")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True, help="Keep what was used since.")
@click.option("--size", type=click.FloatRange(0), metavar="GIB", help="Keep no more than this, the last used.")
@click.pass_obj
def gc(cache_dir: Path, free: bool, days: int, size: float | None) -> None:
    """Say how large the cache is and what can go from it; what a run uses stays.

    \b
    Examples:
      kdelta gc
      kdelta gc --free --days 7 --size 20
    """
    found, age = sweep.survey(cache_dir), days * 86400.0
    most = None if size is None else int(size * (1 << 30))
    less = sweep.free(found, age=age, most=most) if free else sweep.sum_by_part(found.stale(age, most))
    click.echo(show.sizes(cache_dir, found.sizes, less, removed=free))


@main.command()
@click.option("--force", is_flag=True, help="Replace the file that is there.")
def init(force: bool) -> None:
    """Write a commented pipeline.yaml into the current directory.

    \b
    Example:
      kdelta init && $EDITOR pipeline.yaml && kdelta run
    """
    target = Path("pipeline.yaml")
    if target.exists() and not force:
        raise UserError(f"{target.resolve()} is there already", hint="--force replaces it")
    shutil.copyfile(config.share() / "pipeline.yaml", target)
    click.echo(target.resolve())


@main.command()
@click.argument("name", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(name: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      eval "$(kdelta completion bash)"
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(name)
    assert found
    click.echo(found(main, {}, "kdelta", "_KDELTA_COMPLETE").source())


def _request(cache_dir: Path, *, verbose: bool, **asked: Any) -> Request:
    if verbose:
        _log(verbose)
    return request.make(cache_dir, **asked)


def _plan(asked: Request) -> Plan:
    """Plan what was asked for; a series on standard input is read here."""
    piped = asked.pipeline.series == "-"
    return plan.make(asked, mail.read_bytes(_stdin(), "standard input") if piped else None)


def _stdin() -> bytes:
    try:
        if sys.stdin is None:  # so Python starts where the shell has closed it
            raise OSError(errno.EBADF, "it is closed")
        return sys.stdin.buffer.read()
    except OSError as fault:
        message = f"the series cannot be read from standard input: {fault.strerror}"
        raise UserError(message, hint="pipe it in, or name its file") from fault


@contextlib.contextmanager
def _start(asked: Request, out: Path | None) -> Iterator[Job]:
    """Plan, make the run's directory, and work there."""
    if not asked.pipeline.unsandboxed:
        sandbox.require()
    todo = _plan(asked)
    results = (config.share() if Path(asked.near) == config.share() else Path.cwd()) / "results"
    title, now = todo.applied.series.title, datetime.datetime.now().astimezone()
    directory = store.given_directory(out) if out else store.new_directory(results, title, now)
    with show.Board() as board, job.start(todo, directory, board.tell) as started:
        yield started
    if any(not build.cached for build in started.run.builds):
        cache.let_go()
        sweep.trim(todo.cache_dir, int(asked.pipeline.limits.cache_gib * (1 << 30)))


@contextlib.contextmanager
def _resume(directory: Path | None) -> Iterator[Job]:
    """Go on with a saved run."""
    with show.Board() as board, job.resume(_run_directory(directory), board.tell) as resumed:
        yield resumed


def _tested(directory: Path | None, *, suites: bool) -> Run:
    with _resume(directory) as resumed:
        todo = resumed.plan
        job_ = resumed if suites else replace(resumed, plan=todo.without_suites())

        def work(lane: Lane) -> None:
            built = {cell: kbuild.find(todo.orders[cell], todo.cache_dir) for cell in cells(lane)}
            ready = {cell: kernel for cell, kernel in built.items() if kernel}
            if not ready:
                raise UserError(f"nothing is built for {lane}", hint="`kdelta build` first")
            pipeline.test(job_, lane, ready)

        pipeline.each(job_, work)
    return resumed.run


def _booted(run: Run) -> int:
    click.echo(show.guests(run))
    return 0 if all(record.outcome is GuestOutcome.OK for record in run.guests) else 1


def _answer(run: Run, directory: Path, *, as_json: bool) -> int:
    page = store.save_report(html.render(run, directory), directory)
    if as_json:
        click.echo((directory / store.RECORD).read_text(encoding="utf-8"), nl=False)
    else:
        click.echo(text.summary(run, page), nl=False)
    value = run.verdict.value if run.verdict else VerdictValue.INCONCLUSIVE
    return value.exit_code


def _run_directory(directory: Path | None) -> Path:
    if directory:
        return directory.resolve()
    for results in (Path.cwd() / "results", config.share() / "results"):
        with contextlib.suppress(UserError):
            return store.newest(results)
    raise UserError("there is no run here yet", hint="`kdelta run` makes one; or name a run's directory")
