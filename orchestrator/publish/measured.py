"""Metrics as a reader sees them: a plot of all samples by boot and of the ratio, and a table that says the same."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from markupsafe import Markup

from orchestrator.model import Lane, MetricPair, Run, Samples, Side
from orchestrator.publish import anchors, digest, drawing, effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PLOTS = 30
MOST_BY_BOOT = 1000
MOST_SAMPLES = 150  # of one side, in one plot
_LARGEST = 1e305  # beyond it there are no axes
_APART = 0.16  # of a boot, base from patched


@dataclass(frozen=True)
class Boot:
    """One boot of each side: how many samples it gave, their median; patched by base."""

    counts: dict[Side, int]
    medians: dict[Side, float | None]

    @property
    def ratio(self) -> float | None:
        """None where a side gave nothing, or base zero."""
        base, patched = self.medians[Side.BASE], self.medians[Side.PATCHED]
        return patched / base if base and patched is not None else None


@dataclass(frozen=True)
class Measured:
    """One metric: its name for links, both sides in four numbers, boot by boot, and as a plot where there is room.

    Of one that is `cut` there is no more than the numbers.
    """

    anchor: str
    pair: MetricPair
    lane: str
    spreads: dict[Side, effects.Spread | None]
    boots: tuple[Boot, ...]
    plot: Markup | None
    cut: bool


def read(run: Run, names: dict[Lane, str], share: int = 1) -> list[Measured]:
    """Every metric, what changed for sure first; not all of many boot by boot."""
    named = anchors.named("metric", effects.metrics(run), lambda pair: (pair.suite, pair.name, pair.arch, pair.flavour))
    return [
        Measured(
            anchor,
            pair,
            names[digest.lane_of(pair)],
            {side: effects.spread(_of(pair, side)) for side in Side},
            tuple(_boots(pair)),
            _plot(pair, anchor) if number < MOST_PLOTS else None,
            number >= MOST_BY_BOOT // share,
        )
        for number, (anchor, pair) in enumerate(named)
    ]


def _of(pair: MetricPair, side: Side) -> Samples:
    return pair.base if side is Side.BASE else pair.patched


def _boots(pair: MetricPair) -> Iterator[Boot]:
    for both in zip_longest(pair.base.boots, pair.patched.boots, fillvalue=()):
        given = dict(zip(Side, both, strict=True))
        yield Boot(
            {side: len(samples) for side, samples in given.items()},
            {side: statistics.median(samples) if samples else None for side, samples in given.items()},
        )


@lru_cache(maxsize=256)  # drawn once: a page that is written anew, as tests do, has the same ones
def _plot(pair: MetricPair, anchor: str) -> Markup | None:
    """Left every sample by boot with the boot's median, right the ratio of each boot and the interval of all."""
    boots = _boots(pair) if effects.ratio(pair) else ()  # where all have no ratio, some would tell another story
    ratios = [(number, boot.ratio) for number, boot in enumerate(boots, 1) if boot.ratio]

    def draw(figure: "Figure") -> None:
        if not ratios:
            _samples(figure.add_subplot(), pair)
            return
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        _samples(left, pair)
        _ratio(right, pair, ratios)

    samples = (*pair.base.samples, *pair.patched.samples)
    if not samples or max(map(abs, samples)) > _LARGEST:
        return None
    return drawing.inline(drawing.svg(draw, 4.8, 2.1), anchor)


def _samples(axes: "Axes", pair: MetricPair) -> None:
    for side, colour, shift in ((Side.BASE, drawing.BASE, -_APART), (Side.PATCHED, drawing.PATCHED, _APART)):
        boots = [samples for samples in _of(pair, side).boots if samples]
        points = [(number + shift, value) for number, samples in enumerate(boots, 1) for value in samples]
        step = len(points) // MOST_SAMPLES + 1
        if points:
            places = zip(*points[::step], strict=True)
            axes.plot(*places, "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.6)
        for number, samples in enumerate(boots, 1):
            axes.hlines(statistics.median(samples), number + shift - 0.13, number + shift + 0.13, color=colour)
    axes.set_title(pair.unit and f"{drawing.plain(pair.unit, 24)} by boot", loc="left")
    _ticks(axes, max(len(pair.base.boots), len(pair.patched.boots)))


def _ratio(axes: "Axes", pair: MetricPair, ratios: Sequence[tuple[int, float]]) -> None:
    """Each boot's ratio, and at the end all of them together with the interval that is claimed."""
    count, effect = max(number for number, _ in ratios), pair.effect
    axes.axhline(1, color=drawing.GREY, linewidth=0.8)
    axes.plot(*zip(*ratios, strict=True), "o", color=drawing.PATCHED, markersize=4, markeredgewidth=0, alpha=0.6)
    if effect and effect.ratio and effect.low is not None and effect.high is not None:
        error = [[effect.ratio - effect.low], [effect.high - effect.ratio]]
        axes.errorbar([count + 1], [effect.ratio], error, fmt="D", color=drawing.PATCHED, markersize=4, capsize=3)
    axes.set_title("patched / base", loc="left")
    _ticks(axes, count, "all" if effect and effect.low is not None else "")


def _ticks(axes: "Axes", boots: int, last: str = "") -> None:
    """The numbers of the boots, as many as there is room for."""
    shown = range(1, boots + 1, boots // 8 + 1)
    axes.set_xticks([*shown, *([boots + 1] if last else [])], [*map(str, shown), *([last] if last else [])])
    axes.set_xlim(0.5, boots + (1.5 if last else 0.5))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y", color=drawing.GREY, alpha=0.2)
