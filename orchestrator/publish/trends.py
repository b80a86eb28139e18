"""Plots of the history, as SVG: what failed over time, how long runs took, which tests flake."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.model import Flake, Trend
from orchestrator.publish import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Lines = dict[str, list[Trend]]  # by title

_LOOKS = ((drawing.PATCHED, "o"), ("#2f9e6b", "s"), ("#c07f12", "^"), ("#a368d0", "D"), ("#7a8b2f", "v"))
MOST_LINES = len(_LOOKS)


def lines(trends: Sequence[Trend]) -> Lines:
    """The runs of each title, those that ran most often first: only runs of one thing are joined by a line."""
    found: Lines = {}
    for one in trends:
        found.setdefault(one.run.title, []).append(one)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def failures(drawn: Lines) -> bytes:
    """How many tests failed on patched, title by title; dashed, on base; a ring where some regressed."""

    def draw(axes: "Axes") -> None:
        for (colour, _), runs in zip(_LOOKS, drawn.values(), strict=False):
            axes.plot(_days(runs), [one.base_failed for one in runs], "--", color=colour, linewidth=0.8)
        _by_title(axes, drawn, lambda one: one.patched_failed)
        bad = [one for runs in drawn.values() for one in runs if one.regressed]
        if bad:
            (ring,) = axes.plot(_days(bad), [one.patched_failed for one in bad], "o", color=drawing.BAD, markersize=9)
            ring.set(markerfacecolor="none", label="some regressed")
        axes.set_ylabel("tests that failed")
        _legend(axes)

    return _svg(draw)


def minutes(drawn: Lines) -> bytes:
    """How long runs took, title by title."""

    def draw(axes: "Axes") -> None:
        _by_title(axes, drawn, lambda one: one.run.seconds / 60)
        axes.set_ylabel("minutes")
        _legend(axes)

    return _svg(draw)


def _by_title(axes: "Axes", drawn: Lines, value: Callable[[Trend], float]) -> None:
    for (colour, marker), (title, runs) in zip(_LOOKS, drawn.items(), strict=False):
        name = drawing.plain(title, 40)
        axes.plot(_days(runs), list(map(value, runs)), f"{marker}-", color=colour, label=name, markersize=3)


def _legend(axes: "Axes") -> None:
    """Beside the lines, not upon them."""
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


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
