"""Questions that only the tree's own Kconfig can answer, asked in the sandbox; no answer is no fault."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kvm.arch import get as get_arch
from kvm.errors import BuildError
from orchestrator.build.order import Order
from orchestrator.build.sandbox import SRC, Sandbox
from orchestrator.build.unsandboxed import Unsandboxed

SECONDS = 120.0


def why(box: Sandbox | Unsandboxed, order: Order, options: Iterable[str]) -> dict[str, str]:
    """Say for each option what keeps it from being set under the .config in `box`; "" where nothing does."""
    answer = _ask(box, order, "why", options)
    return dict(line.split("\t", 1) for line in answer.splitlines() if "\t" in line)


def enable(box: Sandbox | Unsandboxed, order: Order, options: Iterable[str]) -> str:
    """Return what to merge onto the .config in `box` so that the options are set, as a fragment."""
    answer = _ask(box, order, "enable", options)
    return "".join(f"{line}\n" for line in answer.splitlines() if line.startswith("CONFIG_"))


def _ask(box: Sandbox | Unsandboxed, order: Order, what: str, options: Iterable[str]) -> str:
    import kconfiglib  # noqa: PLC0415  (only here, and it is large)

    arch, tools = get_arch(order.cell.arch), order.toolchain
    env: Mapping[str, str] = {
        **{"srctree": SRC, "ARCH": arch.kbuild, "SRCARCH": arch.srcarch, "CONFIG_": "CONFIG_"},
        **{"CC": tools.cc, "LD": tools.ld, "KERNELVERSION": order.source.release},
    }
    readable = {
        "/tmp/ask/inside.py": Path(__file__).with_name("kconfig_inside.py"),  # noqa: S108
        "/tmp/ask/kconfiglib.py": Path(kconfiglib.__file__),  # noqa: S108
    }
    inside = replace(box, env={**box.env, **env}, readable=readable)
    try:
        return inside.run(["python3", *readable, what, *options], timeout=SECONDS).output
    except BuildError:  # it may run what it wants, and try to get out
        return ""
