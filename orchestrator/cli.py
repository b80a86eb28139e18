"""kdelta's commands: the only place that reads flags, prints answers, and exits."""

import contextlib
import datetime
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from kvm import accel, guest, proc, rootfs
from kvm.arch import get as get_arch
from kvm.errors import Error, InfraError, Interrupted, UserError
from kvm.qemu import Machine
from orchestrator import cache, config, doctor, pipeline, plan, show, store
from orchestrator.build import kbuild, sandbox, toolchain
from orchestrator.engine import Engine
from orchestrator.intake import source
from orchestrator.model import Cell, HostFacts, KernelSource, Run, RunStatus, Side, VerdictValue
from orchestrator.plan import Plan, Request
from orchestrator.publish import clean, html, text
from orchestrator.store import Recorder

EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 2, 125, 130
_REQUEST = "request.json"


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
        _explain(
            InfraError(f"{fault.filename or 'the system'}: {fault.strerror}", hint="is the disk full or read-only?")
        )
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
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for every process that is started.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Instead of $KDELTA_CACHE or ~/.cache/kdelta.")
@click.pass_context
def main(context: click.Context, verbose: int, cache_dir: Path | None) -> None:
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


def _log(verbose: int) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


def _request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what to validate."""
    for decorator in (
        click.option("-v", "--verbose", count=True, help="Say more on stderr."),
        click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="make -j."),
        click.option("--suite", "suites", multiple=True, help="Guest tests to run: a name or a path. Repeatable."),
        click.option("--arch", "arches", multiple=True, help="x86_64 or arm64. Repeatable."),
        click.option("--base", help="The commit of a git: source to apply the series to. [default: HEAD]"),
        click.option("--kernel", help=f"The tree: {source.FORMS}."),
        click.option("--config", "file", type=click.Path(path_type=Path), help="Instead of ./pipeline.yaml."),
        click.argument("series", required=False),
    ):
        command = decorator(command)
    return command


@main.command()
@_request_options
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
@click.pass_obj
def run(cache_dir: Path, /, out: Path | None, as_json: bool, **asked: Any) -> int:
    """Build, boot and test both kernels, and say what SERIES changes.

    SERIES is the name of a bundled series, a directory of patches, or an mbox; pipeline.yaml's if it is left out.

    \b
    Examples:
      kdelta run
      kdelta run 0001-my.patch --kernel git:~/linux --base v5.10 --arch x86_64
      kdelta run --json | jq .verdict
    """
    with _open(_request(cache_dir, **asked), out) as (todo, recorder, engine, board):
        pipeline.validate(todo, recorder, engine, board.tell)
    return _answer(recorder, as_json=as_json)


@main.command("plan")
@_request_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def plan_(cache_dir: Path, /, as_json: bool, **asked: Any) -> None:
    """Say what `run` would do and what is cached already; builds and boots nothing.

    \b
    Example:
      kdelta plan my-series/ --arch x86_64
    """
    todo = plan.make(_request(cache_dir, **asked))
    rows = [
        {"cell": str(cell), "build": "cached" if kbuild.find(order, cache_dir) else "to be built"}
        for cell, order in todo.orders.items()
    ]
    facts = {
        "series": todo.applied.series.title,
        "patches": [patch.subject for patch in todo.applied.series.patches],
        "kernel": f"{todo.source.release} ({todo.source.spec})",
        "suites": [suite.name for suite in todo.suites],
        "noop": todo.empty,
        "cells": rows,
    }
    click.echo(json.dumps(facts, indent=1) if as_json else show.plan(facts))


@main.command()
@_request_options
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.pass_obj
def build(cache_dir: Path, /, out: Path | None, **asked: Any) -> int:
    """Build both kernels of SERIES and open a run directory for the stages that follow.

    \b
    Example:
      kdelta build && kdelta boot && kdelta test && kdelta diff && kdelta report
    """
    with _open(_request(cache_dir, **asked), out) as (todo, recorder, engine, board):
        pipeline.each(todo, engine, lambda arch: pipeline.build(todo, arch, recorder, engine, board.tell))
    click.echo(show.builds(recorder.run, recorder.directory))
    return 1 if any(record.error for record in recorder.run.builds) else 0


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def boot(directory: Path | None) -> int:
    """Boot what RUN built, on both sides, and say how that went. RUN is a run's directory; the newest by default.

    \b
    Example:
      kdelta boot results/20260101-120000-my-series
    """
    recorder = _tested(directory, suites=False)
    click.echo(show.guests(recorder.run))
    return 0 if all(record.outcome == "ok" for record in recorder.run.guests) else 1


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def test(directory: Path | None) -> int:
    """Boot what RUN built and run the suites on both sides.

    \b
    Example:
      kdelta test && kdelta diff
    """
    recorder = _tested(directory, suites=True)
    click.echo(show.guests(recorder.run))
    return 0 if all(record.outcome == "ok" for record in recorder.run.guests) else 1


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def diff(directory: Path | None, as_json: bool) -> int:
    """Compare what the guests of RUN gave, and judge.

    \b
    Example:
      kdelta diff results/20260101-120000-my-series
    """
    with _reopen(directory) as (todo, recorder, engine, _):
        pipeline.compare(todo, recorder, engine)
    return _answer(recorder, as_json=as_json)


@main.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def report(directory: Path | None) -> None:
    """Write RUN's report.html again from its run.json.

    \b
    Example:
      kdelta report && xdg-open results/*/report.html
    """
    where = _run_directory(directory)
    click.echo(html.write(store.load(where), where))


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
@click.pass_obj
def gc(cache_dir: Path, free: bool, days: int) -> None:
    """Say how large the cache is and what can go from it.

    \b
    Examples:
      kdelta gc
      kdelta gc --free --days 7
    """
    click.echo(show.sizes(cache_dir, cache.sweep(cache_dir, days * 86400.0, remove=free), removed=free))


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


def _request(  # noqa: PLR0913
    cache_dir: Path,
    *,
    series: str | None,
    file: Path | None,
    kernel: str | None,
    base: str | None,
    arches: tuple[str, ...],
    suites: tuple[str, ...],
    jobs: int,
    verbose: int,
) -> Request:
    """Put the options over what pipeline.yaml says."""
    if verbose:
        _log(verbose)
    path = file or (Path("pipeline.yaml") if Path("pipeline.yaml").is_file() else config.share() / "pipeline.yaml")
    found = config.load(path.absolute())
    near = Path.cwd() if not file and not Path("pipeline.yaml").is_file() else path.absolute().parent
    # what stands on the command line is relative to where we are, what stands in the file to the file
    given = {
        "series": str(config.find_series(series, Path.cwd())) if series else None,
        "kernel": _absolute(kernel, Path.cwd()) if kernel else _absolute(found.kernel, near),
        "base": base,
        "arches": list(arches) or None,
        "suites": [str(config.find_suite(name, Path.cwd())) for name in suites] or None,
    }
    for arch in arches:
        get_arch(arch)
    changes = {name: value for name, value in given.items() if value is not None}
    return Request(pipeline=found.model_copy(update=changes), near=str(near), cache=str(cache_dir), jobs=jobs)


def _absolute(kernel: str, near: Path) -> str:
    kind, _, rest = kernel.partition(":")
    return f"{kind}:{(near / Path(rest).expanduser()).resolve()}" if kind in ("git", "tar") and rest else kernel


@contextlib.contextmanager
def _open(request: Request, out: Path | None) -> Iterator[tuple[Plan, Recorder, Engine, show.Board]]:
    """Plan, open a run directory with its record, and lend the engine; the record says how it ended on every path."""
    sandbox.require()
    todo = plan.make(request)
    now = datetime.datetime.now(datetime.UTC).astimezone()
    results = (config.share() if Path(request.near) == config.share() else Path.cwd()) / "results"
    series = todo.applied.series
    directory = store.given_directory(out) if out else store.new_directory(results, series.title, now)
    store.save_json(directory / _REQUEST, request.model_dump())
    record = Run(
        id=directory.name,
        status=RunStatus.RUNNING,
        started=now.isoformat(timespec="seconds"),
        finished=None,
        wall_seconds=None,
        command=("kdelta", *sys.argv[1:]),
        series=series,
        kernel=KernelSource(todo.source.spec, todo.source.release, todo.source.commit),
        host=_host(todo),
    )
    with _working(todo, Recorder(record, directory)) as engine_and_board:
        yield todo, *engine_and_board


@contextlib.contextmanager
def _reopen(directory: Path | None) -> Iterator[tuple[Plan, Recorder, Engine, show.Board]]:
    """Plan again what a saved run was asked to do, and go on in its directory."""
    where = _run_directory(directory)
    recorder = Recorder(store.load(where), where)
    try:
        request = TypeAdapter(Request).validate_json((where / _REQUEST).read_bytes())
    except (OSError, ValueError) as fault:
        raise UserError(f"{where / _REQUEST}: {fault}", hint="`kdelta build` opens a run directory") from fault
    todo = plan.make(request)
    with _working(todo, recorder) as engine_and_board:
        yield todo, *engine_and_board


@contextlib.contextmanager
def _working(todo: Plan, recorder: Recorder) -> Iterator[tuple[Recorder, Engine, show.Board]]:
    started = time.monotonic()
    engine = Engine(guests=max(2, (os.cpu_count() or 1) // todo.request.pipeline.guest.cpus))
    status = RunStatus.INTERRUPTED
    try:
        with show.Board() as board:
            yield recorder, engine, board
        status = RunStatus.DONE
    finally:
        engine.close()
        spent = round((recorder.run.wall_seconds or 0) + time.monotonic() - started, 3)
        finished = datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="seconds")
        recorder.update(status=status, finished=finished, wall_seconds=spent)


def _tested(directory: Path | None, *, suites: bool) -> Recorder:
    with _reopen(directory) as (todo, recorder, engine, board):

        def work(arch: str) -> None:
            built = {cell: kbuild.find(todo.orders[cell], todo.cache_dir) for cell in todo.cells(arch)}
            ready = {cell: kernel for cell, kernel in built.items() if kernel}
            if not ready:
                raise UserError(f"nothing is built for {arch}", hint="`kdelta build` first")
            pipeline.test(todo if suites else todo.without_suites(), arch, recorder, engine, board.tell, ready)

        pipeline.each(todo, engine, work)
    return recorder


def _answer(recorder: Recorder, *, as_json: bool) -> int:
    run = recorder.run
    page = html.write(run, recorder.directory)
    if as_json:
        click.echo((recorder.directory / store.RECORD).read_text(encoding="utf-8"), nl=False)
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


def _host(todo: Plan) -> HostFacts:
    arches = todo.request.pipeline.arches
    qemu = {name: proc.check([get_arch(name).qemu, "--version"], timeout=30).splitlines()[0] for name in arches}
    return HostFacts(os.cpu_count() or 1, qemu, {name: toolchain.find(name).version for name in arches})
