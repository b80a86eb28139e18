"""Makes a worker that something else starts one of kdelta's: `dask worker --preload orchestrator.cluster.preload`.

So dask-jobqueue and dask-kubernetes start them; the worker's threads are one for a build, one for guests.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvm.errors import UserError
from orchestrator import cache
from orchestrator.cluster import ability, worker
from orchestrator.cluster.forks import Forks
from orchestrator.post import is_loopback

if TYPE_CHECKING:
    from distributed import Worker


async def dask_setup(theirs: "Worker") -> None:
    """Equip it with what this machine can do; raises UserError where plaintext would leave the machine."""
    address = urlsplit(theirs.scheduler.address)
    if address.scheme != "tls" and not is_loopback(address.hostname or ""):
        raise UserError(f"{theirs.scheduler.address}: without TLS anybody who reaches it can run programs here")
    root = cache.default_root()
    worker.equip(theirs, worker.Offer(tuple(ability.found(root))), Forks(worker.command(root)))
