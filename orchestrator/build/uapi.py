"""Touched uapi headers as user space gets them: do they compile alone, in C and C++, and what do they define?"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from kvm.arch import get as get_arch
from orchestrator import cache, listing
from orchestrator.build import toolchain
from orchestrator.build.anatomy import errand, pahole
from orchestrator.build.anatomy.errand import NoAnswer, Place
from orchestrator.build.anatomy.facts import Uapi, UapiHeader
from orchestrator.build.sandbox import DENIED, PATH

RECIPE = 2  # raise it when the same headers would be told otherwise
TOOL_SECONDS = 60.0
_SCRIPT = Path(__file__).with_name("uapi_inside.py")
_EXPORTED = re.compile(r"(?:arch/(?P<arch>\w+)/)?include/uapi/(?P<name>.*\.h)")
_NAMES_SHOWN = 4


@dataclass(frozen=True)
class _Said:
    """What the script says of one header."""

    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    enumerators: dict[str, str] = field(default_factory=dict)
    pahole: str = ""
    compiled: bool = True


_ADAPTER = TypeAdapter(Uapi)
_ANSWER: TypeAdapter[dict[str, _Said]] = TypeAdapter(dict[str, _Said])


def look(place: Place, arch: str, files: Iterable[str]) -> Uapi:
    """Probe the uapi headers among `files`, the paths that the series changes.

    What was seen once is kept beside the image.
    """
    names, others = touched(files, arch)
    if not names:
        return Uapi({}, True, _others(others))
    tools = toolchain.find(arch)
    missing = [program for program in (f"{tools.prefix}g++", "pahole") if not shutil.which(program, path=PATH)]
    notes = (*_others(others), *(f"uapi headers: {program} is not installed" for program in missing))
    inputs = [RECIPE, names, others, tools.identity, missing]
    return cache.remember(
        place.build / "uapi", inputs, _ADAPTER, lambda: _look(place, arch, names, notes), whole=lambda found: found.seen
    )


def touched(files: Iterable[str], arch: str) -> tuple[list[str], list[str]]:
    """Sort out the uapi headers among `files`: names as `arch` includes them, and paths that it does not use."""
    mine: list[str] = []
    others: list[str] = []
    for file in files:
        if found := _EXPORTED.fullmatch(file):
            ours = found["arch"] in (None, get_arch(arch).srcarch)
            (mine if ours else others).append(found["name"] if ours else file)
    return sorted(set(mine)), others


def _look(place: Place, arch: str, names: list[str], notes: tuple[str, ...]) -> Uapi:
    prefix = toolchain.find(arch).prefix
    job: dict[str, object] = {
        "headers": names,
        "srcarch": get_arch(arch).srcarch,
        "cc": f"{prefix}gcc",
        "cxx": f"{prefix}g++",
        "seconds": TOOL_SECONDS,
    }
    try:
        with errand.send(_SCRIPT, job, place, TOOL_SECONDS * (1 + len(names))) as answer:
            said = _ANSWER.validate_json(answer.json)
            notes += tuple(f"{DENIED}{deed}" for deed in answer.box.tried)  # the tree has its own script for headers
    except (NoAnswer, OSError, ValueError) as fault:
        return Uapi({}, False, (*notes, f"uapi headers were not probed: {fault}"))
    headers = {
        name: UapiHeader(words.problems, words.macros, words.enumerators, pahole.parse(words.pahole), words.compiled)
        for name, words in said.items()
    }
    return Uapi(headers, True, notes)


def _others(paths: list[str]) -> tuple[str, ...]:
    if not paths:
        return ()
    return (f"uapi headers of other architectures were not probed: {listing.first(paths, _NAMES_SHOWN)}",)
