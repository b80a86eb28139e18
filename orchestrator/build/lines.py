"""Lines for gdb in a kernel built without: the objects that a series touches, compiled again with debug info."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kvm import disk
from orchestrator.build.anatomy import closeup, elf, errand, kit
from orchestrator.build.anatomy.elf import Elf
from orchestrator.build.anatomy.errand import NoAnswer, Place
from orchestrator.build.symbols import VMLINUX_BYTES

MOST = 24  # objects; about a second each
_TEXT = ".text"


@dataclass(frozen=True)
class Lines:
    """An object with debug info, the name it was compiled under, and where the kernel has its code."""

    name: str
    file: Path
    address: int


def make(place: Place, touched: Iterable[str], vmlinux: Path, into: Path) -> list[Lines]:
    """Compile what is built from the paths `touched` once more, into `into`; what cannot be had is left out."""
    tools = kit.load(place.build)
    names = sorted({name for path in touched for name in tools.built_from(path)})[:MOST] if tools else []
    if not tools or not names:
        return []
    try:
        kernel = functions(Elf(disk.read(vmlinux, VMLINUX_BYTES)))
        with closeup.compiled({name: tools.argv(name) for name in names}, place, ("-g",)) as (answer, said):
            files = {name: answer.directory / Path(said[name]["file"]).name for name in names if "file" in said[name]}
            objects = {name: disk.read(file, errand.LARGEST) for name, file in files.items()}
        return [found for name, content in objects.items() if (found := _place(name, content, kernel, into))]
    except (NoAnswer, ValueError, KeyError, OSError):
        return []


def _place(name: str, content: bytes, kernel: dict[str, int], into: Path) -> Lines | None:
    start = address(Elf(content), kernel)
    if start is None:
        return None
    file = into / name.replace("/", "-")
    disk.write(file, content)
    return Lines(name, file, start)


def functions(kernel: Elf) -> dict[str, int]:
    """Return where the functions of vmlinux are, but for those whose names come twice."""
    found = [symbol for symbol in kernel.symbols if symbol.kind == elf.STT_FUNC]
    times = Counter(symbol.name for symbol in found)
    return {symbol.name: symbol.value for symbol in found if times[symbol.name] == 1}


def address(compiled: Elf, kernel: dict[str, int]) -> int | None:
    """Say where the kernel has the code of an object, as most of its functions do."""
    text = next((number for number, section in enumerate(compiled.sections) if section.name == _TEXT), None)
    own = (one for one in compiled.symbols if one.kind == elf.STT_FUNC and one.section == text)
    starts = Counter(kernel[one.name] - one.value for one in own if one.name in kernel)
    return starts.most_common(1)[0][0] if starts else None
