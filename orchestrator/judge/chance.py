"""Counts of paired runs in, what they are worth as evidence out: exact, and valid whenever one stops. Pure.

A pair is one run on base and one on patched. All that is claimed here, and why it holds: docs/judgement.md.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05  # of what is named regressed or fixed, at most so much is wrong, in the long run
EFFECT = 0.2  # a difference of failure rates below it is not looked for until the budget ends
MOST = 1e300  # evidence beyond it is given as this

_STAKES = (0.125, 0.25, 0.5, 1.0)  # parts of the largest stake that `against_effect` may put on one pair
_EVEN = 0.5
_STEPS = 10_000  # in which a rate is given


@dataclass(frozen=True)
class Pairs:
    """How often an event came in paired runs: on both sides, where it is `suspected` alone, on the other alone."""

    both: int = 0
    suspected: int = 0
    other: int = 0
    neither: int = 0

    @property
    def of(self) -> int:
        """How many pairs there are."""
        return self.both + self.suspected + self.other + self.neither

    def add(self, *, suspected: bool, other: bool) -> "Pairs":
        """Count one more pair."""
        return Pairs(
            self.both + (suspected and other),
            self.suspected + (suspected and not other),
            self.other + (other and not suspected),
            self.neither + (not suspected and not other),
        )


@functools.lru_cache(maxsize=4096)
def evidence(suspected: int, other: int) -> float:
    """Return the e-value of discordant pairs against "the event comes no more often on the suspected side".

    Half of the stake is on "never on the other side", half is spread evenly over every odds above even.
    """
    from scipy.special import betainc, betaln  # noqa: PLC0415  (0.2 s, and most commands need none of it)

    both = suspected + other
    sure = both * math.log(2) if not other else -math.inf
    # integral of 2 (2t)^a (2(1-t))^b over t from 1/2 to 1, a closed form by the incomplete beta function
    share = float(betainc(other + 1, suspected + 1, 0.5))
    even = (both + 1) * math.log(2) + float(betaln(suspected + 1, other + 1)) + math.log(share) if share else -math.inf
    return _exp(math.log(_EVEN) + _log_sum(sure, even))


def each_time(pairs: Pairs) -> float:
    """Return the e-value of pairs of independent runs against the same, where all of them show it on one side alone.

    Whatever the rate on both sides is, that one run shows it and the other does not has a chance of a quarter at most.
    """
    return 4.0**pairs.of if pairs.suspected == pairs.of else 0.0


def fewest(alpha: float) -> int:
    """Return how many pairs it takes to name what shows in each of them on one side alone."""
    return next(pairs for pairs in itertools.count(1) if evidence(pairs, 0) * alpha >= 1)


@functools.lru_cache(maxsize=4096)
def against_effect(pairs: Pairs, effect: float = EFFECT) -> float:
    """Return the e-value against "the event comes at least `effect` more often on the suspected side".

    A bet that wins what the difference of a pair falls short of `effect`; its stakes are mixed evenly.
    """
    level = pairs.both + pairs.neither
    logs = []
    for part in _STAKES:
        stake = part / (1 - effect)
        lost = math.log1p(-stake * (1 - effect)) if stake * (1 - effect) < 1 else -math.inf
        logs.append(
            level * math.log1p(stake * effect)
            + (pairs.suspected * lost if pairs.suspected else 0.0)
            + pairs.other * math.log1p(stake * (1 + effect))
        )
    return _exp(functools.reduce(_log_sum, logs) - math.log(len(logs)))


def discoveries(values: Sequence[float], alpha: float = ALPHA) -> tuple[bool, ...]:
    """Say which e-values are named: of these at most `alpha` are wrong on average, under any dependence (e-BH)."""
    ordered = sorted(values, reverse=True)
    named = [rank for rank, value in enumerate(ordered, 1) if value * rank * alpha >= len(ordered)]
    least = len(ordered) / (alpha * named[-1]) if named else math.inf
    return tuple(value >= least for value in values)


@functools.lru_cache(maxsize=4096)
def interval(came: int, of: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the rates that `came` of `of` runs leave possible; it covers the true one whenever one stops.

    Those rates under which a mixture of all rates is not 1 / `alpha` times as likely, rounded outwards.
    """
    from scipy.special import betaln, xlog1py, xlogy  # noqa: PLC0415

    mixed = float(betaln(came + 1, of - came + 1)) + math.log(alpha)

    def inside(step: int) -> bool:
        rate = step / _STEPS
        return mixed <= float(xlogy(came, rate) + xlog1py(of - came, -rate))

    seen = round(_STEPS * came / of) if of else 0
    first = bisect.bisect_left(range(seen + 1), True, key=inside)
    beyond = bisect.bisect_left(range(seen, _STEPS + 1), True, key=lambda step: not inside(step)) + seen
    return max(0, first - 1) / _STEPS, min(_STEPS, beyond) / _STEPS


def _log_sum(one: float, two: float) -> float:
    """Add what two logarithms stand for."""
    most, least = max(one, two), min(one, two)
    return most if least == -math.inf else most + math.log1p(math.exp(least - most))


def _exp(log: float) -> float:
    return math.exp(log) if log < math.log(MOST) else MOST
