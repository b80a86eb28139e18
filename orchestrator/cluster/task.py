"""The process that does one errand for a worker: what it says, a line of JSON each, is passed on while it runs."""

import contextlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from kvm.errors import InfraError, UserError
from orchestrator.cluster import errand
from orchestrator.cluster.blobs import Blobs
from orchestrator.cluster.errand import Here
from orchestrator.model import Cell

_TICK_SECONDS = 0.5
_MOST_BYTES = 1 << 15  # of one log in one tick; the whole of it comes at the end


def run(url: str, digest: str, name: str, here: Here) -> int:
    """Do it, and say the hash of what came of it, or whose fault it is that nothing did."""
    blobs = Blobs(url)
    with tempfile.TemporaryDirectory(prefix="kdelta-errand-") as scratch:
        directory = Path(scratch) / "run"
        directory.mkdir()
        try:
            with _followed(directory):
                told = errand.do(digest, blobs, here, directory, _watch)
        except (UserError, InfraError) as fault:
            _say(fault=[type(fault).__name__, fault.message, fault.hint])
            return 1
    blobs.name(f"told/{name}", told)
    _say(told=told)
    return 0


def _watch(cell: Cell, stage: str) -> None:
    _say(cell=[cell.side, cell.arch, cell.flavour], stage=stage)


_lock = threading.Lock()


def _say(**words: object) -> None:
    with _lock:
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _followed(directory: Path) -> Iterator[None]:
    """Say what is added to the logs in the directory, for as long as the block lasts."""
    over = threading.Event()
    follower = threading.Thread(target=_follow, args=(directory, over), daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()


def _follow(directory: Path, over: threading.Event) -> None:
    seen: dict[Path, int] = {}
    while not over.wait(_TICK_SECONDS):
        for path in directory.rglob("*.log"):
            with contextlib.suppress(OSError), path.open("rb") as log:
                at = log.seek(seen.get(path, 0))
                if added := log.read(_MOST_BYTES).decode("latin-1"):  # each byte is one letter
                    seen[path] = log.tell()
                    _say(log=str(path.relative_to(directory)), at=at, text=added)
