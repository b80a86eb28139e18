"""Where tasks run: this machine's threads, each task's time on record, all of them ended when one must stop."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from kvm import proc
from kvm.errors import Interrupted
from orchestrator.model import TimelineEntry

P = ParamSpec("P")
T = TypeVar("T")


class Engine:
    """Runs chains of tasks side by side; guests wait for a free place so that emulated CPUs are not starved."""

    def __init__(self, guests: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="kdelta")
        self._places = threading.Semaphore(guests)
        self._started = time.monotonic()
        self._timeline: list[TimelineEntry] = []

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work` in a thread of its own."""
        return self._pool.submit(work, *args, **kwargs)

    @contextlib.contextmanager
    def task(self, name: str) -> Iterator[None]:
        """Put the block's time on the record."""
        start = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self._timeline.append(TimelineEntry(name, round(start - self._started, 3), round(end - self._started, 3)))

    @contextlib.contextmanager
    def guest_place(self) -> Iterator[None]:
        """Hold one of the places for guests."""
        while not self._places.acquire(timeout=0.2):
            if proc.stop.is_set():
                raise Interrupted
        try:
            yield
        finally:
            self._places.release()

    @property
    def timeline(self) -> tuple[TimelineEntry, ...]:
        """What ran when, by start."""
        return tuple(sorted(self._timeline, key=lambda entry: entry.start))

    def gather(self, futures: "list[Future[T]]") -> list[T]:
        """Wait for all; when one raises, the others are told to stop and are waited for before it is raised."""
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in done if future.exception()]
        if failed:
            proc.stop.set()
            wait(futures)
            errors = [error for future in futures if (error := future.exception())]
            raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])
        return [future.result() for future in futures]

    def close(self) -> None:
        """Wait for the threads to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
