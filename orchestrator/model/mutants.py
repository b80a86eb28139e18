"""What came of the faults that were put into changed lines."""

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What became of one mutant."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"  # the same image as patched, or as another mutant
    BROKEN = "does not build"
    UNKNOWN = "not seen"  # the guest was lost, or what one noticed another did not


@dataclass(frozen=True)
class MutantRecord:
    """One fault in one line of the patched tree, tried in one lane; `by` is what noticed it, or why nobody could."""

    file: str
    line: int
    kind: str
    words: str
    arch: str
    flavour: str
    fate: Fate
    by: str = ""
