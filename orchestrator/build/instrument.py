"""gcov: which objects count the lines that they execute, said on make's command line. Pure: `read` gives a file's text,
`users` the sources that include a header.

All objects at once (CONFIG_GCOV_PROFILE_ALL) would make another kernel, slow and large.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from orchestrator.build.kbuild_options import Read, options_for
from orchestrator.build.toolchain import GCC

Users = Callable[[str], list[str]]

# What the kernel's own Makefile says, and a seed: without one, gcc stamps an object with the time of day, and no two
# images would be identical. The warning is one that gcov's counters provoke.
_FLAGS = "-fprofile-arcs -ftest-coverage -fno-tree-loop-im -Wno-maybe-uninitialized -frandom-seed=kdelta"
_BUILDS = ("Kbuild", "Makefile")
_ASKED, _MOST_USERS = 8, 3  # sources that include a header: so many are looked at, and so many count
_NAME = re.compile(r"[\w+-]+\.c", re.ASCII)  # make would take some other names apart


def variables(files: Iterable[str], compiler: str, read: Read, users: Users) -> tuple[str, ...]:
    """Return what make is told so that the objects of the sources among `files` count, and of few others.

    A name without its directory is what Kbuild asks for: the value says n wherever another object has it.
    """
    places: dict[str, set[str]] = {}
    for file in _sources(list(files), read, users):
        path = PurePosixPath(file)
        if _NAME.fullmatch(path.name) and (directory := _counting(path, read)) is not None:
            places.setdefault(path.stem, set()).add(directory)
    if not places:
        return ()
    flags = (f"CFLAGS_GCOV={_FLAGS}",) if compiler.startswith(GCC) else ()
    return *(f"GCOV_PROFILE_{stem}.o={_only(where)}" for stem, where in sorted(places.items())), *flags


def _sources(files: list[str], read: Read, users: Users) -> list[str]:
    """The sources among `files`, and, for each header that none of them includes, a few that do."""
    sources = [file for file in files if file.endswith(".c")]
    for header in (file for file in files if file.endswith(".h") and "/uapi/" not in file):  # those have no functions
        found = users(header)
        if not set(found) & set(sources):
            some = sorted(found[:_ASKED], key=lambda file: options_for(file, read) != ())  # what is always built first
            sources += some[:_MOST_USERS]
    return sources


def _only(directories: Iterable[str]) -> str:
    """y while Kbuild builds one of the directories."""
    return f"$(if $(filter {' '.join(sorted(directories))},$(obj)),y,n)"


def _counting(source: PurePosixPath, read: Read) -> str | None:
    """The directory from which Kbuild builds a source, unless it says there that its objects cannot count."""
    for directory in source.parents:
        texts = [text for name in _BUILDS if (text := read(str(directory / name)))]
        if texts:
            refused = re.compile(rf"^[ \t]*GCOV_PROFILE(?:_{re.escape(source.stem)}\.o)?\s*:?=\s*n\b", re.MULTILINE)
            return None if any(map(refused.search, texts)) else str(directory)
    return None
