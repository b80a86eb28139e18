"""Entries of a call trace in, source lines out, with inlined functions: from objects compiled again with debug info.

The image under test has no debug info, and its vmlinux is gone. The symbols of its objects were kept: they say which
object holds a function. Debug info does not change code, so the object compiled again has the line of every
instruction; that it is the same code is believed when the function is as large as it was in the build, and as the trace
says it is.
"""

import logging
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk
from orchestrator import cache
from orchestrator.build.anatomy import closeup, elf, errand, kernel, kit
from orchestrator.build.anatomy.elf import Elf
from orchestrator.build.anatomy.errand import Answer, NoAnswer, Place
from orchestrator.build.anatomy.facts import Anatomy
from orchestrator.build.anatomy.kit import Kit
from orchestrator.build.anatomy.objects import plain_name
from orchestrator.build.sandbox import OBJ, PATH, SRC
from orchestrator.model import Call

log = logging.getLogger(__name__)

RECIPE = 1  # raise it when the same entries would be told otherwise
MOST_OBJECTS = 24  # that are compiled again for one kernel; about a second each
NOT_SURE = "(line not sure)"

_MOST_NAMESAKES = 3  # objects with a function of one name that are tried
_PADDING = 64  # bytes between functions: kallsyms counts them to the first of two
_TOOL_SECONDS = 60.0
_ADAPTER: TypeAdapter[list[tuple[str, ...]]] = TypeAdapter(list[tuple[str, ...]])
_PLACE = re.compile(r"(?P<file>.+):(?P<line>[1-9]\d*)(?: \(discriminator \d+\))?$")

_Frames = tuple[str, ...]


@dataclass(frozen=True)
class _Spot:
    """Where a call's instruction is: `at` bytes into a section. `padding`: traced size less the function's."""

    call: Call
    at: int
    padding: int


def symbolise(calls: Sequence[Call], place: Place, addr2line: str) -> list[_Frames]:
    """Say for each entry `function file:line`, inlined functions first; nothing for what is not known.

    `addr2line` is the program's name. What was seen once is kept beside the image.
    """
    inputs = [RECIPE, addr2line, *([call.symbol, call.offset, call.size, call.exact] for call in calls)]
    return cache.remember(
        place.build / "trace", inputs, _ADAPTER, lambda: _symbolise(calls, place, addr2line), whole=any
    )


def _symbolise(calls: Sequence[Call], place: Place, addr2line: str) -> list[_Frames]:
    anatomy, tools = kernel.load(place.build), kit.load(place.build)
    if not shutil.which(addr2line, path=PATH):
        log.warning("call traces are without source lines: %s is not installed (apt install binutils)", addr2line)
        return [() for _ in calls]
    if anatomy is None or tools is None:
        return [() for _ in calls]
    wanted = _objects(calls, anatomy, tools)
    try:
        found = _look(wanted, tools, place, anatomy, addr2line) if wanted else {}
    except (NoAnswer, ValueError, OSError) as fault:
        log.warning("call traces are without source lines: %s", fault)
        found = {}
    return [found.get(call, ()) for call in calls]


