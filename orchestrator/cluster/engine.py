"""The engine of several machines: parts of the story become errands, which Dask hands to workers."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar, cast

from kvm import disk
from kvm.errors import InfraError
from orchestrator import places, sides, store, trials
from orchestrator.build import kbuild
from orchestrator.cluster import ability, blobs, errand, goods
from orchestrator.cluster.ability import Ability
from orchestrator.cluster.blobs import Blobs
from orchestrator.cluster.errand import Errand, Told
from orchestrator.cluster.line import Line
from orchestrator.engine import Engine
from orchestrator.job import Job
from orchestrator.model import Cell, Lane, Run, Side, TimelineEntry, cells
from orchestrator.places import Places
from orchestrator.trials import Supply

BUILD_MIB = 2048.0  # what a build leaves nobody else; the linker of a large kernel takes most of it

P = ParamSpec("P")
T = TypeVar("T")


class Cluster(Engine):
    """Builds lanes and runs their guests on workers; all else is done here, in threads."""

    def __init__(self, places: Places, line: Line, blobs: Blobs) -> None:
        super().__init__(places)
        self._line = line
        self._blobs = blobs

    def do(self, part: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a part of the story on a worker, if it is one that workers do."""
        away: dict[Any, Callable[..., Any]] = {sides.build: self._build, trials.run: self._guests}
        return cast(T, away[part](*args)) if part in away else part(*args, **kwargs)

    def close(self) -> None:
        """Wait for the threads to end, and hang up."""
        super().close()
        self._line.close()

    def _build(self, job: Job, lane: Lane) -> sides.Built:
        plan = job.plan
        if not plan.between and all(kbuild.find(plan.orders[cell], plan.cache_dir) for cell in cells(lane)):
            return sides.build(job, lane)  # all of it is here
        wanted = ability.building(lane.arch, plan.request.pipeline.toolchain)
        told = self._done(job, self._errand(job, lane, goods.send_trees(plan, self._blobs)), wanted, BUILD_MIB)
        built = {}
        for kernel in told.kernels:
            here = goods.take_build(plan.orders[kernel.cell], plan.cache_dir, self._blobs)
            if here is None:
                raise InfraError(f"{kernel.cell}: {self._blobs.url} has no such build", hint="was it tidied up?")
            built[kernel.cell] = replace(kernel, directory=here.directory)
        return built

    def _guests(self, job: Job, lane: Lane, supplies: tuple[Supply, ...]) -> None:
        files = {str(path): self._blobs.put(path) for one in supplies for path in errand.supplied(one)}
        mib = _memory_mib(job, supplies)
        accel = self._line.best([ability.running(lane.arch, means) for means in ("kvm", "tcg")], mib)
        asked = replace(self._errand(job, lane, {}), supplies=supplies, files=files, accel=accel.means)
        self._done(job, asked, accel, mib)
        for one in supplies:  # by hand a guest is booted from here
            where = store.cell_directory(job.directory, one.kernel.cell)
            for file, name in zip((one.kernel.image, one.initrd), errand.LAID, strict=True):
                store.place(file, where / name)

    def _errand(self, job: Job, lane: Lane, packs: dict[str, str]) -> Errand:
        return Errand(lane, job.plan, tuple(job.plan.orders.values()), _blank(job.run), packs, ability.code())

    def _done(self, job: Job, asked: Errand, wanted: Ability, mib: float) -> Told:
        """Have it done, unless it was already, for this very run, and put on record what came of it."""
        name = _name(job, asked)
        told = self._told(job, name)
        if told is None:
            written = errand.write(asked, self._blobs)
            with self.task(f"{wanted.kind} {asked.lane}"):
                digest = self._line.do(
                    (self._blobs.url, written, name), wanted, mib, lambda words: _heard(job, asked.lane, words)
                )
            told = errand.told(digest, self._blobs)
        if asked.supplies:
            _forget(job, asked.lane)
        self._blobs.fetch_directory(told.files, job.directory)
        job.recorder.absorb(told.run)
        whole = TimelineEntry(f"{wanted.kind} {asked.lane} on {told.host}", 0.0, told.seconds)
        self.relay((whole, *told.timeline), told.seconds)
        return told

    def _told(self, job: Job, name: str) -> Told | None:
        """What came of an errand that was done already, if the store still has all of it."""
        digest = self._blobs.named(f"told/{name}")
        told = errand.told(digest, self._blobs) if digest else None
        if told is None or not self._blobs.has(told.files):
            return None
        orders = (job.plan.orders[kernel.cell] for kernel in told.kernels)
        return told if all(goods.has_build(one, job.plan.cache_dir, self._blobs) for one in orders) else None


def _name(job: Job, asked: Errand) -> str:
    """Name an errand by its run and by all that it is made of, so that it is found again, and never another."""
    run = (socket.gethostname(), str(job.directory), job.run.started)
    # a tree that is packed again is the same tree
    made_of = sorted(asked.packs), sorted(asked.files.values()), [order.key for order in asked.orders]
    # a run that goes on reads its series from its own directory; what that is, the orders' keys say
    pipeline = asked.plan.request.pipeline.model_dump_json(exclude={"series", "base", "nightly"})
    return blobs.key(run, asked.lane, made_of, pipeline, ability.code())


def _blank(run: Run) -> Run:
    """The head of a record, which a worker fills."""
    return Run(run.id, run.status, run.started, None, None, (), run.series, run.kernel, run.host)


def _memory_mib(job: Job, supplies: tuple[Supply, ...]) -> float:
    """What the first guests of a lane take, one of each side."""
    pipeline, needs = job.plan.request.pipeline, [suite.needs.memory_mib for suite in job.plan.suites]
    return float(len(supplies) * (max(pipeline.guest.memory_mib, *needs) + places.OVERHEAD_MIB))


def _forget(job: Job, lane: Lane) -> None:
    """Remove what guests were heard to say while they ran, also on workers that died: what is kept of it comes whole.

    A console that is none of the guests that are told of would be compared with theirs.
    """
    for cell in cells(lane):
        for path in filter(Path.is_dir, store.cell_directory(job.directory, cell).iterdir()):
            disk.clear(path)


def _heard(job: Job, lane: Lane, words: dict[str, Any]) -> None:
    """Show what a worker's process says while it runs: what a cell does, and what is added to its logs."""
    if "stage" in words:
        side, arch, flavour = words["cell"]
        job.watch(Cell(Side(side), arch, flavour), str(words["stage"]))
        return
    name = PurePosixPath(words["log"])
    if name.parts[:2] not in [(side, str(lane)) for side in Side] or ".." in name.parts:
        raise InfraError(f"a worker names {words['log'][:100]!r} as a log of {lane}")
    path = job.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as log:
        log.truncate(words["at"])  # another worker may have begun it
        log.seek(words["at"])
        log.write(words["text"].encode("latin-1"))
