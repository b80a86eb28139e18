"""The kernel that can be told to go wrong: the shipped base kernel with faults.config on top."""

from pathlib import Path

from kvm.arch import ARCHES
from orchestrator import plan
from orchestrator.build import kbuild
from orchestrator.config import Pipeline
from orchestrator.model import Cell, Side
from orchestrator.request import Request
from tests.conftest import ROOT

FRAGMENT = Path(__file__).with_name("faults.config")


def build(arch: str, cache_dir: Path, log: Path) -> kbuild.KernelBuild:
    """Return the kernel for `arch`, built at most once."""
    series = str(ROOT / "patches" / "madv-dontneed-locked")  # the tree is the one that it applies to
    asked = Pipeline(arches=list(ARCHES), fragments=[str(FRAGMENT)], series=series)
    todo = plan.make(Request(pipeline=asked, near=str(ROOT), cache=str(cache_dir), jobs=2))
    return kbuild.build(todo.orders[Cell(Side.BASE, arch, "fast")], cache_dir, log)
