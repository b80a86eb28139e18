"""As much of ELF as comparing kernels needs, for 64-bit little-endian files. Pure: bytes in, no tool, no disk.

A kernel has a thousand objects, and every section, symbol and relocation of each is looked at: `struct` does it in
the time that starting readelf on a few of them takes, and what a hostile file can do to it is raise Malformed.
"""

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass

SHT_SYMTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS = 2, 4, 7, 8
SHF_WRITE, SHF_ALLOC, SHF_EXEC, SHF_STRINGS = 1, 2, 4, 0x20
STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = 1, 2, 3, 4

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_NAMES_MOST = 4  # times the file


class Malformed(ValueError):
    """The file is not what it says it is, or not 64-bit little-endian ELF."""


@dataclass(frozen=True)
class Section:
    """One section header; `link` and `target` are indices of other sections."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    target: int


@dataclass(frozen=True)
class Symbol:
    """One symbol; `section` is an index, or a reserved number from 0xff00 on."""

    name: str
    kind: int
    section: int
    value: int
    size: int


@dataclass(frozen=True)
class Relocation:
    """One RELA entry, `symbol` an index into the symbol table."""

    offset: int
    kind: int
    symbol: int
    addend: int


class Elf:
    """A parsed file; symbols are read when they are asked for."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        if content[:6] != b"\x7fELF\x02\x01":
            raise Malformed("not 64-bit little-endian ELF")
        try:
            header = _HEADER.unpack_from(content)
            self.machine: int = header[2]
            self.sections = self._sections(offset=header[6], entry=header[11], count=header[12], names=header[13])
        except (struct.error, IndexError, OverflowError) as fault:
            raise Malformed(str(fault)) from fault
        # Headers may claim the same bytes over and over; reading all sections must not cost more than the file does.
        if sum(s.size for s in self.sections if s.kind != SHT_NOBITS) > 2 * len(content):
            raise Malformed("its sections overlap")

    @functools.cached_property
    def symbols(self) -> list[Symbol]:
        """All symbols, the empty first one too, so that indices are those of relocations."""
        table = next((section for section in self.sections if section.kind == SHT_SYMTAB), None)
        if table is None or table.link >= len(self.sections):
            return []
        name_at = self._names(self.content(self.sections[table.link]))
        try:
            return [
                Symbol(name_at(name), info & 15, section, value, size)
                for name, info, _, section, value, size in _SYMBOL.iter_unpack(self.content(table))
            ]
        except struct.error as fault:
            raise Malformed(str(fault)) from fault

    def content(self, section: Section) -> bytes:
        """Return the bytes of a section; .bss has none."""
        if section.kind == SHT_NOBITS:
            return b""
        if section.offset + section.size > len(self._content):
            raise Malformed(f"{section.name} ends behind the file")
        return self._content[section.offset : section.offset + section.size]

    def relocations(self, section: Section) -> list[Relocation]:
        """Return what a RELA section asks for."""
        try:
            entries = _RELA.iter_unpack(self.content(section))
            return [Relocation(offset, kind & 0xFFFFFFFF, kind >> 32, addend) for offset, kind, addend in entries]
        except struct.error as fault:
            raise Malformed(str(fault)) from fault

    def _sections(self, *, offset: int, entry: int, count: int, names: int) -> list[Section]:
        if not offset:
            return []
        first = _SECTION.unpack_from(self._content, offset)
        count = count or first[5]  # a file with 65280 sections or more (-ffunction-sections) says so here
        names = first[6] if names == 0xFFFF else names
        if entry != _SECTION.size or count * entry > len(self._content):
            raise Malformed("its section table is longer than the file")
        rows = [_SECTION.unpack_from(self._content, offset + index * entry) for index in range(count)]
        name_at = self._names(self._content[rows[names][4] : rows[names][4] + rows[names][5]])
        return [Section(name_at(r[0]), r[1], r[2], r[4], r[5], r[6], r[7]) for r in rows]

    def _names(self, strings: bytes) -> Callable[[int], str]:
        """Read names; they may share their ends, but all of them must not be far more than the file is."""
        left = _NAMES_MOST * len(self._content)

        def name_at(offset: int) -> str:
            nonlocal left
            end = strings.find(b"\0", offset)
            end = end if end >= 0 else len(strings)
            left -= max(0, end - offset)
            if left < 0:
                raise Malformed("its names overlap")
            return strings[offset:end].decode("utf-8", "replace")

        return name_at
