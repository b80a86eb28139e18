"""The run over time: which task ran when, what it waited for, how many cores of the machine worked."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from orchestrator.model import CoresBusy, Run, Side
from orchestrator.publish import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """One task on a time axis of 0 to 1000, the first `wait` of it without a place.

    `side` is empty where the task serves both.
    """

    task: str
    start: float
    seconds: float
    x: float
    width: float
    wait: float
    side: str
    after: str
    waited: float


def bars(run: Run) -> list[Bar]:
    """The timeline, earliest first."""
    reach = _reach(run)
    return [
        Bar(
            task=entry.task,
            start=entry.start,
            seconds=entry.end - entry.start,
            x=entry.start / reach * 1000,
            width=max(2.0, (entry.end - entry.start) / reach * 1000),
            wait=entry.waited / reach * 1000,
            side=next((side for side in Side if side in entry.task), ""),
            after=entry.after,
            waited=entry.waited,
        )
        for entry in sorted(run.timeline, key=lambda entry: (entry.start, entry.end, entry.task))
    ]


def _reach(run: Run) -> float:
    return max((entry.end for entry in run.timeline), default=0.0) or 1.0


def busy(run: Run) -> float | None:
    """How many cores worked on the average of the run; None if nobody looked."""
    seconds = sum(look.end - look.start for look in run.busy)
    return sum(look.cores * (look.end - look.start) for look in run.busy) / seconds if seconds else None


def plot(run: Run) -> Markup | None:
    """The cores that worked, over time; the line is how many there are."""
    return _plot(run.busy, run.host.cpus, _reach(run)) if run.busy else None


@lru_cache(maxsize=8)  # as those of metrics
def _plot(looks: tuple[CoresBusy, ...], cpus: int, reach: float) -> Markup:
    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        edges = [looks[0].start, *(look.end for look in looks)]
        axes.stairs([look.cores for look in looks], edges, color=drawing.PATCHED, fill=True, alpha=0.6)
        axes.axhline(cpus, color=drawing.GREY, linewidth=0.8, linestyle="--")
        axes.set_xlim(0, reach)
        axes.set_ylim(0)
        axes.set_title(f"cores that worked, of {cpus}", loc="left")
        axes.set_xlabel("seconds")

    return drawing.inline(drawing.svg(draw, 9, 1.5), "busy")
