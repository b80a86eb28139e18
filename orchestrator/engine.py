"""Where tasks run: this machine's threads, each task's time on record, all of them ended when one must stop."""

import contextlib
import contextvars
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from kvm import proc
from kvm.errors import Interrupted
from orchestrator.model import CoresBusy, TimelineEntry
from orchestrator.places import Places, worked_seconds

P = ParamSpec("P")
T = TypeVar("T")

_LEAST_SECONDS = 1.0  # between two looks at the processors: what they say of less is noise
# The task that ended last before this point of the chain of tasks: what the next one waited for.
_before: contextvars.ContextVar[TimelineEntry | None] = contextvars.ContextVar("_before", default=None)


class Engine:
    """Runs chains of tasks side by side; `places` says how many guests there may be at once."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="kdelta")
        self._contexts = weakref.WeakKeyDictionary[Future[Any], contextvars.Context]()
        self._started = time.monotonic()
        self._timeline: list[TimelineEntry] = []
        self._looks = [(0.0, worked_seconds())]
        self._looking = threading.Lock()
        _before.set(None)

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `work` in a thread of its own, as the next in the chain of tasks."""
        context = contextvars.copy_context()
        future = self._pool.submit(lambda: context.run(work, *args, **kwargs))
        self._contexts[future] = context
        return future

    def do(self, part: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a part of the story that may be done on another machine; here it is done where we are."""
        return part(*args, **kwargs)

    @contextlib.contextmanager
    def task(self, name: str) -> Iterator[Callable[[], None]]:
        """Put the block's time on the record; what it is given is to be called when it need not wait for a place."""
        before, begins, placed = _before.get(), self._look(), list[float]()
        try:
            yield lambda: placed.append(self._now())
        finally:
            waited = round(placed[0] - begins, 3) if placed else 0.0
            entry = TimelineEntry(name, begins, self._look(), before.task if before else "", waited)
            self._timeline.append(entry)
            _before.set(entry)

    def _now(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def _look(self) -> float:
        """What time it is; a look at the processors on the way."""
        with self._looking:
            now = self._now()
            if now - self._looks[-1][0] >= _LEAST_SECONDS:
                self._looks.append((now, worked_seconds()))
        return now

    def relay(self, entries: Sequence[TimelineEntry], seconds: float) -> None:
        """Put on the record what ran elsewhere, where a clock began so many seconds ago."""
        ago = time.monotonic() - self._started - seconds
        for one in entries:
            self._timeline.append(replace(one, start=round(one.start + ago, 3), end=round(one.end + ago, 3)))

    @property
    def timeline(self) -> tuple[TimelineEntry, ...]:
        """What ran when, by start."""
        return tuple(sorted(self._timeline, key=lambda entry: entry.start))

    @property
    def busy(self) -> tuple[CoresBusy, ...]:
        """How busy the machine was between the starts and ends of tasks."""
        return tuple(
            CoresBusy(start, end, round((after - before) / (end - start), 2))
            for (start, before), (end, after) in itertools.pairwise(self._looks)
            if before is not None and after is not None
        )

    def gather(self, futures: "Sequence[Future[T]]") -> list[T]:
        """Wait for all, as `gather` does; what comes next waited for the one that ended last."""
        given = gather(futures)
        ended = [self._contexts[future].get(_before) for future in futures if future in self._contexts]
        _before.set(max([*ended, _before.get()], key=lambda entry: entry.end if entry else 0.0))
        return given

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
