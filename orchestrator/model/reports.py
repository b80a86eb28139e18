"""What a report of the kernel looks like, and which reports are known: the rules of configs/, read and compiled."""

import datetime
import re
from dataclasses import dataclass
from enum import StrEnum


class Until(StrEnum):
    """What ends a report."""

    TRACE = "trace"
    MARK = "mark"
    LINE = "line"
    SILENCE = "silence"


class Role(StrEnum):
    """What a first line means where it stands (configs/splats.yaml)."""

    REPORT = "report"
    PREFACE = "preface"
    HEADER = "header"
    ORPHAN = "orphan"
    NOISE = "noise"

    @property
    def opens(self) -> bool:
        """Does the next first line continue it?"""
        return self in (Role.PREFACE, Role.HEADER)


@dataclass(frozen=True)
class SplatRule:
    """One kind of report: how it begins, goes on and ends, and what it is called."""

    kind: str
    title: str
    start: tuple[re.Pattern[str], ...]
    words: tuple[re.Pattern[str], ...] = ()
    until: Until = Until.TRACE
    end: re.Pattern[str] | None = None
    absorbs: frozenset[str] = frozenset()
    joins: re.Pattern[str] | None = None
    frames: bool = True
    fatal: bool = False
    timed: bool = False
    role: Role = Role.REPORT


@dataclass(frozen=True)
class SplatRules:
    """All of them, in order. `skip` matches the whole name of a generic function.

    `first` matches a message that begins a report; `gate` finds where there may be one in a text whose lines each begin
    with "\\n".
    """

    rules: tuple[SplatRule, ...]
    first: re.Pattern[str]
    gate: re.Pattern[str]
    skip: re.Pattern[str]


@dataclass(frozen=True)
class Call:
    """One entry of a call trace: `offset` bytes into a function of `size` bytes, both None where it does not say.

    `exact`: the instruction itself, not the one that a call returns to. `place` is what a symbolised trace says.
    """

    symbol: str
    offset: int | None = None
    size: int | None = None
    exact: bool = False
    place: str = ""


@dataclass(frozen=True)
class KnownIssue:
    """A report, or a test's failure, that does not count against a series.

    `title` matches a report's whole title, `test` the whole of SUITE/TEST; None matches all. `since` is a day, or a
    version, in the words of its `owner`.
    """

    kind: str | None
    title: re.Pattern[str] | None
    fingerprint: str | None
    arch: str | None
    reason: str
    link: str
    expiry: datetime.date
    test: re.Pattern[str] | None = None
    owner: str = ""
    since: str = ""

    @property
    def name(self) -> str:
        """What it is called where somebody must look at it."""
        named = self.test or self.title
        return named.pattern if named else self.fingerprint or ""
