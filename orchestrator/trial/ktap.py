"""KTAP and TAP in, test results out. Total: any text gives results. https://docs.kernel.org/dev-tools/ktap.html"""

import re
from dataclasses import dataclass, field

from orchestrator.model import Outcome, TestResult

_RESULT = re.compile(r"^(not )?ok\b(?: +(\d+))?(?: *-(?= ))? *(.*)$")
_PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#.*)?$")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
_SUBTEST = re.compile(r"^# Subtest: *(.*)$")
_RUNNING = re.compile(r"^# run (\S+)$")
_BAIL = re.compile(r"^Bail out!\s*(.*)$", re.IGNORECASE)
_MAX_OUTPUT = 64 * 1024


@dataclass(frozen=True)
class Parsed:
    """What one program said; `planned` is the plan of the outermost level, None if it gave none.

    `unseen` tests were planned, at any level, and gave no result; they have no names, and get none invented.
    """

    results: tuple[TestResult, ...]
    planned: int | None
    unseen: int
    bailed: str | None = None

    @property
    def complete(self) -> bool:
        """Did every planned test get a result?"""
        return self.bailed is None and self.planned is not None and not self.unseen


@dataclass
class _Level:
    planned: int | None = None
    seen: int = 0
    failed: bool = False
    output: list[str] = field(default_factory=list)


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read all that a program printed. Nested tests get their path as a name; one that was running is a crash."""
    reader = _Reader(suite, repeat)
    for line in text.split("\n"):
        reader.line(line.rstrip("\r"))
    return reader.finish()


class _Reader:
    """One pass over the lines. Subtests close when their parent's result comes, so children wait for its name."""

    def __init__(self, suite: str, repeat: int) -> None:
        self.suite = suite
        self.repeat = repeat
        self.levels = [_Level()]
        self.open: list[list[tuple[str, Outcome, str]]] = [[]]
        self.running = ""
        self.unseen = 0
        self.bailed: str | None = None

    def line(self, line: str) -> None:
        depth, words = _unindent(line)
        if found := _BAIL.match(words):
            self.bailed = found[1]
        elif found := _PLAN.match(words):
            self._descend(depth)
            self._level.planned = int(found[1])
        elif found := _RESULT.match(words):
            self._result(depth, bool(found[1]), found[3])
        elif found := _RUNNING.match(words):
            self.running = found[1]
        elif words and not _SUBTEST.match(words) and not re.match(r"^K?TAP version \d+$", words, re.IGNORECASE):
            self.levels[min(depth, len(self.levels) - 1)].output.append(words.removeprefix("# "))

    def finish(self) -> Parsed:
        while len(self.levels) > 1:  # children whose parent never reported
            self._close("(unfinished)", failed=True)
        self._missing()
        results = []
        seen: dict[str, int] = {}
        for name, outcome, output in self.open[0]:
            seen[name] = seen.get(name, 0) + 1
            stable = name if seen[name] == 1 else f"{name}#{seen[name]}"
            results.append(TestResult(self.suite, stable, outcome, output[:_MAX_OUTPUT], self.repeat))
        return Parsed(tuple(results), self._level.planned, self.unseen, self.bailed)

    @property
    def _level(self) -> _Level:
        return self.levels[-1]

    def _descend(self, depth: int) -> None:
        while len(self.levels) <= depth:
            self.levels.append(_Level())
            self.open.append([])

    def _result(self, depth: int, failed: bool, rest: str) -> None:
        self._descend(depth)
        name, outcome = _outcome(failed, rest)
        while len(self.levels) - 1 > depth + 1:
            self._close("(unfinished)", failed=True)
        if len(self.levels) - 1 == depth + 1:
            self._close(name, failed=outcome.bad)
            self._level.seen += 1
            return
        level = self._level
        level.seen += 1
        level.failed |= outcome.bad
        name = name or f"test {level.seen}"
        self.open[-1].append((name, outcome, "\n".join(level.output)))
        level.output.clear()
        if depth == 0:
            self.running = ""

    def _close(self, name: str, *, failed: bool) -> None:
        """Hand the subtests to their parent, under its name; its own failure counts unless a subtest explains it."""
        self._missing()
        level = self.levels.pop()
        children = self.open.pop()
        parent = name or f"test {self._level.seen + 1}"
        self.open[-1] += [(f"{parent}/{child}", outcome, output) for child, outcome, output in children]
        if not children or (failed and not level.failed):
            outcome = Outcome.FAIL if failed else Outcome.PASS
            self.open[-1].append((parent, outcome, "\n".join([*level.output, *self._level.output])))
        self._level.failed |= failed
        self._level.output.clear()
        self.running = ""

    def _missing(self) -> None:
        """Count what was planned and not seen; the one that was running crashed."""
        level = self._level
        self.unseen += max(0, (level.planned or 0) - level.seen)
        if self.running:
            self.open[-1].append((self.running, Outcome.CRASH, "\n".join(level.output)))
            self.unseen = max(1, self.unseen)


def _unindent(line: str) -> tuple[int, str]:
    """Return the nesting depth and the line without it: four spaces a level, or "# " as kselftest's runner writes."""
    stripped = line.lstrip(" ")
    depth = (len(line) - len(stripped)) // 4
    inner = stripped
    prefixed = 0
    while inner.startswith("# ") and inner[2:].lstrip():
        inner = inner[2:]
        extra = len(inner) - len(inner.lstrip(" "))
        inner = inner.lstrip(" ")
        prefixed += 1 + extra // 4
        if _RESULT.match(inner) or _PLAN.match(inner):
            return depth + prefixed, inner
    return depth, stripped


def _outcome(failed: bool, rest: str) -> tuple[str, Outcome]:
    found = _DIRECTIVE.search(rest)
    name = (rest[: found.start()] if found else rest).strip().removeprefix("- ").replace("\\#", "#")
    match found[1].upper() if found else "":
        case "SKIP":
            return name, Outcome.SKIP
        case "TODO" | "XFAIL":
            return name, Outcome.XFAIL
        case "TIMEOUT":
            return name, Outcome.TIMEOUT
        case "ERROR":
            return name, Outcome.FAIL
    return name, Outcome.FAIL if failed else Outcome.PASS
