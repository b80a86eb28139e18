"""Of metrics: what became worse for sure, and what was not always measured."""

from collections.abc import Iterable, Sequence

from orchestrator.judge import measure
from orchestrator.judge.reasons import reason
from orchestrator.judge.reasons.reason import Reason
from orchestrator.model import MetricPair, Side, VerdictValue


def of_metrics(metrics: Sequence[MetricPair]) -> Iterable[Reason]:
    """What became worse for sure, or is gone, of what somebody said which way is worse; what did not always come."""
    judged = [pair for pair in metrics if pair.worse]
    for pair in judged:
        if (effect := pair.effect) and pair.worsened:
            size, *ends = measure.said(effect)
            than = f"{pair.unit} against base" if effect.ratio is None else "of base's"
            words = f"{pair.arch}-{pair.flavour}: {pair.suite}/{pair.name} became worse: {size} {than}"
            yield VerdictValue.REGRESSED, f"{words} ({' to '.join(ends)}) over {effect.boots} boots"
    gone = [pair for pair in judged if pair.alone is Side.BASE]
    for arch, flavour in sorted({(pair.arch, pair.flavour) for pair in gone}):
        names = reason.named([pair for pair in gone if (pair.arch, pair.flavour) == (arch, flavour)])
        yield VerdictValue.INCONCLUSIVE, f"{arch}-{flavour}: measured on base and not on patched: {names}"
    for pair in metrics:
        if pair.missed and pair not in gone:
            words = f"measured in fewer boots than on base: {pair.suite}/{pair.name} ({pair.missed} fewer)"
            yield VerdictValue.INCONCLUSIVE, f"{pair.arch}-{pair.flavour}: {words}"
