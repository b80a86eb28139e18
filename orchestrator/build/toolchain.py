"""Which compiler builds for which architecture, and its version: asked where builds look for it, on PATH."""

import functools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import proc
from kvm.arch import get
from kvm.errors import UserError
from orchestrator.build.sandbox import PATH
from orchestrator.config import TOOLCHAIN, TOOLCHAINS

GCC, CLANG = TOOLCHAINS
LLVM = {  # what LLVM=1 calls, by make's variable for it
    **{"LD": "ld.lld", "AR": "llvm-ar", "NM": "llvm-nm", "OBJCOPY": "llvm-objcopy", "OBJDUMP": "llvm-objdump"},
    **{"READELF": "llvm-readelf", "STRIP": "llvm-strip"},
}


@dataclass(frozen=True)
class Toolchain:
    """`kind` is gcc or clang, or one version of it: gcc-11. `prefix` is CROSS_COMPILE, empty for the host's own;
    `version` is the compiler's first line about itself.

    `linker` and `pahole` are theirs, which change an image as well; pahole (CONFIG_DEBUG_INFO_BTF) may be missing: "".
    """

    kind: str
    prefix: str
    version: str = ""
    linker: str = ""
    pahole: str = ""

    @property
    def family(self) -> str:
        """gcc or clang."""
        return self.kind.partition("-")[0]

    @property
    def cc(self) -> str:
        """The C compiler's program name."""
        return self.kind if self.family == CLANG else f"{self.prefix}{self.kind}"

    @property
    def ld(self) -> str:
        """The linker's program name."""
        return self.llvm["LD"] if self.family == CLANG else f"{self.prefix}ld"

    @property
    def llvm(self) -> dict[str, str]:
        """The programs of LLVM's own, of the compiler's version, by make's variable."""
        return {variable: f"{program}{self.kind.removeprefix(CLANG)}" for variable, program in LLVM.items()}

    @property
    def identity(self) -> tuple[str, str, str]:
        """All by which it can change what it builds."""
        return self.version, self.linker, self.pahole

    @property
    def variables(self) -> tuple[str, ...]:
        """What make is told of it."""
        if self.family == CLANG:
            own = (f"{variable}={program}" for variable, program in self.llvm.items())  # LLVM=-14 is of 5.18
            return (f"CROSS_COMPILE={self.prefix}", "LLVM=1", f"CC=ccache {self.cc}", f"HOSTCC=ccache {self.cc}", *own)
        return (f"CROSS_COMPILE={self.prefix}", f"CC=ccache {self.cc}", "HOSTCC=ccache gcc")


@functools.cache
def find(arch_name: str, kind: str = "gcc") -> Toolchain:
    """Return the toolchain for one architecture on this host; raises UserError when a program of it is missing."""
    tools = Toolchain(kind, get(arch_name).prefix)
    programs = (tools.cc, *(tools.llvm.values() if tools.family == CLANG else [tools.ld]))
    if missing := [program for program in programs if not shutil.which(program, path=PATH)]:
        raise UserError(
            f"{', '.join(missing)} not found, which a kernel of {kind} needs", hint=f"apt install {packages(tools)}"
        )
    pahole = _says("pahole") if shutil.which("pahole", path=PATH) else ""
    return replace(tools, version=_says(tools.cc), linker=_says(tools.ld), pahole=pahole)


def packages(tools: Toolchain) -> str:
    """Name the Debian packages of a toolchain."""
    if tools.family == CLANG:
        version = tools.kind.removeprefix(CLANG)
        return " ".join(f"{name}{version}" for name in (CLANG, "lld", "llvm"))
    return f"{tools.kind}-{tools.prefix.replace('_', '-')}".rstrip("-")


def kinds(arch_name: str) -> list[str]:
    """The toolchains that this host may have: each family's own, and the versions that lie beside them."""
    prefix = get(arch_name).prefix
    names = {path.name.removeprefix(prefix) for place in PATH.split(":") for path in Path(place).glob("*")}
    return [*TOOLCHAINS, *sorted(name for name in names - {*TOOLCHAINS} if TOOLCHAIN.fullmatch(name))]


def _says(program: str) -> str:
    """Return the first line that a program says about its version."""
    return proc.check([program, "--version"], timeout=30, env={"PATH": PATH}).splitlines()[0]
