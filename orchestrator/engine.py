"""Where tasks run: this machine's threads, each task's time on record, all of them ended when one must stop."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from kvm import proc
from kvm.errors import Interrupted
from orchestrator.model import TimelineEntry
from orchestrator.places import Places

P = ParamSpec("P")
T = TypeVar("T")


class Engine:
    """Runs chains of tasks side by side; `places` says how many guests there may be at once."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="kdelta")
        self._started = time.monotonic()
        self._timeline: list[TimelineEntry] = []

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work` in a thread of its own."""
        return self._pool.submit(work, *args, **kwargs)

    def do(self, part: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a part of the story that may be done on another machine; here it is done where we are."""
        return part(*args, **kwargs)

    @contextlib.contextmanager
    def task(self, name: str) -> Iterator[None]:
        """Put the block's time on the record."""
        start = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self._timeline.append(TimelineEntry(name, round(start - self._started, 3), round(end - self._started, 3)))

    def relay(self, entries: Sequence[TimelineEntry], seconds: float) -> None:
        """Put on the record what ran elsewhere, where a clock began so many seconds ago."""
        ago = time.monotonic() - self._started - seconds
        for one in entries:
            self._timeline.append(TimelineEntry(one.task, round(one.start + ago, 3), round(one.end + ago, 3)))

    @property
    def timeline(self) -> tuple[TimelineEntry, ...]:
        """What ran when, by start."""
        return tuple(sorted(self._timeline, key=lambda entry: entry.start))

    def gather(self, futures: "Sequence[Future[T]]") -> list[T]:
        """Wait for all, as `gather` does."""
        return gather(futures)

    def close(self) -> None:
        """Wait for the threads to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def gather(futures: "Sequence[Future[T]]") -> list[T]:
    """Wait for all; when one raises, the others are told to stop and are waited for before it is raised."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    failed = [future for future in done if future.exception()]
    if failed:
        proc.stop.set()
        wait(futures)
        errors = [error for future in futures if (error := future.exception())]
        raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])
    return [future.result() for future in futures]
