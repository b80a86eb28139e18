"""A diff of two trees in, a map of their lines out: which line of patched is which line of base. Pure, and total."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
_ABSENT = "/dev/null"


@dataclass(frozen=True)
class Run:
    """Lines that were replaced: `removed` of base from line `base` on, by `added` of patched from line `patched` on."""

    base: int
    removed: int
    patched: int
    added: int


@dataclass(frozen=True)
class FileMap:
    """One file on both sides, None where it is not there."""

    base: str | None
    patched: str | None
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class LineMap:
    """All files that differ, by their name on base and by their name on patched."""

    by_base: Mapping[str, FileMap] = field(default_factory=dict)
    by_patched: Mapping[str, FileMap] = field(default_factory=dict)

    def forward(self, file: str, line: int) -> tuple[str, int] | None:
        """Return where a line of base is on patched; None when the series removed or rewrote it. Line 0 is no line."""
        found = self.by_base.get(file)
        if found is None:
            return file, line
        if found.patched is None:
            return None
        shift = 0
        for run in found.runs:
            if run.base <= line < run.base + run.removed:
                return None
            if line >= run.base:
                shift = run.patched + run.added - run.base - run.removed
        return found.patched, line + shift if line else 0

    def written(self, file: str, line: int) -> bool:
        """Did the series write this line of patched?"""
        found = self.by_patched.get(file)
        return found is not None and (
            found.base is None or any(run.patched <= line < run.patched + run.added for run in found.runs)
        )

    def renamed(self, file: str) -> str | None:
        """Return the name on patched of a file of base, None when the series deleted it."""
        found = self.by_base.get(file)
        return found.patched if found else file


def parse(diff: str) -> LineMap:
    """Read a diff as `git diff -M` writes it, with any number of context lines."""
    files = [found for found in map(read, sections(diff)) if found.base or found.patched]
    return LineMap(
        {found.base: found for found in files if found.base}, {found.patched: found for found in files if found.patched}
    )


def sections(diff: str) -> Iterator[list[str]]:
    """Cut a diff before each line that starts a file; a line of a hunk starts with a sign and is none."""
    section: list[str] = []
    for line in diff.split("\n"):
        if line.startswith("diff --git ") and section:
            yield section
            section = []
        section.append(line)
    yield section


def read(lines: list[str]) -> FileMap:
    """Read one section: which file it is on both sides, and which of its lines were replaced."""
    base = patched = None
    runs: list[Run] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if hit := HEADER.match(line):
            found, index = _hunk(lines, index, hit)
            runs += found
        elif line.startswith(("--- ", "rename from ", "copy from ")):
            base = _name(line, "a/") if not line.startswith("copy") else base
        elif line.startswith(("+++ ", "rename to ", "copy to ")):
            patched = _name(line, "b/")
    return FileMap(base, patched, tuple(runs))


def _name(line: str, prefix: str) -> str | None:
    """The path in a header line; git quotes one that holds a quote or a control character."""
    words = line.split(" ", 2)
    name = (words[1] if words[0] in ("---", "+++") else words[-1]).rstrip("\t")
    if words[0] in ("---", "+++"):
        name = line[4:].split("\t", 1)[0]
    name = name.removeprefix('"').removesuffix('"')
    if name == _ABSENT:
        return None
    return name.removeprefix(prefix) if words[0] in ("---", "+++") else name


def _hunk(lines: list[str], index: int, header: re.Match[str]) -> tuple[list[Run], int]:
    """Read the lines that the header counts; returns the runs and the index behind them."""
    left, right = (int(header[place]) if header[place] else 1 for place in (2, 4))
    base, patched = int(header[1]) + (left == 0), int(header[3]) + (right == 0)
    runs: list[Run] = []
    while (left or right) and index < len(lines):
        sign = lines[index][:1]
        index += 1
        if sign == "-":
            runs, base, left = _grow(runs, Run(base, 1, patched, 0)), base + 1, left - 1
        elif sign == "+":
            runs, patched, right = _grow(runs, Run(base, 0, patched, 1)), patched + 1, right - 1
        elif sign != "\\":
            base, patched, left, right = base + 1, patched + 1, left - 1, right - 1
        left, right = max(left, 0), max(right, 0)
    return runs, index


def _grow(runs: list[Run], line: Run) -> list[Run]:
    """Add a line to the last run if it follows it directly."""
    if runs:
        last = runs[-1]
        if (last.base + last.removed, last.patched + last.added) == (line.base, line.patched):
            return [*runs[:-1], Run(last.base, last.removed + line.removed, last.patched, last.added + line.added)]
    return [*runs, line]
