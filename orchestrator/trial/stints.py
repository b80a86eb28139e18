"""What the guests of a cell are to do: side by side where there is room, the longest first, and on record in order."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator import engine
from orchestrator.places import Need, Places

T = TypeVar("T")


@dataclass(frozen=True)
class Stint(Generic[T]):
    """One guest's: `work` restores it and gives what was seen, all in one thread, whose end would be QEMU's."""

    need: Need
    work: Callable[[], T]


def run(stints: Sequence[Stint[T]], places: Places) -> list[T]:
    """Do all of them, and return what they gave in the order in which they are given, whichever ended first."""
    order = sorted(range(len(stints)), key=lambda number: (*stints[number].need.rank, number))
    given: dict[int, Future[T]] = {}
    with ThreadPoolExecutor(max_workers=places.most, thread_name_prefix="guest") as pool:
        for number in order:
            given[number] = pool.submit(_go, stints[number], places)
        return engine.gather([given[number] for number in range(len(stints))])


def _go(stint: Stint[T], places: Places) -> T:
    with places.hold(stint.need):
        return stint.work()
