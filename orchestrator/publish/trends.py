"""Plots of the history, as SVG: what failed over time, how long runs took, which tests flake."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.model import Flake, Trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY, _BASE, _PATCHED, _BAD = "#808890", "#8c939b", "#3f83cf", "#d0453d"  # to be read on light and on dark
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "kdelta",  # the same plot is the same file
    "text.parse_math": False,  # a test may be called $x$
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _GREY),
}


def failures(trends: Sequence[Trend]) -> bytes:
    """How many tests failed on base and on patched, and how many regressed, run by run."""

    def draw(axes: "Axes") -> None:
        days = _days(trends)
        axes.plot(days, [one.base_failed for one in trends], ".-", color=_BASE, label="failed on base")
        axes.plot(days, [one.patched_failed for one in trends], ".-", color=_PATCHED, label="failed on patched")
        axes.plot(days, [one.regressed for one in trends], "o", color=_BAD, label="regressed", markersize=4)
        axes.set_ylabel("tests")
        axes.legend(frameon=False)

    return _svg(draw)


def minutes(trends: Sequence[Trend]) -> bytes:
    """How long runs took."""

    def draw(axes: "Axes") -> None:
        axes.plot(_days(trends), [one.run.seconds / 60 for one in trends], ".-", color=_PATCHED)
        axes.set_ylabel("minutes")

    return _svg(draw)


def flakes(found: Sequence[Flake]) -> bytes:
    """How often tests fail that do not always fail; the first one on top."""

    def draw(axes: "Axes") -> None:
        names = [_plain(f"{one.suite}/{one.name} ({one.arch}-{one.flavour})") for one in found]
        axes.barh(range(len(found)), [100 * one.rate for one in found], color=_PATCHED, height=0.6)
        axes.set_yticks(range(len(found)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of runs that failed")

    return _svg(draw, height=1 + 0.22 * len(found))


def _days(trends: Sequence[Trend]) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.array([one.run.began for one in trends], dtype="datetime64[s]")


def _plain(name: str) -> str:
    """A name in letters that every font has, and not too long."""
    text = name.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 70 else f"{text[:40]}...{text[-27:]}"


def _svg(draw: "Callable[[Axes], None]", height: float = 2.4) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415  (a second to load)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(color=_GREY, alpha=0.2)
        draw(axes)
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return out.getvalue()
