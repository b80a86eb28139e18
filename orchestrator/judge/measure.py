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
    """Say how patched relates to base over boots of both; None where there is no ratio.

    A change below the part `minimum` is none; `error` is the interval's. Of one boot there is a ratio, and no claim.
    """
    logs = _logs(boots)
    if not logs:
        return None
    ratio = _exp(statistics.fmean(logs))
    if len(logs) == 1:
        return Effect(ratio, boots=1)
    low, high, smallest = _spread(logs, error)
    return Effect(ratio, len(logs), low, high, smallest, _kind(low, high, minimum))


def nearer(boots: Sequence[Boot], ratio: float) -> tuple[bool, float] | None:
    """Is the second of each boot, by the first, nearer to `ratio` than to 1?

    And how probable is it to measure that, or what is even farther from the other end, of a kernel that is there? None
    where there is no ratio, or one boot, which has no scatter.
    """
    from scipy.stats import t  # noqa: PLC0415  (as below)

    logs, end = _logs(boots), math.log(ratio)
    if len(logs) < 2:
        return None
    middle, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    near = abs(middle - end) < abs(middle)
    away = abs(middle if near else middle - end)
    return near, float(t.sf(away / error, len(logs) - 1)) if error else 0.0


def _logs(boots: Sequence[Boot]) -> list[float]:
    """The logarithm of each boot's ratio; nothing where one has none."""
    medians = [tuple(map(statistics.median, boot)) for boot in boots if all(boot)]
    if any(value <= 0 or math.isinf(value) for both in medians for value in both):
        return []
    return [math.log(patched) - math.log(base) for base, patched in medians]


def _spread(logs: Sequence[float], allowed: float) -> tuple[float, float, float]:
    """The interval of the ratio by Student's t over boots, and the smallest change that would have been seen."""
    from scipy.stats import t  # noqa: PLC0415  (0.5 s, and few runs measure)

    freedom = len(logs) - 1
    middle, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(t.ppf(1 - allowed / 2, freedom)) * error
    visible = half + float(t.ppf(_POWER, freedom)) * error
    return _exp(middle - half), _exp(middle + half), _exp(visible) - 1


def _exp(power: float) -> float:
    """The exponential, which is a number in JSON whatever a guest measured."""
    return math.exp(max(-_MOST_POWER, min(_MOST_POWER, power)))


def _kind(low: float, high: float, minimum: float) -> EffectKind:
    """Name it: beyond the smallest change that matters for sure, within it for sure, or neither."""
    least, most = 1 / (1 + minimum), 1 + minimum
    if low > most:
        return EffectKind.MORE
    if high < least:
        return EffectKind.LESS
    return EffectKind.SAME if least <= low and high <= most else EffectKind.UNKNOWN
