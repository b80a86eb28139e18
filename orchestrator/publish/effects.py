"""What was measured, in words: how patched is to base, how sure that is, and what could have been seen."""

import statistics
from dataclasses import dataclass

from orchestrator.model import Effect, EffectKind, MetricPair, Run, Samples
from orchestrator.publish import digest
from orchestrator.publish.figures import number, times


@dataclass(frozen=True)
class Spread:
    """Samples in four numbers."""

    n: int
    median: float
    low: float
    high: float


def metrics(run: Run) -> list[MetricPair]:
    """Every metric: what changed for sure first, counts before times, then by name and lane."""
    return sorted(
        run.metrics, key=lambda pair: (not moved(pair), pair.timed, pair.suite, pair.name, *digest.place(pair))
    )


def moved(pair: MetricPair) -> bool:
    """Did it change for sure?"""
    return pair.effect is not None and pair.effect.kind in (EffectKind.MORE, EffectKind.LESS)


def sure(pair: MetricPair) -> str:
    """How sure that is: `more: x1.20..x1.31 over 5 boots, from 9 % on seen`; one boot, or side, claims nothing."""
    effect = pair.effect
    if effect is None:
        return f"{pair.alone} alone" if pair.alone else ""
    if effect.low is None:
        return "no interval: one boot sees no change for sure"
    bounds = f"{amount(effect, effect.low)}..{amount(effect, effect.high)} over {effect.boots} boots"
    return f"{effect.kind}: {bounds}, from {visible(pair, effect)} on seen"


def against(pair: MetricPair) -> str:
    """What patched is to base: x1.25; +5,000 where a zero leaves no ratio; a dash where a side is missing."""
    if pair.effect and pair.effect.ratio is None:
        return amount(pair.effect, pair.effect.difference)
    return times(ratio(pair))


def amount(effect: Effect, value: float | None) -> str:
    """One of its numbers: a ratio, or a difference with its sign."""
    if effect.ratio is not None:
        return times(value)
    return f"{'+' if value and value > 0 else ''}{number(value)}"


def visible(pair: MetricPair, effect: Effect) -> str:
    """The smallest change that would have been seen: 9 %, or 12 faults."""
    part = effect.smallest or 0.0
    if effect.ratio is None:
        return f"{number(part)} {pair.unit}"
    return f"{part * 100:.2g} %" if part < 1 else f"{part * 100:,.0f} %"


def ratio(pair: MetricPair) -> float | None:
    """Patched by base, over boots or by the median; None where a side is missing or a zero leaves none."""
    if pair.effect:
        return pair.effect.ratio
    base, patched = spread(pair.base), spread(pair.patched)
    return patched.median / base.median if base and patched and base.median else None


def spread(side: Samples) -> Spread | None:
    """The samples in four numbers; None if there are none."""
    if not side.samples:
        return None
    values = side.samples
    return Spread(len(values), statistics.median(values), min(values), max(values))
