"""A worker, and a scheduler: what `kdelta worker` and `kdelta scheduler` run until they are told to end."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvm import proc
from orchestrator import places
from orchestrator.cluster import hand, tls
from orchestrator.cluster.ability import BUILD, GUESTS, MEMORY, Ability
from orchestrator.cluster.forks import Forks

if TYPE_CHECKING:
    from distributed import Worker

log = logging.getLogger(__name__)

_SERVE = """from orchestrator.cluster import ability, forks, task
from orchestrator.cli import entry
ability.code()  # of what is loaded, whatever becomes of the files
forks.serve(entry)"""
_AGAIN_SECONDS = 2.0  # until a scheduler that was lost is tried again
SETTINGS = {
    "distributed.scheduler.worker-ttl": "60s",  # who is cut off for longer has lost what it did
    "distributed.scheduler.allowed-failures": 2,  # the third worker that dies with an errand was the last one
    "distributed.admin.low-level-log-length": 500,  # of what is said of errands
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.tcp": "30s",
    "distributed.worker.daemon": False,
}


@dataclass(frozen=True)
class Offer:
    """What a worker offers: its abilities, and how many builds and how many lanes' guests it does at once."""

    abilities: tuple[Ability, ...]
    builds: int = 1
    lanes: int = 1

    @property
    def threads(self) -> int:
        """One for each errand that it does at once."""
        return self.builds + self.lanes

    @property
    def resources(self) -> dict[str, float]:
        """The same in Dask's words."""
        counts = {BUILD: float(self.builds), GUESTS: float(self.lanes)}
        able = {one.tag: counts[one.kind] for one in self.abilities}
        return {**able, **counts, MEMORY: float(places.free_mib())}


def command(cache_dir: Path) -> list[str]:
    """The process that forks those which do errands: `kdelta errand`, but for store, hash and name."""
    program = [sys.executable, "-c", _SERVE]
    return [*program, "--cache-dir", str(cache_dir), "errand"]


def equip(worker: "Worker", offer: Offer, forks: Forks) -> None:
    """Make a worker of Dask's, before it registers, one that does errands by `forks`."""
    setattr(worker, hand.OURS, forks)
    worker.startup_information[hand.OURS] = lambda _: [one.plain() for one in offer.abilities]
    for resources in (worker.state.total_resources, worker.state.available_resources):
        resources.update(offer.resources)


def work(url: str, certificates: Path, offer: Offer, argv: Sequence[str], name: str | None = None) -> None:
    """Work for a scheduler until a stop request; one that is gone is waited for. `argv` is what forks errands."""
    with contextlib.closing(Forks(argv)) as forks:
        _run(_work(url, certificates, offer, forks, name))


def schedule(url: str, certificates: Path) -> None:
    """Be the scheduler at `url` until a stop request."""
    _run(_schedule(url, certificates))


async def _work(url: str, certificates: Path, offer: Offer, forks: Forks, name: str | None) -> None:
    from distributed import Worker  # noqa: PLC0415

    security = tls.security(url, certificates)
    while not proc.stop.is_set():
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            worker = Worker(
                url,
                name=name,
                security=security,
                nthreads=offer.threads,
                host=None if security else "127.0.0.1",
                dashboard=False,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
            )
            equip(worker, offer, forks)
            await _until_stopped(_worked(worker, url))
        await _until_stopped(asyncio.sleep(_AGAIN_SECONDS))


async def _worked(worker: "Worker", url: str) -> None:
    async with worker:  # which waits for a scheduler
        log.warning("works for %s", url)
        await worker.finished()


async def _schedule(url: str, certificates: Path) -> None:
    from distributed import Scheduler  # noqa: PLC0415

    from orchestrator.cluster.stealing import EXTENSIONS  # noqa: PLC0415

    security, where = tls.security(url, certificates), urlsplit(url)
    async with Scheduler(
        protocol=where.scheme,
        host=where.hostname,
        port=8786 if where.port is None else where.port,
        security=security,
        extensions=EXTENSIONS,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    ) as scheduler:
        log.warning("schedules at %s", scheduler.address)
        await _until_stopped(scheduler.finished())


async def _stopped() -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(proc.stop.fd, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(proc.stop.fd)


async def _until_stopped(work: Coroutine[object, object, None]) -> None:
    """Do it, unless a stop request ends it; raises what it raises."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(_stopped())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopped):
        task.cancel()
    await asyncio.wait([working, stopped])
    if not working.cancelled():
        working.result()


def _run(main: object) -> None:
    import dask  # noqa: PLC0415

    with dask.config.set(SETTINGS):
        asyncio.run(main)  # type: ignore[arg-type]