def _objects(calls: Iterable[Call], anatomy: Anatomy, tools: Kit) -> dict[str, list[Call]]:
    """Find the objects that may hold each function, in the order of the calls; of a call all of them or none."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, facts in anatomy.objects.items():
        if name in tools.commands and f"{Path(name).stem}.S" not in tools.commands[name]:
            for function in facts.functions:
                holders[function].append(name)
    wanted: dict[str, list[Call]] = {}
    for call in dict.fromkeys(calls):
        names = holders[plain_name(call.symbol)]
        few = len(names) <= _MOST_NAMESAKES and len(wanted.keys() | set(names)) <= MOST_OBJECTS
        for name in names if few and call.offset is not None else ():
            wanted.setdefault(name, []).append(call)
    return wanted


def _look(
    wanted: Mapping[str, list[Call]], tools: Kit, place: Place, anatomy: Anatomy, addr2line: str
) -> dict[Call, _Frames]:
    argv = {name: tools.argv(name) for name in wanted}
    found: dict[Call, dict[int, set[_Frames]]] = defaultdict(lambda: defaultdict(set))
    blind: set[Call] = set()  # may be in an object that nobody saw
    with closeup.compiled(argv, place, ["-g"]) as (answer, said):
        for name, calls in wanted.items():
            file, sizes = said.get(name, {}).get("file"), anatomy.objects[name].functions
            if file is None:
                blind.update(calls)
                continue
            for section, spots in _spots(answer, file, calls, sizes).items():
                for spot, frames in _lines(answer, file, section, spots, addr2line):
                    found[spot.call][spot.padding].add(frames)
    every = {call for calls in wanted.values() for call in calls}
    return {call: _surest(call, {} if call in blind else found[call]) for call in every}


def _surest(call: Call, found: Mapping[int, set[_Frames]]) -> _Frames:
    """What the function says whose size is next to the traced one: weak system calls have the names of real ones."""
    answers = found[min(found)] if found else set()
    return next(iter(answers)) if len(answers) == 1 else (f"{plain_name(call.symbol)} {NOT_SURE}",)


def _spots(answer: Answer, file: str, calls: Iterable[Call], sizes: Mapping[str, int]) -> dict[str, list[_Spot]]:
    """Find where in the object each call's instruction is, by section."""
    try:
        content = Elf(disk.read(answer.directory / Path(file).name, errand.LARGEST))
    except (OSError, elf.Malformed):
        return {}
    functions: dict[str, list[elf.Symbol]] = defaultdict(list)
    for symbol in content.symbols:
        if symbol.kind == elf.STT_FUNC and symbol.size and 0 < symbol.section < len(content.sections):
            functions[plain_name(symbol.name)].append(symbol)
    spots: dict[str, list[_Spot]] = defaultdict(list)
    for call in calls:
        name = plain_name(call.symbol)
        same_code = sum(symbol.size for symbol in functions[name]) == sizes.get(name)
        for symbol in functions[name] if same_code else ():
            padding = (call.size or 0) - symbol.size
            if symbol.name == call.symbol and 0 <= padding < _PADDING:
                # what a call returns to may be the next statement, or the next function
                at = symbol.value + (call.offset or 0) - (0 if call.exact else 1)
                spots[content.sections[symbol.section].name].append(_Spot(call, at, padding))
    return spots


def _lines(
    answer: Answer, file: str, section: str, spots: Sequence[_Spot], addr2line: str
) -> Iterator[tuple[_Spot, _Frames]]:
    """Ask addr2line, in the sandbox: what it reads was made from the series."""
    path = f"{OBJ}/{answer.directory.name}/{Path(file).name}"
    offsets = [f"{spot.at:#x}" for spot in spots]
    argv = [addr2line, "-a", "-i", "-f", "-j", section, "-e", path, *offsets]
    said = answer.box.run(argv, timeout=_TOOL_SECONDS).output
    blocks = re.split(r"^0x[0-9a-f]+\n", said, flags=re.MULTILINE)[1:]
    for spot, block in zip(spots, blocks, strict=False):
        if len(blocks) == len(spots) and (frames := _frames(block)):
            yield spot, frames


def _frames(block: str) -> _Frames:
    """Read pairs of lines, function and place; all but the last are inlined into the one behind."""
    lines = block.splitlines()
    pairs = list(zip(lines[::2], lines[1::2], strict=False))
    found = []
    for number, (function, where) in enumerate(pairs, 1):
        match = _PLACE.match(where)
        if not match:
            return ()
        inlined = " [inline]" if number < len(pairs) else ""
        found.append(f"{plain_name(function)} {_in_tree(match['file'])}:{match['line']}{inlined}")
    return tuple(found)


def _in_tree(path: str) -> str:
    return path.removeprefix(f"{SRC}/").removeprefix(f"{OBJ}/").removeprefix("./")
