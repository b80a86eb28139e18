"""Medians of several boots in, what the series did to a measured quantity out, and what could have been seen. Pure.

The boot is the unit of repetition: samples of one boot are alike for reasons that another boot does not share. What is
claimed, and why by this interval: docs/judgement.md.
"""

import math
import statistics
from collections.abc import Sequence

from orchestrator.model import Effect, EffectKind

_ERROR = 0.05  # of an interval
_POWER = 0.8  # how probable it is to see the smallest effect that is called visible

Boot = tuple[Sequence[float], Sequence[float]]  # base's samples, patched's


def effect(boots: Sequence[Boot], minimum: float) -> Effect | None:
    """Say how patched relates to base over boots of both; None where there is no ratio.

    A change below the part `minimum` is none. Of one boot there is a ratio, and no claim.
    """
    medians = [tuple(map(statistics.median, boot)) for boot in boots if all(boot)]
    if not medians or any(value <= 0 for both in medians for value in both):
        return None
    logs = [math.log(patched / base) for base, patched in medians]
    ratio = math.exp(statistics.fmean(logs))
    if len(logs) == 1:
        return Effect(ratio, boots=1)
    low, high, smallest = _spread(logs)
    return Effect(ratio, len(logs), low, high, smallest, _kind(low, high, minimum))


def _spread(logs: Sequence[float]) -> tuple[float, float, float]:
    """The interval of the ratio by Student's t over boots, and the smallest change that would have been seen."""
    from scipy.stats import t  # noqa: PLC0415  (0.5 s, and few runs measure)

    freedom = len(logs) - 1
    middle, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(t.ppf(1 - _ERROR / 2, freedom)) * error
    visible = half + float(t.ppf(_POWER, freedom)) * error
    return math.exp(middle - half), math.exp(middle + half), math.expm1(visible)


def _kind(low: float, high: float, minimum: float) -> EffectKind:
    """Name it: beyond the smallest change that matters for sure, within it for sure, or neither."""
    least, most = 1 / (1 + minimum), 1 + minimum
    if low > most:
        return EffectKind.MORE
    if high < least:
        return EffectKind.LESS
    return EffectKind.SAME if least <= low and high <= most else EffectKind.UNKNOWN
