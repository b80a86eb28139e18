"""One object file in, what of it reaches the image out. Pure."""

import bisect
import hashlib
import re
import struct
from collections import defaultdict

from orchestrator.build.anatomy import elf
from orchestrator.build.anatomy.elf import Elf, Malformed, Relocation, Section
from orchestrator.build.anatomy.facts import ObjectFacts

CODE, RODATA, DATA, BSS, LINES, SYMBOLS, FILE = "code", "rodata", "data", "bss", "lines", "symbols", "file"

# What gcc makes of one function: clones for known arguments, the rarely run part; all of it is that function.
_CLONE = re.compile(r"(\.(constprop|isra|part|cold|lto_priv|llvm)(\.\d+)?)+$")
_COUNTER = re.compile(r"\.\d+$")  # static variables of functions: gcc numbers them through the file
# Derived from the code by objtool, or dropped by the linker.
_DERIVED = (".orc_unwind", ".orc_header", ".discard.", ".eh_frame", ".llvm_addrsig", ".return_sites", ".call_sites")


def facts(content: bytes) -> ObjectFacts:
    """Measure and hash one object; of what is not 64-bit ELF (vdso32, LLVM bitcode) only the file as a whole."""
    try:
        return _facts(Elf(content))
    except Malformed:
        return ObjectFacts({FILE: len(content)}, {FILE: hashlib.sha256(content).hexdigest()[:16]})


def plain_name(symbol: str) -> str:
    """Return the name of the function that the compiler made `symbol` of."""
    return _CLONE.sub("", symbol)


def codes(content: bytes) -> dict[str, str]:
    """Hash the code of every function in an object that was compiled with -ffunction-sections.

    What a relocation points to goes in by name, not by number or offset: the code of a function is the same as long
    as it does the same with the same things, wherever the compiler has put them.
    """
    file = Elf(content)
    targets = _Targets(file)
    parts: dict[str, list[str]] = defaultdict(list)
    relocations = {section.target: section for section in file.sections if section.kind == elf.SHT_RELA}
    for index, section in enumerate(file.sections):
        if not section.flags & elf.SHF_EXEC:
            continue
        entries = sorted(file.relocations(relocations[index]), key=lambda r: r.offset) if index in relocations else []
        offsets = [entry.offset for entry in entries]
        code = file.content(section)
        for symbol in (s for s in file.symbols if s.section == index and _is_function(s)):
            first, last = (bisect.bisect_left(offsets, at) for at in (symbol.value, symbol.value + symbol.size))
            digest = hashlib.sha256(code[symbol.value : symbol.value + symbol.size])
            for entry in entries[first:last]:
                digest.update(f"\n{entry.offset - symbol.value} {entry.kind} {targets.name(entry)}".encode())
            parts[plain_name(symbol.name)].append(digest.hexdigest())
    return {name: hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:16] for name, found in parts.items()}


class _Targets:
    """Says by name what a relocation points to."""

    def __init__(self, file: Elf) -> None:
        self._file = file
        self._named: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for symbol in file.symbols:
            if symbol.name and symbol.kind in (elf.STT_OBJECT, elf.STT_FUNC):
                self._named[symbol.section].append((symbol.value, symbol.name))
        for places in self._named.values():
            places.sort()

    def name(self, entry: Relocation) -> str:
        if entry.symbol >= len(self._file.symbols):
            raise Malformed("a relocation points to no symbol")
        symbol = self._file.symbols[entry.symbol]
        if symbol.kind != elf.STT_SECTION:
            return f"{_COUNTER.sub('', plain_name(symbol.name))}+{entry.addend}"
        if symbol.section >= len(self._file.sections):
            return "?"
        # Strings, jump tables and the like have no names: that their contents changed is seen in their section.
        places = self._named.get(symbol.section, [])
        found = bisect.bisect_right(places, (entry.addend + _PC_BIAS, "\U0010ffff")) - 1
        near = _COUNTER.sub("", places[found][1]) if found >= 0 else ""
        return f"{self._file.sections[symbol.section].name}:{near}"


_PC_BIAS = 4  # x86 counts from the end of the instruction: R_X86_64_PC32 carries -4


def _facts(file: Elf) -> ObjectFacts:
    sizes: dict[str, int] = defaultdict(int)
    digests: dict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    for section in file.sections:
        part = _part(section)
        if part is None or not section.size:
            continue
        sizes[part] += section.size
        digests[part].update(f"\n{section.name} {section.size}\n".encode() + file.content(section))
    for section in file.sections:
        targets = file.sections[section.target : section.target + 1] if section.kind == elf.SHT_RELA else []
        for part in filter(None, map(_part, targets)):
            digests[part].update(file.content(section))
    digests[SYMBOLS].update(_names(file))
    functions: dict[str, int] = defaultdict(int)
    for symbol in file.symbols:
        if _is_function(symbol) and 0 < symbol.section < len(file.sections):
            functions[plain_name(symbol.name)] += symbol.size
    return ObjectFacts(dict(sizes), {part: d.hexdigest()[:16] for part, d in digests.items()}, dict(functions))


def _part(section: Section) -> str | None:
    """Name the part of the image that a section goes to; None if it does not reach it."""
    if not section.flags & elf.SHF_ALLOC or section.kind == elf.SHT_NOTE or section.name.startswith(_DERIVED):
        return None
    if section.name == "__bug_table":  # where WARN() stands: moves with every line added above it
        return LINES
    if section.kind == elf.SHT_NOBITS:
        return BSS
    if section.flags & elf.SHF_EXEC:
        return CODE
    return DATA if section.flags & elf.SHF_WRITE else RODATA


def _is_function(symbol: elf.Symbol) -> bool:
    return symbol.kind == elf.STT_FUNC and symbol.size > 0 and not symbol.name.startswith(("__pfx_", "__cfi_"))


def _names(file: Elf) -> bytes:
    """All symbols as one text, but for those of sections and files: debug info adds some, moving a source the other."""
    plain = (s for s in file.symbols if s.kind not in (elf.STT_SECTION, elf.STT_FILE))
    return b"".join(s.name.encode() + struct.pack("<BQQ", s.kind, s.value, s.size) for s in plain)
