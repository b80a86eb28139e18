"""Medians of several boots in, what the series did to a measured quantity out, and what could have been seen. Pure.

The boot is the unit of repetition: samples of one boot are alike for reasons that another boot does not share. What is
claimed, and why by this interval: docs/judgement.md.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.model import Effect, EffectKind

ERROR = 0.05  # of an interval, or of all together that a verdict depends on
_MOST_POWER = 300.0  # e to it is 1e130
_MOST = math.exp(_MOST_POWER)  # of a difference
_POWER = 0.8  # how probable it is to see the smallest effect that is called visible

Boot = tuple[Sequence[float], Sequence[float]]  # base's samples, patched's


@dataclass(frozen=True)
class Yardstick:
    """What a change must be to count: larger than the part `minimum`; `worse` says, of a suite's metric, which is bad.

    The intervals of all metrics of which that is said miss with probability `error` at most, together.
    """

    minimum: float = 0.05
    error: float = ERROR
    worse: Callable[[str, str], EffectKind | None] = lambda _suite, _name: None


def effect(boots: Sequence[Boot], minimum: float, error: float = ERROR) -> Effect | None:
    """Say how patched relates to base over boots of both; None where a side measured nothing, or no number.

    By ratio, or by difference where a zero leaves none. A change below the part `minimum` of base is none; `error` is
    the interval's. Of one boot there is no claim.
    """
    medians = _medians(boots)
    if logs := _logs(medians):
        return _of_ratio(logs, minimum, error)
    return _of_difference(medians, minimum, error) if _differences(medians) else None


def nearer(boots: Sequence[Boot], seen: Effect) -> float | None:
    """How probable is it that what each boot's second is, by its first, is nearer to the effect `seen` than to none?

    None where that cannot be measured, or of one boot, which has no scatter.
    """
    from scipy.stats import t  # noqa: PLC0415  (as below)

    changes, end = _towards(_medians(boots), seen)
    if len(changes) < 2:
        return None
    beyond = math.copysign(1, end) * (statistics.fmean(changes) - end / 2)
    error = statistics.stdev(changes) / math.sqrt(len(changes))
    if not error:
        return float(beyond > 0) if beyond else 0.5
    return float(t.cdf(beyond / error, len(changes) - 1))


def said(effect: Effect) -> list[str]:
    """How large it is, and between what it lies, in words: x1.2, x1.19, x1.21; or +5,000, +4,990, +5,010."""
    middle, form = (effect.difference, "{:+,g}") if effect.ratio is None else (effect.ratio, "x{:.3g}")
    return [form.format(value) for value in (middle, effect.low, effect.high) if value is not None]


def _medians(boots: Sequence[Boot]) -> list[tuple[float, float]]:
    """Base's and patched's in each boot in which both measured."""
    return [(statistics.median(base), statistics.median(patched)) for base, patched in boots if base and patched]


def _logs(medians: Sequence[tuple[float, float]]) -> list[float]:
    """The logarithm of each boot's ratio; nothing where one has none."""
    if any(value <= 0 or math.isinf(value) for both in medians for value in both):
        return []
    return [math.log(patched) - math.log(base) for base, patched in medians]


def _differences(medians: Sequence[tuple[float, float]]) -> list[float]:
    """Patched less base in each boot; nothing where one is beyond all bounds."""
    if any(abs(value) > _MOST for both in medians for value in both):
        return []
    return [patched - base for base, patched in medians]


def _towards(medians: Sequence[tuple[float, float]], seen: Effect) -> tuple[list[float], float]:
    """The change in each boot, and the one that was seen, by ratio or by difference as that is."""
    if seen.ratio is None:
        return _differences(medians), seen.difference or 0.0
    return _logs(medians), math.log(seen.ratio)


def _of_ratio(logs: Sequence[float], minimum: float, error: float) -> Effect:
    ratio = _exp(statistics.fmean(logs))
    if len(logs) == 1:
        return Effect(ratio, boots=1)
    matters = math.log1p(minimum)
    low, high, beyond = _spread(logs, error)
    return Effect(ratio, len(logs), _exp(low), _exp(high), _exp(matters + beyond) - 1, _kind(low, high, matters))


def _of_difference(medians: Sequence[tuple[float, float]], minimum: float, error: float) -> Effect:
    """What matters is a part of base's mean: where that is zero, everything does."""
    changes = _differences(medians)
    difference = statistics.fmean(changes)
    if len(changes) == 1:
        return Effect(None, boots=1, difference=difference)
    matters = minimum * abs(statistics.fmean(base for base, _ in medians))
    low, high, beyond = _spread(changes, error)
    return Effect(None, len(changes), low, high, matters + beyond, _kind(low, high, matters), difference)


def _spread(changes: Sequence[float], allowed: float) -> tuple[float, float, float]:
    """The interval of the mean by Student's t over boots, and how far beyond a bound a change must be to be seen so."""
    from scipy.stats import t  # noqa: PLC0415  (0.5 s, and few runs measure)

    freedom = len(changes) - 1
    middle, error = statistics.fmean(changes), statistics.stdev(changes) / math.sqrt(len(changes))
    half = float(t.ppf(1 - allowed / 2, freedom)) * error
    return middle - half, middle + half, half + float(t.ppf(_POWER, freedom)) * error


def _exp(power: float) -> float:
    """The exponential, which is a number in JSON whatever a guest measured."""
    return math.exp(max(-_MOST_POWER, min(_MOST_POWER, power)))


def _kind(low: float, high: float, matters: float) -> EffectKind:
    """Name it: beyond the smallest change that matters for sure, within it for sure, or neither."""
    if low > matters:
        return EffectKind.MORE
    if high < -matters:
        return EffectKind.LESS
    return EffectKind.SAME if -matters <= low and high <= matters else EffectKind.UNKNOWN
