"""What a console says while one program runs: the words between its start and its end."""

import re
from itertools import zip_longest
from pathlib import Path

from orchestrator.model import OURS, Splat

MOST_BYTES = 8 << 20  # of one console

_MARK = re.compile(rf"^.*\b{OURS}(\S+) (starts|ends)\r?(?:\n|\Z)", re.MULTILINE)
_ODD = re.compile(r"[^\w.:+-]+", re.ASCII)  # as the names of programs are written on the console

Stretches = dict[str, str]


def read(path: Path | None) -> Stretches:
    """Cut a console up by program, the first run of each; a program that never ended has all to the next one."""
    if path is None:
        return {}
    with path.open("rb") as log:
        text = log.read(MOST_BYTES).decode(errors="backslashreplace")
    marks, found = list(_MARK.finditer(text)), Stretches()
    for mark, after in zip_longest(marks, marks[1:]):
        if mark[2] == "starts":
            found.setdefault(mark[1], text[mark.end() : after.start() if after else None])
    return found


def around(found: Stretches, suite: str, test: str) -> str | None:
    """The words around one test: those of its own guest, of its program, or of its suite; None if none of them ran."""
    if (alone := found.get(f"{suite}/{test}")) is not None:
        return alone
    odd = _ODD.sub("_", test)
    programs = {key: key.removeprefix(f"{suite}/")[4:] for key in found if re.match(r"\d{3}-", key[len(suite) + 1 :])}
    own = [key for key, name in programs.items() if key.startswith(f"{suite}/") and name and odd.startswith(name)]
    return found[max(own, key=lambda key: len(programs[key]))] if own else found.get(suite)


def holds(said: str, splat: Splat) -> bool:
    """Is that report of the kernel in these words?"""
    first = splat.text.strip().partition("\n")[0].strip()
    return bool(first) and first in said
