"""Objects of a build compiled again with debug info: stack frames, layouts, code function by function."""

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk
from orchestrator import cache
from orchestrator.build.anatomy import elf, errand, kit, objects, pahole, symvers
from orchestrator.build.anatomy.errand import Answer, NoAnswer, Place
from orchestrator.build.anatomy.facts import Closeup, Closeups, Export
from orchestrator.build.sandbox import PATH

RECIPE = 1  # raise it when the same objects would be told otherwise
TOOL_SECONDS = 60.0
# What is added to the kernel's own flags; none of it changes the code but for where each function is put.
_CLOSER = ("-g", "-fno-eliminate-unused-debug-types", "-fstack-usage", "-ffunction-sections")
_SCRIPT = Path(__file__).with_name("closeup_inside.py")
_ADAPTER = TypeAdapter(Closeups)
_ANSWER: TypeAdapter[dict[str, dict[str, str]]] = TypeAdapter(dict[str, dict[str, str]])
_DECLARED = re.compile(r"^[^\S\n]*(?:typedef\s+)?(struct|union)\s+(\w+)[^;(){}]{0,500}\{", re.MULTILINE)
_USAGE = re.compile(r"^.*:\d+:\d+:(\S+)\t(\d+)\t(\S+)$", re.MULTILINE)


def look(place: Place, names: Sequence[str], touched: Sequence[str]) -> Closeups:
    """Compile the objects `names` again; `touched` are the paths that the series changes.

    What was seen once is kept beside the image.
    """
    inputs = [RECIPE, sorted(names), sorted(touched), shutil.which("pahole", path=PATH)]
    return cache.remember(place.build / "closeup", inputs, _ADAPTER, lambda: _look(place, names, touched))


def _look(place: Place, names: Sequence[str], touched: Sequence[str]) -> Closeups:
    exports, declared = _words(place.sources, touched)
    tools = kit.load(place.build)
    known = [name for name in names if name in tools.commands] if tools else []
    found, notes = _compile(place, tools, known) if tools and known else ({}, [])
    if tools is None:
        notes = [f"no stack frames and layouts: {kit.NONE}"]
    if found and not shutil.which("pahole", path=PATH):
        notes.append("no struct layouts: pahole is not installed (apt install dwarves)")
    return Closeups(found, exports, declared, tuple(notes))


@contextlib.contextmanager
def compiled(
    argv: Mapping[str, list[str]], place: Place, flags: Sequence[str], *, layouts: bool = False
) -> Iterator[tuple[Answer, dict[str, dict[str, str]]]]:
    """Compile objects again with `flags`, and lend what came: for each the name of its `file`, or an `error`.

    Raises NoAnswer, or ValueError for an answer that is none.
    """
    job: dict[str, object] = {"argv": argv, "flags": list(flags), "layouts": layouts, "seconds": TOOL_SECONDS}
    with errand.send(_SCRIPT, job, place, TOOL_SECONDS * (1 + len(argv))) as answer:
        yield answer, _ANSWER.validate_json(answer.json)


def _compile(place: Place, tools: kit.Kit, names: Sequence[str]) -> tuple[dict[str, Closeup], list[str]]:
    try:
        argv = {name: tools.argv(name) for name in names}  # a ValueError for what is no command
        with compiled(argv, place, _CLOSER, layouts=True) as (answer, said):
            found = {name: _closeup(answer.directory, words) for name, words in said.items() if "error" not in words}
    except (NoAnswer, ValueError) as fault:
        return {}, [f"no stack frames and layouts: {fault}"]
    return found, [f"{name} did not compile again: {w['error']}" for name, w in said.items() if "error" in w]


def _closeup(work: Path, said: Mapping[str, str]) -> Closeup:
    frames: dict[str, int] = {}
    for symbol, size, _ in _USAGE.findall(said.get("usage", "")):
        name = objects.plain_name(symbol)
        frames[name] = max(frames.get(name, 0), int(size))
    try:
        codes = objects.codes(disk.read(work / Path(said.get("file", "?")).name, errand.LARGEST))
    except (OSError, elf.Malformed):
        codes = {}
    return Closeup(frames, codes, pahole.parse(said.get("pahole", "")))


def _words(sources: Path, touched: Iterable[str]) -> tuple[dict[str, Export], tuple[str, ...]]:
    """Read from the touched sources themselves what they export and which types they declare."""
    exports: dict[str, Export] = {}
    declared: set[str] = set()
    for file in touched:
        path = sources / file
        if file.endswith((".c", ".S", ".h")) and path.is_file() and not path.is_symlink():
            text = path.read_text(encoding="utf-8", errors="replace")
            exports |= symvers.in_source(file, text)
            declared.update(" ".join(words) for words in _DECLARED.findall(text))
    return exports, tuple(sorted(declared))
