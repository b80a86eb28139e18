"""What differs before anything boots: findings, and the binary."""

from dataclasses import dataclass
from enum import StrEnum


class FindingChange(StrEnum):
    """What the series did to one finding."""

    NEW = "new"
    GONE = "gone"
    MOVED = "moved"
    SAME = "same"
    MISSING = "missing"  # base has it, and nobody looked on patched

    @property
    def changed(self) -> bool:
        """Is it one that the author of the series should read?"""
        return self in (FindingChange.NEW, FindingChange.GONE)


@dataclass(frozen=True)
class Finding:
    """One complaint of a compiler, the build or a checker about the tree.

    `kind` is the flag (-Wunused-variable) or a rule's name; `file` is relative to the tree, "" where none is named;
    line and column count from 1, 0 where none is named. `chain` are the files that include `file`, outermost first;
    `site` is where a macro or an inlined function that holds `line` is used: ("mm/madvise.c", 12).
    """

    tool: str
    kind: str
    file: str
    line: int
    column: int
    message: str
    function: str = ""
    chain: tuple[str, ...] = ()
    site: tuple[str, int] | None = None


@dataclass(frozen=True)
class FindingRecord:
    """One finding, compared. `line` is patched's, base's for one that is gone; `base_line` is None for a new one.

    `objects` says how many object files show it (a header's is seen by all that include it).
    """

    tool: str
    kind: str
    file: str
    line: int
    message: str
    arch: str
    flavour: str
    change: FindingChange
    function: str = ""
    site: str = ""
    base_line: int | None = None
    objects: int = 1


@dataclass(frozen=True)
class ToolRecord:
    """A tool whose findings of both sides were compared; the lane is "" for one that looks once for all of them.

    `whole` says that it left nothing out: what it does not say is not there.
    """

    tool: str
    arch: str
    flavour: str
    whole: bool = True


@dataclass(frozen=True)
class ByteChange:
    """Something measured in bytes: None on the side that lacks it; equal when only its contents changed."""

    name: str
    where: str
    base: int | None
    patched: int | None


@dataclass(frozen=True)
class TextChange:
    """Something said in words (a layout, a macro's value, an export): None on the side that lacks it."""

    name: str
    where: str
    base: str | None
    patched: str | None


@dataclass(frozen=True)
class ObjectChange:
    """One object file that differs; `parts` are added, removed, or code, rodata, data, bss, lines, symbols, file."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class UapiProblem:
    """What a compiler says of a uapi header alone, and did not say of base's."""

    header: str
    compiler: str
    words: str


@dataclass(frozen=True)
class BinaryDiff:
    """What the series did to the binary of one architecture and flavour; `summary` is one sentence."""

    arch: str
    flavour: str
    summary: str
    objects: tuple[ObjectChange, ...] = ()
    functions: tuple[ByteChange, ...] = ()
    frames: tuple[ByteChange, ...] = ()
    sections: tuple[ByteChange, ...] = ()
    structs: tuple[TextChange, ...] = ()
    exports: tuple[TextChange, ...] = ()
    constants: tuple[TextChange, ...] = ()
    uapi_problems: tuple[UapiProblem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def interface(self) -> bool:
        """Does anything differ that others build against, even if the image does not?"""
        return bool(self.structs or self.exports or self.constants or self.uapi_problems)
