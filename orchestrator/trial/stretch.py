"""What a console says while one program or case runs: the words from its start to its end, or the next one's start."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from orchestrator.model import OURS, Splat

_MOST_BYTES = 8 << 20  # of one console

_MARK = re.compile(rf"^.*\b{OURS}(\S+) (starts|ends)\r?(?:\n|\Z)", re.MULTILINE)
_CASE = re.compile(rf"^.*\b{OURS}(\S+) runs (\S+)\r?(?:\n|\Z)", re.MULTILINE)  # guest_tests/include/ktap.h
_ODD = re.compile(r"[^\w.:+-]+", re.ASCII)
_SHOWN = 60
_NUMBERED = re.compile(r"^\d{3}-")
_REPEAT = re.compile(r"@\d+$")

Stretches = dict[str, str]
Around = Callable[[str, str], str | None]  # a suite, a test


def read(path: Path | None, *, after: bool = False) -> Stretches:
    """Cut a console up by program, the first run of each; a program that never ended has all to the next one.

    So are the cases that it says it runs, by its name and theirs. With `after` each program has all to the next one,
    and there are no cases: what the kernel does for one may come late.
    """
    if path is None:
        return {}
    text = head(path).decode(errors="backslashreplace")
    marks = [mark for mark in _MARK.finditer(text) if mark[2] == "starts" or not after]
    found = Stretches()
    for mark, said in _cut(marks, text):
        if mark[2] == "starts" and mark[1] not in found:
            found[mark[1]] = said
            cases = [] if after else [case for case in _CASE.finditer(said) if case[1] == mark[1]]
            found.update((f"{mark[1]}/{case[2]}", words) for case, words in _cut(cases, said))
    return found


def head(console: Path, since: int = 0) -> bytes:
    """What is looked at of a console from a place on: of one that is flooded the beginning."""
    with console.open("rb") as log:
        log.seek(since)
        return log.read(_MOST_BYTES)


def of(text: str, name: str) -> tuple[str, bool]:
    """Return what is said from where a program starts on, and whether that goes on to its end."""
    marks = [mark for mark in _MARK.finditer(text) if mark[1] == name]
    starts, ends = ([mark for mark in marks if mark[2] == which] for which in ("starts", "ends"))
    if not starts:
        return "", False
    whole = bool(ends) and ends[-1].start() >= starts[0].end()
    return text[starts[0].end() : ends[-1].start() if whole else None], whole


def _cut(marks: Sequence[re.Match[str]], text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each mark with what is said from there to the next one."""
    for mark, following in zip_longest(marks, marks[1:]):
        yield mark, text[mark.end() : following.start() if following else None]


def written(name: str) -> str:
    """The name of a program as it is on the console, and as a file's."""
    return _ODD.sub("_", name)[-_SHOWN:]


def program(key: str, suite: str, names: Iterable[str]) -> str:
    """Return which of the tests `names` of a suite is what the console calls `key`, of any repeat; "" if none is."""
    part = key.removeprefix(suite).removeprefix("/")
    known = {written(name) if _NUMBERED.match(part) else name: name for name in names}
    plain = _NUMBERED.sub("", part, count=1)
    return known.get(plain) or known.get(_REPEAT.sub("", plain), "")


def of_several(key: str) -> bool:
    """Does the console call a program so that is one of several?"""
    return bool(_NUMBERED.match(key.partition("/")[2]))


def around(found: Stretches) -> Around:
    """Find the words around a test: those of its guest or case, its program, or its suite; None if none ran."""
    programs: dict[str, Stretches] = {}
    for key, said in found.items():
        suite, _, part = key.partition("/")
        if _NUMBERED.match(part):
            programs.setdefault(suite, {}).setdefault(_ODD.sub("_", _NUMBERED.sub("", part)), said)

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
