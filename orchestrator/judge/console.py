"""A console's text in, the kernel's messages out: time, caller, words. Pure; takes any text, a piece at a time."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LONGEST_LINE = 4096  # characters of a line that are looked at; a kernel's are below 1024

# `<4>`, `[   12.345678]`, and with CONFIG_PRINTK_CALLER `[  T123]` (a task) or `[    C1]` (a CPU outside of any)
_PREFIX = re.compile(r"(?:<\d{1,3}>)?(?:\[ *(?P<time>\d{1,9}\.\d+)\] ?)?(?:\[ *(?P<caller>[TC]\d+)\] ?)?")
_STAMP = re.compile(r"\[(?=[ \d]{5}) *(?P<time>\d{1,9}\.\d{6})\]")
_LINE_STAMP = re.compile(r"\n(?:<\d{1,3}>)?\[ *\d{1,9}\.\d+\]")
_WRAPS = frozenset({80, 100, 120, 132})  # columns at which a terminal between us and the guest may have cut
_MOST_ROWS = 20  # that one line is cut into
_MOST_RECORDS = 8  # in one line


@dataclass(frozen=True, slots=True)
class Record:
    """One message of the kernel; `rows` are the lines it stands on, without what another message wrote there.

    `time` in seconds and `caller` ("T123", "C1") are None where the line does not say.
    """

    time: float | None
    caller: str | None
    message: str
    rows: tuple[str, ...]


def texts(blocks: Iterable[str]) -> Iterator[str]:
    """Put blocks of any size together so that each text ends with a line; memory stays bounded by the largest block."""
    rest = ""
    for block in blocks:
        rest += block
        end = _last_line(rest)
        if end or len(rest) > LONGEST_LINE * _MOST_ROWS:
            yield rest[: end or len(rest)]
            rest = rest[end:] if end else ""
    if rest:
        yield rest


def stamped(text: str) -> bool:
    """Does a line of the text begin with a time?"""
    return _LINE_STAMP.search(f"\n{text[:LONGEST_LINE]}") is not None or _LINE_STAMP.search(text) is not None


def time_before(text: str, at: int, earlier: float) -> float:
    """Return the time of the last message before `at`, if there is one nearby, else `earlier`."""
    start = text.rfind("\n[", max(0, at - LONGEST_LINE), at)
    return float(_prefix(text[start + 1 : start + 64])["time"] or earlier) if start >= 0 else earlier


def line_at(text: str, at: int, earlier: float = 0.0) -> tuple[list[Record], int]:
    """Return the messages of the line that starts at `at`, and where the next line starts.

    `earlier` is the time of the last message before the text.

    A program's unfinished words and a panic's haste put several messages onto one line, and a terminal puts one onto
    several. Words that carry an earlier time than the line before them are quoted, and no message.
    """
    row, after = _row(text, at)
    prefix = _prefix(row)
    if len(row) in _WRAPS and prefix["time"]:
        rows, after = _rest(text, row, after)
    else:
        rows = (row,)
    found: list[Record] = []
    stamp = _STAMP.search(row, max(prefix.end(), 1))
    since = float(prefix["time"] or time_before(text, at, earlier)) if stamp else 0.0
    while stamp and len(found) < _MOST_RECORDS:
        if float(stamp["time"]) < since:
            stamp = _STAMP.search(row, stamp.end())
            continue
        found.append(_record(prefix, (row[: stamp.start()],)))
        row, since = row[stamp.start() :], float(stamp["time"])
        prefix = _prefix(row)
        stamp = _STAMP.search(row, prefix.end())
    return [*found, _record(prefix, (row, *rows[1:]))], after


def _rest(text: str, row: str, after: int) -> tuple[tuple[str, ...], int]:
    """Collect what a terminal put onto the next lines."""
    rows = [row]
    while len(rows[-1]) in _WRAPS and len(rows) < _MOST_ROWS and after < len(text):
        following, behind = _row(text, after)
        if not following or _prefix(following).end():
            break
        rows.append(following)
        after = behind
    return tuple(rows), after


def _record(prefix: re.Match[str], rows: tuple[str, ...]) -> Record:
    time, caller = prefix.groups()
    message = rows[0][prefix.end() :]
    if len(rows) > 1:
        message = "".join((message, *rows[1:]))[:LONGEST_LINE]
    return Record(float(time) if time else None, caller, message, rows)


def _prefix(row: str) -> re.Match[str]:
    found = _PREFIX.match(row)
    assert found  # it matches nothing, too
    return found


def _row(text: str, at: int) -> tuple[str, int]:
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return text[at : min(end, at + LONGEST_LINE)].rstrip("\r"), end + 1


def _last_line(text: str) -> int:
    """Where the last line ends, or the one before it if a terminal may have cut that."""
    end = text.rfind("\n") + 1
    start = text.rfind("\n", 0, max(0, end - 1)) + 1
    cut = len(text[start:end].rstrip("\r\n")) in _WRAPS if end - start <= max(_WRAPS) + 3 else False
    return start if cut and start else end
