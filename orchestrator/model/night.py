"""What one nightly run did."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.answers import VerdictValue


class ItemEnd(StrEnum):
    """What became of one item tonight."""

    RAN = "ran"
    KNOWN = "known"  # it was done before, and nothing in it has changed
    UNJUDGED = "unjudged"  # it was inconclusive each time, and is tried no more until something in it changes
    FAILED = "failed"
    LEFT = "left"  # the time was spent
    GONE = "gone"  # a branch that is there no more, and had a regression that was open


@dataclass(frozen=True)
class ItemReport:
    """One item of a night. `worse` is what fails and did not the last time; `culprits` who brought it.

    `strength` is that of the verdict of what ran tonight.
    """

    item: str
    end: ItemEnd
    title: str = ""
    verdict: str = ""
    words: str = ""
    strength: str = ""
    directory: str = ""
    seconds: float = 0.0
    worse: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()


@dataclass(frozen=True)
class NightReport:
    """One nightly run: its items, the `open` runs of all nights (item: directories), run directories that went."""

    began: str
    seconds: float
    items: tuple[ItemReport, ...]
    open: dict[str, tuple[str, ...]]
    pruned: tuple[str, ...]
    schema: str = "kdelta.nightly/2"

    @property
    def exit_code(self) -> int:
        """That of the worst of what ran; an item that failed, or is unjudged, counts as inconclusive."""
        ran = [VerdictValue(one.verdict) for one in self.items if one.end is ItemEnd.RAN]
        unknown = (ItemEnd.FAILED, ItemEnd.UNJUDGED)
        ran += [VerdictValue.INCONCLUSIVE for one in self.items if one.end in unknown]
        return min(ran, key=list(VerdictValue).index, default=VerdictValue.CLEAN).exit_code
