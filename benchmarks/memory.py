"""What memory a process takes at its peak: by the kernel's own mark, and its share of what others map, too."""

import contextlib
import threading
from collections.abc import Callable, Iterator
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
    found = Share()

    def look() -> None:
        found.mib = max(found.mib, _mib(process / "smaps_rollup", "Pss"))
        found.looks += 1

    with again_and_again(look, _PAUSE):
        yield found


@contextlib.contextmanager
def again_and_again(look: Callable[[], None], pause: float) -> Iterator[None]:
    """Look every `pause` seconds as long as the block runs, or what is looked at."""
    over = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError, LookupError):  # it has ended
            while not over.wait(pause):
                look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _mib(file: Path, field: str) -> float:
    for line in file.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"{file} has no {field}")
