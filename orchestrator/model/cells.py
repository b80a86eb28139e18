"""Which kernels there are: side, lane, cell."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Side(StrEnum):
    """Which kernel: the tree as it is, or the tree with the series."""

    BASE = "base"
    PATCHED = "patched"


class Lane(NamedTuple):
    """One architecture in one flavour: its base cell and its patched cell are compared."""

    arch: str
    flavour: str

    def __str__(self) -> str:
        return f"{self.arch}-{self.flavour}"


@dataclass(frozen=True, order=True)
class Cell:
    """One kernel to build and boot: side x arch x flavour."""

    side: Side
    arch: str
    flavour: str

    @property
    def lane(self) -> Lane:
        """What the other side's cell shares."""
        return Lane(self.arch, self.flavour)

    def __str__(self) -> str:
        return f"{self.side}/{self.lane}"


def cells(lane: Lane) -> tuple[Cell, ...]:
    """Both sides of a lane, base first."""
    return tuple(Cell(side, lane.arch, lane.flavour) for side in Side)
