"""Which of the changed lines ran: what the compiler says of lines, what guests counted, and what comes of both."""

from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.model.cells import Side

# What ran, and what the kernel said, before the first program; not a name that a suite can have.
BOOT = "(boot)"


Place = tuple[str, int]  # file and line


class LineState(StrEnum):
    """What is known of one changed line in one lane, the best first."""

    RAN = "ran"
    IDLE = "never ran"
    UNCOUNTED = "not counted"  # compiled, and nobody counted: it may have run
    ABSENT = "not compiled"
    PLAIN = "no code"

    @property
    def code(self) -> bool:
        """Would it run, if all went well?"""
        return self is not LineState.PLAIN


@dataclass(frozen=True)
class LineCoverage:
    """One changed line in one lane: of patched if the series wrote it, of base if it took it away.

    `times` is how often it ran in all, `by` how often in which program ("(boot)" is all before the first one), most
    first and cut to a dozen of `programs`. Of `branches` that leave the line, `taken` were taken at least once.
    """

    side: Side
    arch: str
    flavour: str
    file: str
    line: int
    state: LineState
    times: int = 0
    by: dict[str, int] = field(default_factory=dict)
    programs: int = 0
    taken: int = 0
    branches: int = 0


@dataclass(frozen=True)
class Hits:
    """How often a line ran, and each branch that leaves it."""

    times: int
    branches: tuple[int, ...] = ()


Lines = dict[str, dict[int, Hits]]  # by file in the tree and line


@dataclass(frozen=True)
class Compiled:
    """What became of one object that counts: by file, the lines that its preprocessor left, and those with counters."""

    left: dict[str, tuple[int, ...]] = field(default_factory=dict)
    counters: Lines = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What one object counted while one program ran."""

    program: str
    lines: Lines
