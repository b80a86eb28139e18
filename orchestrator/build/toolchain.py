"""Which compiler builds for which architecture, and its version: asked where builds look for it, on PATH."""

import functools
import shutil
from dataclasses import dataclass, replace

from kvm import proc
from kvm.arch import get
from kvm.errors import UserError
from orchestrator.build.sandbox import PATH

LLVM = ("clang", "ld.lld", "llvm-ar", "llvm-nm", "llvm-objcopy", "llvm-readelf", "llvm-strip")  # what LLVM=1 calls


@dataclass(frozen=True)
class Toolchain:
    """`prefix` is CROSS_COMPILE, empty for the host's own; `version` is the compiler's first line about itself.

    `linker` and `pahole` are theirs, which change an image as well; pahole (CONFIG_DEBUG_INFO_BTF) may be missing: "".
    """

    kind: str
    prefix: str
    version: str = ""
    linker: str = ""
    pahole: str = ""

    @property
    def cc(self) -> str:
        """The C compiler's program name."""
        return "clang" if self.kind == "clang" else f"{self.prefix}gcc"

    @property
    def ld(self) -> str:
        """The linker's program name."""
        return "ld.lld" if self.kind == "clang" else f"{self.prefix}ld"

    @property
    def identity(self) -> tuple[str, str, str]:
        """All by which it can change what it builds."""
        return self.version, self.linker, self.pahole

    @property
    def variables(self) -> tuple[str, ...]:
        """What make is told of it."""
        if self.kind == "clang":
            return (f"CROSS_COMPILE={self.prefix}", "LLVM=1", "CC=ccache clang", "HOSTCC=ccache clang")
        return (f"CROSS_COMPILE={self.prefix}", f"CC=ccache {self.cc}", "HOSTCC=ccache gcc")


@functools.cache
def find(arch_name: str, kind: str = "gcc") -> Toolchain:
    """Return the toolchain for one architecture on this host; raises UserError when a program of it is missing."""
    prefix = get(arch_name).prefix
    if kind == "clang" and (missing := [program for program in LLVM if not shutil.which(program, path=PATH)]):
        raise UserError(
            f"{', '.join(missing)} not found, which a kernel of clang needs", hint="apt install clang lld llvm"
        )
    tools = Toolchain(kind, prefix)
    pahole = _says("pahole") if shutil.which("pahole", path=PATH) else ""
    return replace(tools, version=_says(tools.cc), linker=_says(tools.ld), pahole=pahole)


def _says(program: str) -> str:
    """Return the first line that a program says about its version."""
    return proc.check([program, "--version"], timeout=30, env={"PATH": PATH}).splitlines()[0]
