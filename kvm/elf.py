"""What a program's file says of the machine it is for, and of the libraries it needs."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kvm import proc

MAGIC = b"\x7fELF"
# e_machine by the System V ABI's numbers; those of 64 bits as kvm.arch calls them
_MACHINES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "arm64"}
_MACHINES |= {243: "riscv64", 258: "loongarch64"}
_EXECUTABLE, _SHARED = 2, 3
_TOOL_SECONDS = 60.0


@dataclass(frozen=True)
class Elf:
    """One file. `search` is where it wants its libraries looked for, with $ORIGIN for its own directory."""

    path: Path
    machine: str
    is_program: bool
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def machine(path: Path) -> str | None:
    """Return the machine that a file is for; None if it is no ELF file."""
    head = _head(path)
    return _machine(head) if head else None


def _head(path: Path) -> bytes:
    """Return what says of an ELF file what it is; nothing of another one."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return b""
    return head if len(head) == 20 and head.startswith(MAGIC) else b""


def _machine(head: bytes) -> str:
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _MACHINES.get(number, f"machine {number}")


def read(path: Path) -> Elf | None:
    """Read what a file needs; None if it is no ELF file."""
    head = _head(path)
    if not head:
        return None
    kind = int.from_bytes(head[16:18], "little")
    said = proc.run(
        ["readelf", "--program-headers", "--dynamic", "--wide", path.resolve()], timeout=_TOOL_SECONDS
    ).output
    interpreter = re.search(r"\[Requesting program interpreter: ([^\]\n]+)\]", said)
    search = re.findall(r"\((?:RPATH|RUNPATH)\)[^\[\n]*\[([^\]\n]*)\]", said)
    pie = "PIE" in "".join(re.findall(r"\(FLAGS_1\).*", said))
    return Elf(
        path=path,
        machine=_machine(head),
        is_program=kind == _EXECUTABLE or (kind == _SHARED and (interpreter is not None or pie)),
        interpreter=interpreter[1] if interpreter else "",
        needed=tuple(re.findall(r"\(NEEDED\)[^\[\n]*\[([^\]\n]+)\]", said)),
        search=tuple(part for path_list in search for part in path_list.split(":") if part),
    )


def libraries(programs: Iterable[Elf], find: Callable[[str, Elf], Path]) -> dict[str, Path]:
    """Return the shared libraries that `programs` need, directly or not, by the name they are asked for.

    `find` is told a name and who needs it.
    """
    found: dict[str, Path] = {}
    pending = list(programs)
    while pending:
        needy = pending.pop()
        for name in needy.needed:
            if name not in found:
                found[name] = find(name, needy)
                if library := read(found[name]):
                    pending.append(library)
    return found
