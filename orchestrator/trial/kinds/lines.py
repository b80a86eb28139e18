"""Text in, lines out, in one pass: what a crash, a console and a terminal do to lines is undone here."""

import re
from collections import deque
from collections.abc import Iterable, Iterator

_CHUNK = 1 << 20
_TORN_CHARS = 4096  # a line longer than that is not put together again
_HEAD_CHARS = 48 << 10
_TAIL_CHARS = 16 << 10
_LAST_CHARS = _TAIL_CHARS // 2  # of a line that is too long
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_KERNEL = re.compile(r"(?:<[0-9]{1,3}>)?\[ {0,8}[0-9]{1,10}\.[0-9]{6}\]")
_TORN = re.compile(r"(?:# |[ \t])*(?:o|n|no|not|not o|(?:not )?ok(?:\s.*)?|1|1\.|1\.\..*)")
_WHOLE = re.compile(r"(?:# |[ \t])*(?:(?:not )?ok\s+[0-9]|1\.\.[0-9]|K?TAP version )")


def whole(text: str) -> Iterator[str]:
    """Yield every line that has its newline, without it. A lone carriage return ends a line, too.

    NUL, which a disk shows where a dying guest wrote nothing, and a terminal's colours are no part of a line.
    """
    start, end = 0, text.rfind("\n") + 1
    while start < end:
        stop = text.find("\n", min(start + _CHUNK, end - 1)) + 1
        chunk = text[start : stop - 1]
        start = stop
        if "\r" in chunk:
            chunk = chunk.replace("\r\n", "\n").rstrip("\r").replace("\r", "\n")
        yield from _plain(chunk).split("\n")


def cut(text: str) -> str:
    """Return what follows the last newline: a line that may lack its end, so nothing good is to be read from it."""
    return _plain(text[text.rfind("\n") + 1 :]).rstrip("\r")


def _plain(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "")
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def mended(lines: Iterable[str]) -> Iterator[str]:
    """Put a result or plan together again that the kernel interrupted with a message of its own.

    The kernel ends its message with a newline: the interrupted line goes on in the next one that is not the kernel's.
    """
    torn = ""
    for line in lines:
        if torn and not _KERNEL.match(line):
            if _WHOLE.match(line) or len(torn) > _TORN_CHARS:
                yield f"... {torn}"  # its end is lost: words, no result
            else:
                line = torn + line  # noqa: PLW2901
            torn = ""
        if "[" in line and (found := _KERNEL.search(line)) and _TORN.fullmatch(line, 0, found.start()):
            torn, line = line[: found.start()], line[found.start() :]  # noqa: PLW2901
        yield line
    if torn:
        yield f"... {torn}"


def kept(text: str) -> str:
    """Return `text` as far as it is kept of one test."""
    words = Words(*whole(text))
    words.add(cut(text))
    return str(words)


class Words:
    """What a test said. Of more than 64 Ki characters the first and the last are kept."""

    __slots__ = ("_dropped", "_head", "_room", "_tail", "_tail_chars")

    def __init__(self, *lines: str) -> None:
        self._head: list[str] = []
        self._room = _HEAD_CHARS
        self._tail: deque[str] | None = None
        self._tail_chars = 0
        self._dropped = False
        for line in lines:
            self.add(line)

    def add(self, line: str) -> None:
        """Add a line; an empty one says nothing."""
        if not line:
            return
        if self._tail is None:
            if len(line) < self._room:
                self._head.append(line)
                self._room -= len(line) + 1
                return
            self._tail = deque()
        self._dropped |= len(line) > _LAST_CHARS
        self._tail.append(line[-_LAST_CHARS:])
        self._tail_chars += len(self._tail[-1]) + 1
        while self._tail_chars > _TAIL_CHARS and len(self._tail) > 1:
            self._tail_chars -= len(self._tail.popleft()) + 1
            self._dropped = True

    def __iter__(self) -> Iterator[str]:
        yield from self._head
        if self._dropped:
            yield "[...]"
        yield from self._tail or ()

    def __str__(self) -> str:
        return "\n".join(self)
