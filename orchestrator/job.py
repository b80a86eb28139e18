"""A run that is being worked on: its plan, its record on disk, the machine it runs on."""

import contextlib
import datetime
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk, proc, snapshot
from kvm.arch import get as get_arch
from kvm.errors import UserError
from kvm.snapshot import Take
from orchestrator import config, places, plan, store
from orchestrator.build import toolchain
from orchestrator.engine import Engine
from orchestrator.intake import cover, git
from orchestrator.model import Cell, HostFacts, KernelSource, Run, RunStatus
from orchestrator.places import Places
from orchestrator.plan import Plan
from orchestrator.publish import recipe
from orchestrator.request import Request
from orchestrator.store import Recorder

Watch = Callable[[Cell, str], None]
MakeEngine = Callable[[Places], Engine]

_REQUEST = "request.json"


@dataclass(frozen=True)
class Job:
    """What every stage needs. `watch` is told what a cell does now; `take` boots those not yet `done`."""

    plan: Plan
    recorder: Recorder
    engine: Engine
    watch: Watch
    take: Take
    done: frozenset[Cell] = frozenset()

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.recorder.directory

    @property
    def run(self) -> Run:
        """The record as it stands."""
        return self.recorder.run


@contextlib.contextmanager
def start(
    todo: Plan, directory: Path, watch: Watch, take: Take = snapshot.take, engine: MakeEngine = Engine
) -> Iterator[Job]:
    """Write the first record of a new run into `directory`, and lend the job; the record says how it ended."""
    with _alone(directory):
        record = _first_record(todo, directory.name)
        store.vacate(directory)
        with _working(todo, Recorder(record, directory), watch, take, engine) as job:
            _save_diff(job)
            _save_recipe(todo, directory)
            yield job


@contextlib.contextmanager
def resume(directory: Path, watch: Watch, take: Take = snapshot.take, engine: MakeEngine = Engine) -> Iterator[Job]:
    """Plan again what the run in `directory` was asked to do, and lend the job to go on with it."""
    with _alone(directory):
        recorder = Recorder(store.load(directory), directory)
        with _working(planned(directory), recorder, watch, take, engine) as job:
            yield job


def resumable(directory: Path) -> bool:
    """Is it a run that can be gone on with?"""
    return all((directory / name).is_file() for name in (store.RECORD, _REQUEST))


def planned(directory: Path) -> Plan:
    """Plan again what the run in `directory` was asked to do."""
    return plan.make(asked(directory))


def asked(directory: Path) -> Request:
    """What the run in `directory` was asked to do."""
    try:
        return TypeAdapter(Request).validate_json((directory / _REQUEST).read_bytes())
    except (OSError, ValueError) as fault:
        raise UserError(f"{directory / _REQUEST}: {fault}", hint="`kdelta build` opens a run directory") from fault


@contextlib.contextmanager
def _working(todo: Plan, recorder: Recorder, watch: Watch, take: Take, make: MakeEngine) -> Iterator[Job]:
    began = time.monotonic()
    engine = make(places.of_machine(todo.request.pipeline.limits.guests, todo.cache_dir))
    status = RunStatus.INTERRUPTED
    try:
        with disk.hold(*todo.entries):
            yield Job(todo, recorder, engine, watch, take)
        status = RunStatus.DONE
    finally:
        engine.close()
        spent = round((recorder.run.wall_seconds or 0) + time.monotonic() - began, 3)
        recorder.update(status=status, finished=_now(), wall_seconds=spent)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other kdeltas from the run; the lock ends with the process, however that ends."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(disk.alone(directory.resolve()))
        except BlockingIOError as fault:
            raise UserError(f"{directory}: another kdelta works on this run", hint="wait until it has ended") from fault
        except OSError as fault:
            raise UserError(f"{directory}: {fault.strerror}", hint="name the directory of a run") from fault
        yield


def _first_record(todo: Plan, name: str) -> Run:
    """What is known of a run before anything is done; raises UserError for a tool that is missing."""
    return Run(
        id=name,
        status=RunStatus.RUNNING,
        started=_now(),
        finished=None,
        wall_seconds=None,
        command=("kdelta", *sys.argv[1:]),
        series=todo.applied.series,
        kernel=KernelSource(todo.source.spec, todo.source.release, todo.source.commit, todo.base, todo.reverted),
        host=_host(todo),
        notes=todo.notes,
    )


def _save_diff(job: Job) -> None:
    """Put all that the series does into the run; two commits may have more between them than a series may hold."""
    diff, most = job.plan.diff(3), job.plan.request.pipeline.accept.series_size
    if len(diff) > most:
        job.recorder.note(f"the patch is not shown: it has {len(diff):,} bytes, and accept.series_size is {most:,}")
    else:
        disk.write(job.directory / store.DIFF, diff)


def _save_recipe(todo: Plan, directory: Path) -> None:
    """Put all that repeats the run into it: the series as it was applied, what it declares, pipeline.yaml, a script."""
    if todo.request.pipeline.whole:
        series = ours = f"{todo.source.commit}..{todo.applied.commits[-1]}"
        commit = None
    else:
        _save_series(todo, directory / "series")
        series, ours = "series", str(directory / "series")
        commit = todo.base.commit if todo.source.spec.startswith("git:") else None
    asked = todo.request.pipeline.model_copy(update={"series": series, "base": commit, "nightly": None})
    # who repeats it tells nobody; and this file travels in the report, while an address may be a secret
    named = list(map(config.suite_name, asked.suites))
    quiet = asked.model_copy(update={"report": asked.report.at_home(), "suites": named})
    disk.write(directory / "pipeline.yaml", recipe.pipeline(quiet.model_dump(exclude_none=True)))
    script = directory / "reproduce.sh"
    disk.write(script, recipe.SCRIPT)
    script.chmod(0o755)
    # a later stage plans from what was read now: a branch moves, standard input is gone
    again = todo.request.model_copy(update={"pipeline": asked.model_copy(update={"series": ours})})
    store.save_json(directory / _REQUEST, again.model_dump())


def _save_series(todo: Plan, into: Path) -> None:
    into.mkdir()
    numbered = ["--numbered"] if todo.cover else []  # below a cover letter a single patch, too, is 1/1
    git.Repository(todo.source.git_dir).run(
        *("format-patch", "--quiet", "--binary", "--no-signature", *numbered),
        *("-o", into),
        f"{todo.source.commit}..{(todo.source.commit, *todo.applied.commits)[-1]}",
    )
    written = sum(1 for _ in into.glob("*.patch"))  # a patch that changes nothing is not
    if todo.cover and written:
        disk.write(into / cover.NAME, cover.write(todo.cover, written))
    if todo.expect_file:
        shutil.copyfile(todo.expect_file, into / "expect.yaml")  # a link would change with the user's


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="seconds")


def _host(todo: Plan) -> HostFacts:
    arches = todo.request.pipeline.arches
    qemu = {name: proc.check([get_arch(name).qemu, "--version"], timeout=30).splitlines()[0] for name in arches}
    return HostFacts(
        os.cpu_count() or 1,
        qemu,
        {name: toolchain.find(name, todo.request.pipeline.toolchain).version for name in arches},
    )
