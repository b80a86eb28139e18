"""Which options a file waits for before Kbuild compiles it, as its Makefiles say. Pure: `read` gives a file's text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[str], str | None]

_ASSIGNMENT = re.compile(r"^\s*([A-Za-z0-9_./-]+?)-(y|m|objs|\$[({]CONFIG_(\w+)[)}])\s*[:+?]?=(.*)$")
_MOST_SEEN = 50  # objects made of objects made of objects


@dataclass(frozen=True)
class _Part:
    """`name` is part of `whole` (obj, or a composite object) if `option` is set; "" is always."""

    whole: str
    option: str
    names: tuple[str, ...]


def options_for(file: str, read: Read) -> tuple[str, ...] | None:
    """Return the options, without CONFIG_, that must all be set to compile `file`; None if no Makefile names it."""
    directory, _, name = file.rpartition("/")
    stem, _, suffix = name.rpartition(".")
    if suffix not in ("c", "S"):
        return None
    inner = _within(f"{stem}.o", _parts(directory, read), set())
    outer = _above(directory, read)
    return None if inner is None or outer is None else tuple(dict.fromkeys((*outer, *inner)))


def _within(target: str, parts: list[_Part], seen: set[str]) -> tuple[str, ...] | None:
    """The options on the way from an object or directory to obj-y of its own Makefile; what was `seen` is on none."""
    done = target in seen or len(seen) >= _MOST_SEEN
    seen.add(target)
    for part in () if done else parts:
        if target in part.names:
            own = (part.option,) if part.option else ()
            if part.whole in ("obj", "lib", "core", "drivers", "libs", "net", "virt"):
                return own
            if (rest := _within(f"{part.whole}.o", parts, seen)) is not None:
                return (*rest, *own)
    return None


def _above(directory: str, read: Read) -> tuple[str, ...] | None:
    """The options on the way from a directory to the top."""
    found: tuple[str, ...] = ()
    while directory:
        parent, _, name = directory.rpartition("/")
        # a Makefile may name what is deeper below it, and the top one and arch/*/Makefile name whole trees
        here = _within(f"{name}/", _parts(parent, read), set())
        if here is not None:
            found = (*here, *found)
        elif parent and not _skips(parent, read):
            return None
        directory = parent
    return found


def _skips(directory: str, read: Read) -> bool:
    """Is there no Makefile that could name what is below?"""
    return not _texts(directory, read) or (directory.startswith("arch/") and directory.count("/") == 1)


def _parts(directory: str, read: Read) -> list[_Part]:
    return [part for text in _texts(directory, read) for part in _assignments(text)]


def _texts(directory: str, read: Read) -> list[str]:
    texts = (read(f"{directory}/{name}" if directory else name) for name in ("Kbuild", "Makefile"))
    return [text for text in texts if text]


def _assignments(text: str) -> Iterator[_Part]:
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if found := _ASSIGNMENT.match(line):
            whole, _, option, words = found.groups()
            yield _Part(whole, option or "", tuple(words.split("#")[0].split()))
