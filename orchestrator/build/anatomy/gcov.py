"""The lines of objects that count what they execute: which have counters, and what those counted, as gcov says."""

import base64
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from kvm import proc
from orchestrator import cache
from orchestrator.build import toolchain
from orchestrator.build.anatomy import errand, kit
from orchestrator.build.anatomy.errand import NoAnswer, Place
from orchestrator.build.anatomy.kit import Kit
from orchestrator.build.sandbox import PATH
from orchestrator.build.toolchain import GCC, Toolchain
from orchestrator.model.coverage import Compiled, Lines

RECIPE = 1  # raise it when the same objects would be told otherwise
TOOL_SECONDS = 60.0
MOST_READINGS = 2000  # that differ; gcov takes 0.02 s for each
_SCRIPT = Path(__file__).with_name("gcov_inside.py")
_COUNTS = "-ftest-coverage"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class _Answer:
    """What the script brings back."""

    left: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    lines: dict[str, Lines] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What is known of the objects that count, by their name, and why something is not."""

    objects: dict[str, Compiled] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_ANSWER = TypeAdapter(_Answer)
_TOLD = TypeAdapter(Told)


def counting(tools: Kit) -> tuple[str, ...]:
    """Return the names of the objects that count."""
    return tuple(sorted(name for name, command in tools.commands.items() if _COUNTS in command))


def program(compiler: Toolchain) -> str:
    """Return the gcov of the very compiler, whose files no other version reads; raises NoAnswer without one."""
    if compiler.family != GCC:
        raise NoAnswer("the counters of clang are not read: build with gcc")
    if not (version := _VERSION.search(compiler.version.rpartition(")")[2] or compiler.version)):
        raise NoAnswer(f"{compiler.cc} does not say which version it is")
    for name in (f"{compiler.prefix}gcov", f"{compiler.prefix}gcov-{version[1]}"):
        if shutil.which(name, path=PATH) and version[0] in proc.check([name, "--version"], timeout=30).splitlines()[0]:
            return name
    package = toolchain.packages(replace(compiler, kind=f"{GCC}-{version[1]}"))
    raise NoAnswer(f"no gcov of {compiler.cc} {version[0]} is installed (apt install {package})")


def look(place: Place, files: Iterable[str], gcov: str) -> Told:
    """Ask which lines of `files` each object that counts has; what was seen once is kept beside the image."""
    wanted = sorted(files)
    return cache.remember(place.build / "counters", [RECIPE, wanted, gcov], _TOLD, lambda: _look(place, wanted, gcov))


def _look(place: Place, files: list[str], gcov: str) -> Told:
    tools = kit.load(place.build)
    if tools is None:
        return Told(notes=(kit.NONE,))
    names = counting(tools)
    readings = {name: (name, "") for name in names}
    try:
        said = _ask(place, gcov, files, {name: tools.argv(name) for name in names}, readings)
    except (NoAnswer, ValueError) as fault:
        return Told(notes=(str(fault),))
    objects = {name: Compiled(said.left.get(name, {}), said.lines[name]) for name in names if name in said.lines}
    return Told(objects, _words(said))


def read(
    place: Place, files: Iterable[str], gcov: str, counts: Mapping[str, tuple[str, bytes]]
) -> tuple[dict[str, Lines], tuple[str, ...]]:
    """Turn `counts`, each an object's name and its .gcda, into lines; also says what could not be read."""
    some = dict(list(counts.items())[:MOST_READINGS])
    left_out = [f"{len(counts) - len(some)} more readings of counters were not looked at"] if some != counts else []
    readings = {key: (name, base64.b64encode(content).decode()) for key, (name, content) in some.items()}
    if not readings:
        return {}, ()
    try:
        said = _ask(place, gcov, sorted(files), {}, readings)
    except (NoAnswer, ValueError) as fault:
        return {}, (str(fault),)
    return said.lines, (*left_out, *_words(said))


def _ask(
    place: Place, gcov: str, files: list[str], argv: Mapping[str, list[str]], readings: Mapping[str, tuple[str, str]]
) -> _Answer:
    job: dict[str, object] = {"argv": argv, "readings": readings, "files": files, "gcov": gcov}
    seconds = TOOL_SECONDS * (1 + len(argv)) + len(readings)
    with errand.send(_SCRIPT, {**job, "seconds": TOOL_SECONDS}, place, seconds) as answer:
        return _ANSWER.validate_json(answer.json)


def _words(said: _Answer) -> tuple[str, ...]:
    return tuple(dict.fromkeys(said.errors.values()))
