"""KUnit's results in, as a console or dmesg carries them or as debugfs/kunit/*/results gives them; test results out."""

import re

from orchestrator.trial.kinds import lines
from orchestrator.trial.kinds.ktap import Reader
from orchestrator.trial.kinds.parsed import Parsed

# What stands in front of a kernel message: syslog's or journalctl's words, dmesg -r's level, the time, who wrote it.
_STAMP = re.compile(
    r"(?:(?:[A-Z][a-z]{2} [ 0-9][0-9] |[0-9]{4}-[0-9]{2}-[0-9]{2}T)[0-9:.+-]{8,30} \S{1,64} kernel: )?"
    r"(?:<[0-9]{1,3}>)?(?:\[ *[0-9]{1,10}\.[0-9]{6}\] ?(?:\[ *[TC][0-9]{1,10}\] ?)?)?"
)
_START = re.compile(r"([ \t]*)K?TAP version [0-9]+\s*$|[ \t]+# Subtest: ")
_CASE = re.compile(r"([A-Za-z0-9_]+): ")
_TOTALS = re.compile(r"(\S+): pass:[0-9]+ fail:[0-9]+ skip:[0-9]+ total:([0-9]{1,18})$")
_LOST = re.compile(r"\*\* [0-9]+ printk messages dropped \*\*")


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read the results of every suite in the log; the case that ran when the kernel died is a crash, and its suite."""
    return _parse(text, _Reader(suite, repeat))


def whole(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read all that modules said from their first word to their last.

    Older kernels give a module's suites no plan: as many as ended were to run, and one that did not end is seen.
    """
    return _parse(text, _Reader(suite, repeat, planless=not _LOST.search(text)))


def told(text: str) -> bool:
    """Does the log tell of KUnit?"""
    return any(_START.match(line, _stamp(line)) for line in lines.whole(text))


def _stamp(line: str) -> int:
    """Where what the kernel says begins."""
    return _STAMP.match(line).end()  # type: ignore[union-attr]  # it matches the empty string, too


def _parse(text: str, reader: "_Reader") -> Parsed:
    stamped: bool | None = None  # does the log have times? Then a line without one is not the kernel's.
    margin = ""  # what stands in front of the first line stands in front of all
    for line in lines.whole(text):
        end = _stamp(line)
        if stamped is None and (found := _START.match(line, end)):
            stamped, margin = end > 0, found[1] or ""
        if stamped is not None and not (stamped and end == 0):
            reader.line(line[end:].removeprefix(margin))
    return reader.finish(lines.cut(text))


class _Reader(Reader):
    """KUnit says of a case that it runs only by what the case says: `# case: words`.

    What is `planless` need not say how many suites it has.
    """

    def __init__(self, suite: str, repeat: int, *, planless: bool = False) -> None:
        super().__init__(suite, repeat, strict=True)
        self._planless = planless

    def finish(self, rest: str) -> Parsed:
        if self._planless and self._root.planned is None:
            self._root.planned = self._root.seen or None
        return super().finish(rest)

    def announced(self, prefix: str, rest: str) -> bool:
        inner = self._levels[-1]
        totals = _TOTALS.match(rest)
        if totals and inner.planned is None and totals[1] == inner.name:
            inner.planned = int(totals[2])  # the line with the plan was lost
        case = _CASE.match(rest)
        if case and not totals and prefix == f"{inner.prefix}# " and case[1] not in (inner.name, "module"):
            inner.running = case[1]
        return False
