"""Plots of the history, as SVG: what failed over time, how long runs took, which tests flake."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.model import Flake, Trend
from orchestrator.publish import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def failures(trends: Sequence[Trend]) -> bytes:
    """How many tests failed on base and on patched, and how many regressed, run by run."""

    def draw(axes: "Axes") -> None:
        days = _days(trends)
        axes.plot(days, [one.base_failed for one in trends], ".-", color=drawing.BASE, label="failed on base")
        axes.plot(days, [one.patched_failed for one in trends], ".-", color=drawing.PATCHED, label="failed on patched")
        axes.plot(days, [one.regressed for one in trends], "o", color=drawing.BAD, label="regressed", markersize=4)
        axes.set_ylabel("tests")
        axes.legend(frameon=False)

    return _svg(draw)


def minutes(trends: Sequence[Trend]) -> bytes:
    """How long runs took."""

    def draw(axes: "Axes") -> None:
        axes.plot(_days(trends), [one.run.seconds / 60 for one in trends], ".-", color=drawing.PATCHED)
        axes.set_ylabel("minutes")

    return _svg(draw)


def flakes(found: Sequence[Flake]) -> bytes:
    """How often tests fail that do not always fail; the first one on top."""

    def draw(axes: "Axes") -> None:
        names = [drawing.plain(f"{one.suite}/{one.name} ({one.arch}-{one.flavour})") for one in found]
        axes.barh(range(len(found)), [100 * one.rate for one in found], color=drawing.PATCHED, height=0.6)
        axes.set_yticks(range(len(found)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of runs that failed")

    return _svg(draw, height=1 + 0.22 * len(found))


def _days(trends: Sequence[Trend]) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.array([one.run.began for one in trends], dtype="datetime64[s]")


def _svg(draw: "Callable[[Axes], None]", height: float = 2.4) -> bytes:
    def on(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.grid(color=drawing.GREY, alpha=0.2)
        draw(axes)

    return drawing.svg(on, 9, height)
