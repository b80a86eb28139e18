"""A reason, and the names in it, of which the first few are enough."""

from collections.abc import Sequence

from orchestrator import listing
from orchestrator.model import Change, MetricPair, VerdictValue

Reason = tuple[VerdictValue, str]
_NAMES_SHOWN = 3


def named(some: Sequence[Change | MetricPair]) -> str:
    """The names of tests or metrics."""
    return listed([f"{one.suite}/{one.name}" for one in some])


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return listing.first(names, _NAMES_SHOWN)
