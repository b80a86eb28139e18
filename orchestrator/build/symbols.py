"""vmlinux and the kernel's own commands for gdb, taken out of O= when somebody asks: to keep all takes gigabytes."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from kvm import disk
from kvm.arch import get as get_arch
from kvm.errors import InfraError
from orchestrator import cache
from orchestrator.build import kbuild, kconfig, objdir
from orchestrator.build.make import Make
from orchestrator.build.order import Order

log = logging.getLogger(__name__)

VMLINUX_BYTES = 4 << 30
SCRIPT_BYTES = 1 << 20
_SCRIPTS = Path("scripts/gdb")
_MAIN = "vmlinux-gdb.py"
_C_NUMBER = re.compile(rb"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b")


@dataclass(frozen=True)
class Symbols:
    """What gdb needs of a kernel: `scripts` is None without CONFIG_GDB_SCRIPTS, `lines` whether it has debug info.

    `sources` is the tree whose lines these are.
    """

    vmlinux: Path
    sources: Path
    scripts: Path | None
    lines: bool
    moves: bool  # CONFIG_RANDOMIZE_BASE


def take(order: Order, image: Path, sources: Path, cache_dir: Path, into: Path) -> Symbols:
    """Put them into the directory `into`; raises InfraError when they would not be those of `image`.

    `sources` is the tree of `order`. make has nothing to do where O= still holds that tree, else it compiles again.
    """
    into.mkdir(exist_ok=True)
    if not objdir.holds(order, cache_dir):
        log.info("%s: its build directory has gone on to another tree, or is gone: make compiles again", order.cell)
    with kbuild.compiled(order, cache_dir, into / "make.log") as made:
        obj, config = made.sandbox.obj, kconfig.parse(made.config)
        if cache.sha256(obj / get_arch(order.cell.arch).image) != cache.sha256(image):
            raise InfraError(
                f"{order.cell}: make gives another image now than the one in {image.parent}",
                hint="build it again: `kdelta build`",
                log=made.log,
            )
        vmlinux = into / "vmlinux"
        disk.write(vmlinux, disk.read(obj / "vmlinux", VMLINUX_BYTES))
        scripts = _take_scripts(made, sources, into) if config.get("GDB_SCRIPTS") == "y" else None
    return Symbols(vmlinux, sources, scripts, config.get("DEBUG_INFO") == "y", config.get("RANDOMIZE_BASE") == "y")


def _take_scripts(made: Make, sources: Path, into: Path) -> Path:
    """Copy the tree's Python for gdb, and the constants that make writes for it."""
    made.run("scripts_gdb")
    found = [sources / _SCRIPTS / _MAIN, *sorted((sources / _SCRIPTS / "linux").glob("*.py"))]
    for path in found:
        disk.write(into / path.relative_to(sources), disk.read(path, SCRIPT_BYTES))
    constants = _SCRIPTS / "linux" / "constants.py"
    disk.write(into / constants, python(disk.read(made.sandbox.obj / constants, SCRIPT_BYTES)))
    (into / _SCRIPTS / _MAIN).replace(into / _MAIN)  # it looks for the others below its own directory
    return into / _MAIN


def python(constants: bytes) -> bytes:
    """Make Python of what the C preprocessor wrote: older trees leave numbers their suffix, and nothing loads."""
    return _C_NUMBER.sub(rb"\1", constants)
