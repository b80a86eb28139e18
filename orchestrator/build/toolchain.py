"""Which compiler builds for which architecture, and its version."""

import functools
import platform
from dataclasses import dataclass

from kvm import proc
from kvm.arch import get


@dataclass(frozen=True)
class Toolchain:
    """`prefix` is CROSS_COMPILE, empty for the host's own; `version` is the compiler's first line about itself."""

    prefix: str
    version: str

    @property
    def cc(self) -> str:
        """The C compiler's program name."""
        return f"{self.prefix}gcc"


@functools.cache
def find(arch_name: str) -> Toolchain:
    """Return the toolchain for one architecture on this host; raises UserError when the compiler is missing."""
    arch = get(arch_name)
    prefix = "" if platform.machine() == arch.host else arch.cross
    version = proc.check([f"{prefix}gcc", "--version"], timeout=30).splitlines()[0]
    return Toolchain(prefix, version)
