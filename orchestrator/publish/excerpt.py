"""The ends of long texts, as a report shows them: cut with a word about it, and compared line by line."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from orchestrator.publish import figures
from orchestrator.publish.clean import printable

CONSOLE_LIMIT = 64 * 1024
AROUND_LIMIT = 8 * 1024
OUTPUT_LIMIT = 16 * 1024
OUTPUTS_ROOM = 1 << 20  # characters in one report, which a mail must still carry
AROUND_ROOM = 1 << 18
PACKED_OUTPUTS_ROOM = 1 << 22  # what is compressed takes a fifth of it, or less
PACKED_AROUND_ROOM = 1 << 20
CONSOLES_ROOM = 1 << 19

Key = Callable[[str], str]  # what of a line is compared

_STAMP = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?")
_NUMBER = re.compile(r"\b(?=[a-fx]*+\d)[0-9a-fx]++\b")


@dataclass(frozen=True)
class Excerpt:
    """What is shown of a text; `note` says what is not, or why there is nothing."""

    text: str
    note: str = ""
    cut: bool = False


@dataclass(frozen=True)
class Pane:
    """An excerpt under its title, in passages of whole lines: (text, is it only here)."""

    title: str
    note: str
    passages: tuple[tuple[str, bool], ...]


class Shelf:
    """The room that one report has for excerpts: first come, first held."""

    def __init__(self, room: int) -> None:
        self.room = room

    def hold(self, excerpt: Excerpt) -> Excerpt:
        """The excerpt itself, or a word in its place once the room is used up."""
        if len(excerpt.text) > self.room:
            return Excerpt("", "not shown: this report holds its fill of long texts", cut=True)
        self.room -= len(excerpt.text)
        return excerpt


def output(text: str) -> Excerpt:
    """The end of a test's words."""
    return _end(text, OUTPUT_LIMIT, "run.json") if text.strip() else Excerpt("", "no output")


def around(text: str | None) -> Excerpt:
    """The end of what a console says around a test."""
    if text is None:
        return Excerpt("", "not on the console")
    return _end(text, AROUND_LIMIT, "console.log") if text.strip() else Excerpt("", "the console says nothing")


def _end(text: str, limit: int, source: str) -> Excerpt:
    if len(text) <= limit:
        return Excerpt(printable(text))
    note = f"the last {figures.size(limit)} of {figures.size(len(text))}; {source} has all of it"
    return Excerpt(printable(_from_line_start(text[-limit:])), note, cut=True)


def console(path: Path | None) -> Excerpt:
    """The end of a console; a byte that is no UTF-8 shows as \\xff."""
    if path is None:
        return Excerpt("", "no console was kept")
    with path.open("rb") as log:
        length = log.seek(0, os.SEEK_END)
        log.seek(max(0, length - CONSOLE_LIMIT))
        text = log.read(CONSOLE_LIMIT).decode(errors="backslashreplace")
    if length <= CONSOLE_LIMIT:
        return Excerpt(printable(text), "" if text.strip() else "the console is empty")
    note = f"the last {figures.size(CONSOLE_LIMIT)} of {figures.size(length)}; the file has all of it"
    return Excerpt(printable(_from_line_start(text)), note, cut=True)


def _from_line_start(text: str) -> str:
    """Without the piece of a line that a cut leaves; a text of one line stays."""
    return text.partition("\n")[2] or text


def same_line(text: str) -> str:
    """Test output compares word for word."""
    return text.rstrip()


def same_message(text: str) -> str:
    """Console lines compare without their time and their numbers."""
    return _NUMBER.sub("#", _STAMP.sub("", text.rstrip()))


def pane(title: str, shown: Excerpt, other: Excerpt | None, key: Key) -> Pane:
    """The excerpt, its lines marked that the other side does not have; no marks where either was cut or is empty."""
    if not shown.text or other is None or not other.text or shown.cut or other.cut:
        return Pane(title, shown.note, ((shown.text, False),) if shown.text else ())
    known = {key(text) for text in other.text.splitlines()}
    rows = ((text, bool(text.strip()) and key(text) not in known) for text in shown.text.splitlines())
    runs = groupby(rows, key=lambda row: row[1])
    return Pane(title, shown.note, tuple(("\n".join(text for text, _ in run) + "\n", only) for only, run in runs))
