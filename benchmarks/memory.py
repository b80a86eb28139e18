"""What memory a process takes at its peak: by the kernel's own mark, and its share of what others map, too."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.005  # seconds between two looks


@dataclass
class Share:
    """The most that was seen (PSS: a page that n processes map is a nth of each), in so many looks."""

    mib: float = 0.0
    looks: int = 0


def peak_mib(process: Path) -> float:
    """The most that it ever had resident, pages that it shares with others among them."""
    return _mib(process / "status", "VmHWM")


@contextlib.contextmanager
def shared_out(process: Path) -> Iterator[Share]:
    """Look at a process's share as long as the block runs, or the process."""
    found, over = Share(), threading.Event()

    def look() -> None:
        with contextlib.suppress(OSError, LookupError):  # it has ended
            while not over.wait(_PAUSE):
                found.mib = max(found.mib, _mib(process / "smaps_rollup", "Pss"))
                found.looks += 1

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def _mib(file: Path, field: str) -> float:
    for line in file.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"{file} has no {field}")
