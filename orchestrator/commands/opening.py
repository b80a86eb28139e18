"""What commands begin and end with: a request read, a run opened, new or saved, and its answer printed."""

import contextlib
import datetime
import errno
import json
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvm import disk, proc
from kvm.errors import Interrupted, UserError
from orchestrator import actions, cache, config, hooks, job, plan, request, show, store, sweep
from orchestrator.build import sandbox
from orchestrator.engine import Engine
from orchestrator.intake import letters, mail
from orchestrator.job import Job, MakeEngine
from orchestrator.model import Run
from orchestrator.plan import Plan
from orchestrator.publish import digest, formats, html, text
from orchestrator.publish.formats import FORMATS
from orchestrator.request import Request

if TYPE_CHECKING:
    from orchestrator.cluster.where import Where
    from orchestrator.history.book import Book

log = logging.getLogger(__name__)

NO_HISTORY = "off"


def asked(cache_dir: Path, *, verbose: bool, **options: Any) -> Request:
    """Return what the options of a command ask for."""
    if verbose:
        show.log(verbose)
    return request.make(cache_dir, **options)


def planned(asked: Request) -> Plan:
    """Plan what was asked for; a series on standard input is read here."""
    piped = asked.pipeline.series == "-"
    return plan.make(asked, mail.read_bytes(_stdin(), "standard input") if piped else None)


def _stdin() -> bytes:
    try:
        if sys.stdin is None:  # so Python starts where the shell has closed it
            raise OSError(errno.EBADF, "it is closed")
        return proc.read(sys.stdin.fileno(), letters.MAX_BYTES + 1)
    except OSError as fault:
        message = f"the series cannot be read from standard input: {fault.strerror}"
        raise UserError(message, hint="pipe it in, or name its file") from fault


@contextlib.contextmanager
def start(asked: Request, out: Path | None, engine: MakeEngine = Engine) -> Iterator[Job]:
    """Plan, make the run's directory, and work there."""
    if not asked.pipeline.unsandboxed:
        sandbox.require()
    todo = planned(asked)
    results = (config.share() if Path(asked.near) == config.share() else Path.cwd()) / "results"
    title, now = todo.applied.series.title, datetime.datetime.now().astimezone()
    directory = store.given_directory(out) if out else store.new_directory(results, title, now)
    with show.Board() as board, reported(job.start(todo, directory, board.tell, engine=engine)) as started:
        yield started
    if any(not build.cached for build in started.run.builds):
        cache.let_go()
        sweep.trim(todo.cache_dir, int(asked.pipeline.limits.cache_gib * (1 << 30)))


def cluster(asked: Request, scheduler: str, files: str | None, certificates: Path | None) -> "Where":
    """Return the cluster that the options name; raises UserError for what cannot be done there."""
    from orchestrator.cluster import tls, where  # noqa: PLC0415  (Dask: half a second, and an extra)

    where.require()
    if not files:
        raise UserError(
            "--scheduler wants --store", hint="name a directory that all machines share, or s3://BUCKET/PATH"
        )
    if asked.pipeline.keep_guest or asked.pipeline.keep_state:
        raise UserError(
            "a guest that is kept would be on another machine",
            hint="leave --keep-guest and --keep-state out, or --scheduler",
        )
    directory = disk.expanded(certificates or tls.default()).absolute()
    tls.security(scheduler, directory)
    return where.Where(scheduler, files if "://" in files else str(Path(files).absolute()), str(directory))


@contextlib.contextmanager
def resume(directory: Path | None, engine: MakeEngine = Engine) -> Iterator[Job]:
    """Go on with a saved run."""
    with show.Board() as board, reported(job.resume(run_directory(directory), board.tell, engine=engine)) as resumed:
        yield resumed


@contextlib.contextmanager
def reported(lent: contextlib.AbstractContextManager[Job]) -> Iterator[Job]:
    """Lend a job; one that is told to stop when it has its verdict leaves the report of that."""
    job: Job | None = None
    try:
        with lent as job:
            yield job
    except Interrupted:
        if job and job.run.verdict:
            publish(job)
        raise


def answer(job: Job, *, as_json: bool, to_patchwork: bool = False) -> int:
    """Write the history and the report, print the summary or run.json, tell others, and return the exit code."""
    run, directory = job.run, job.directory
    remember(run, directory)
    page = publish(job)
    if as_json:
        # all but ASCII is escaped: what guests and patches say may go to a terminal
        words = json.dumps(json.loads((directory / store.RECORD).read_bytes()), indent=1)
        click.echo(words.replace("##[", "#\\u0023["))  # the same to a reader, and no command to GitHub's runner
    else:
        click.echo(actions.harmless(text.summary(run, page)), nl=False)
    actions.tell(run)
    hooks.tell(run, directory, job.plan.request.pipeline.report, to_patchwork=to_patchwork)
    return digest.exit_code(run)


def publish(job: Job) -> Path:
    """Write the report in all its forms, and return the page's path."""
    wanted = job.plan.request.pipeline.report
    for name in wanted.formats:
        disk.write(job.directory / FORMATS[name].file, formats.write(name, job.run, wanted.origin))
    return store.save_report(html.render(job.run, job.directory), job.directory)


def history() -> "contextlib.AbstractContextManager[Book]":
    """Open the history that --history names, else the one of the results that are here."""
    from orchestrator.history import book  # noqa: PLC0415  (sqlalchemy: 0.3 s that most commands do without)

    if (named := _history()) == NO_HISTORY:
        raise UserError("the history is off", hint="--history or $KDELTA_HISTORY names a file or a URL")
    return book.opened(named)


def remember(run: Run, directory: Path) -> None:
    """Add a run to the history. Whatever goes wrong with that is a warning: the run is whole without it."""
    if _history() == NO_HISTORY:
        return
    try:
        from orchestrator.history import write  # noqa: PLC0415

        with history() as book:
            write.add(book, run, directory)
    except Exception as fault:  # a verdict must not depend on it
        words = getattr(fault, "message", None) or f"{type(fault).__name__}: {fault}"
        again = shlex.join(["kdelta", "history", "--add", str(directory)])
        log.warning("the run is not in the history: %s\n  when that is mended: %s", words, again)


def write_index(book: "Book", results: Path) -> Path:
    """Write the page of all runs, and return its path."""
    from orchestrator.history import ask, flaky  # noqa: PLC0415
    from orchestrator.publish import index  # noqa: PLC0415

    page = results / "index.html"
    disk.write(page, index.render(ask.trends(book, index.MOST_RUNS), flaky.flakes(book), results))
    return page


def _history() -> str:
    named: str = click.get_current_context().meta["history"]
    return named


def run_directory(directory: Path | None) -> Path:
    """Return the run that is named, or the newest one that is here."""
    if directory:
        return directory.resolve()
    for results in (Path.cwd() / "results", config.share() / "results"):
        with contextlib.suppress(UserError):
            return store.newest(results)
    raise UserError("there is no run here yet", hint="`kdelta run` makes one; or name a run's directory")
