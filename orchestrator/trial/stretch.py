"""What a console says while one program runs: the words between its start and its end, or the next one's start."""

import re
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path

from orchestrator.model import OURS, Splat

MOST_BYTES = 8 << 20  # of one console

_MARK = re.compile(rf"^.*\b{OURS}(\S+) (starts|ends)\r?(?:\n|\Z)", re.MULTILINE)
_ODD = re.compile(r"[^\w.:+-]+", re.ASCII)
_SHOWN = 60
_NUMBERED = re.compile(r"^\d{3}-")
_REPEAT = re.compile(r"@\d+$")

Stretches = dict[str, str]
Around = Callable[[str, str], str | None]  # a suite, a test


def read(path: Path | None, *, after: bool = False) -> Stretches:
    """Cut a console up by program, the first run of each; a program that never ended has all to the next one.

    With `after` each has all to the next one: what the kernel does for it may come late.
    """
    if path is None:
        return {}
    with path.open("rb") as log:
        text = log.read(MOST_BYTES).decode(errors="backslashreplace")
    marks = [mark for mark in _MARK.finditer(text) if mark[2] == "starts" or not after]
    found = Stretches()
    for mark, following in zip_longest(marks, marks[1:]):
        if mark[2] == "starts":
            found.setdefault(mark[1], text[mark.end() : following.start() if following else None])
    return found


def written(name: str) -> str:
    """The name of a program as it is on the console, and as a file's."""
    return _ODD.sub("_", name)[-_SHOWN:]


def program(key: str, suite: str, names: Iterable[str]) -> str:
    """Return which of the tests `names` of a suite is what the console calls `key`, of any repeat; "" if none is."""
    part = key.removeprefix(suite).removeprefix("/")
    known = {written(name) if _NUMBERED.match(part) else name: name for name in names}
    plain = _NUMBERED.sub("", part, count=1)
    return known.get(plain) or known.get(_REPEAT.sub("", plain), "")


def around(found: Stretches) -> Around:
    """Find the words around a test: those of its own guest, of its program, or of its suite; None if none ran."""
    programs: dict[str, Stretches] = {}
    for key, said in found.items():
        suite, _, part = key.rpartition("/")
        if _NUMBERED.match(part):
            programs.setdefault(suite, {}).setdefault(_NUMBERED.sub("", part), said)

    def of(suite: str, test: str) -> str | None:
        if (alone := found.get(f"{suite}/{test}")) is not None:
            return alone
        own, odd = programs.get(suite, {}), _ODD.sub("_", test)
        longest_first = range(len(odd), 0, -1) if own else ()
        return next((own[odd[:end]] for end in longest_first if odd[:end] in own), found.get(suite))

    return of


def holds(said: str, splat: Splat) -> bool:
    """Is that report of the kernel in these words?"""
    first = splat.text.strip().partition("\n")[0].strip()
    return bool(first) and first in said
