"""One part of a run as data in, data out: what it is made of is fetched by hash, what it leaves is stored by hash."""

import contextlib
import socket
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from kvm.errors import InfraError
from kvm.snapshot import Take
from orchestrator import places, sides, store, trials
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.order import Order
from orchestrator.cluster import ability, goods
from orchestrator.cluster.blobs import Blobs
from orchestrator.engine import Engine
from orchestrator.intake.source import Source
from orchestrator.job import Job, Watch
from orchestrator.model import Cell, Lane, Run, TimelineEntry, cells
from orchestrator.plan import Plan
from orchestrator.store import Recorder
from orchestrator.trials import Supply

LAID = ("image", "initramfs.cpio")  # what a run directory holds of what it was given


@dataclass(frozen=True)
class Errand:
    """What to do, for one lane: build it, or, with `supplies`, run its guests. Paths are those of who asks.

    `files` has the hash of each of them; `packs` those of the trees, by tree; `accel` is what guests must run under,
    and `code` the kdelta that must do it.
    """

    lane: Lane
    plan: Plan
    orders: tuple[Order, ...]
    run: Run
    packs: dict[str, str]
    code: str
    supplies: tuple[Supply, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    accel: str = ""


@dataclass(frozen=True)
class Told:
    """What came of it: the record, the hash of the files in the run's directory, and the kernels."""

    run: Run
    files: str
    kernels: tuple[KernelBuild, ...]
    timeline: tuple[TimelineEntry, ...]
    seconds: float
    host: str


_ERRAND, _TOLD = TypeAdapter(Errand), TypeAdapter(Told)


def write(errand: Errand, blobs: Blobs) -> str:
    """Store an errand."""
    plain = replace(errand, plan=replace(errand.plan, orders={}))  # keys of JSON are words
    return blobs.put_bytes(_ERRAND.dump_json(plain))


def told(digest: str, blobs: Blobs) -> Told:
    """Read what came of one."""
    return _TOLD.validate_json(blobs.read(digest))


@dataclass(frozen=True)
class Here:
    """The machine that does errands: its cache, and how its guests come up."""

    cache_dir: Path
    take: Take


def do(digest: str, blobs: Blobs, here: Here, directory: Path, watch: Watch) -> str:
    """Do what was written under this hash, in an empty directory, and return the hash of what is to be told."""
    errand = _ERRAND.validate_json(blobs.read(digest))
    if errand.code != ability.code():
        raise InfraError(f"this worker has become {ability.code()}, not {errand.code}", hint="start it anew")
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        job = _job(errand, here, directory, watch, stack)
        built = _guests(job, errand, blobs) if errand.supplies else _build(job, errand, blobs)
        said = Told(
            run=job.run,
            files=blobs.put_directory(directory, leave_out=(*LAID, store.RECORD)),
            kernels=built,
            timeline=job.engine.timeline,
            seconds=round(time.monotonic() - began, 3),
            host=socket.gethostname(),
        )
    return blobs.put_bytes(_TOLD.dump_json(said))


def _job(errand: Errand, here: Here, directory: Path, watch: Watch, stack: contextlib.ExitStack) -> Job:
    """The run as it is told here: its own directory, this machine's cache and places."""
    request = errand.plan.request.model_copy(update={"cache": str(here.cache_dir), "jobs": places.processors()})
    orders = {order.cell: replace(order, jobs=request.jobs) for order in errand.orders}
    engine = Engine(places.of_machine(errand.plan.request.pipeline.limits.guests, here.cache_dir))
    stack.callback(engine.close)
    return Job(
        replace(errand.plan, request=request, orders=orders), Recorder(errand.run, directory), engine, watch, here.take
    )


def _build(job: Job, errand: Errand, blobs: Blobs) -> tuple[KernelBuild, ...]:
    """Build both sides, but what the store has; each is stored as soon as it is there, for whoever builds it again.

    That is also where this machine has it of another run: the store may be another one, or have been tidied up.
    """
    source = goods.take_trees(errand.plan.source, errand.packs, blobs, job.plan.cache_dir)
    orders = {cell: _moved(order, source) for cell, order in job.plan.orders.items()}
    for cell in cells(errand.lane):
        goods.take_build(orders[cell], job.plan.cache_dir, blobs)

    def watch(cell: Cell, stage: str) -> None:
        if stage in sides.THERE:
            goods.send_build(orders[cell], job.plan.cache_dir, blobs)
        job.watch(cell, stage)

    moved = replace(job, plan=replace(job.plan, source=source, orders=orders), watch=watch)
    return tuple(sides.build(moved, errand.lane).values())


def _moved(order: Order, source: Source) -> Order:
    return replace(order, source=source, start=_moved(order.start, source) if order.start else None)


def _guests(job: Job, errand: Errand, blobs: Blobs) -> tuple[KernelBuild, ...]:
    with tempfile.TemporaryDirectory(prefix="kdelta-supplies-") as scratch:
        trials.run(job, errand.lane, tuple(_taken(one, errand.files, blobs, Path(scratch)) for one in errand.supplies))
    used = job.run.host.accel[errand.lane.arch].used
    if used != errand.accel:
        raise InfraError(f"guests ran under {used}, not under {errand.accel}", hint="start this worker anew")
    return ()


def supplied(supply: Supply) -> tuple[Path, ...]:
    """The files that a cell's guests are made of."""
    kernel = supply.kernel
    return kernel.image, kernel.config, supply.initrd, *(payload.archive for payload in supply.payloads)


def _taken(supply: Supply, files: dict[str, str], blobs: Blobs, scratch: Path) -> Supply:
    """The same, of files that are here."""
    top = scratch / supply.kernel.cell.side
    places = {path: top / files[str(path)] / path.name for path in supplied(supply)}  # several have one name
    kernel = supply.kernel
    places |= {path: top / path.name for path in (kernel.image, kernel.config)}
    for path, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        blobs.fetch(files[str(path)], place)
    payloads = tuple(replace(payload, archive=places[payload.archive]) for payload in supply.payloads)
    return Supply(replace(kernel, directory=top), payloads, places[supply.initrd])
