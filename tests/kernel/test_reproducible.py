"""The same tree gives the same image, wherever, whenever and from whatever objects it is built; arm64, for two would
take twice as long.
"""

import datetime
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import plan
from orchestrator.build import kbuild
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.order import Order
from orchestrator.build.sandbox import Sandbox
from orchestrator.config import Pipeline
from orchestrator.plan import Plan
from orchestrator.request import Request
from tests.faults import kernel
from tests.kernel.conftest import BUNDLED

pytestmark = pytest.mark.kernel

DAYS, ARCH = 40, "arm64"
MORE = kernel.FRAGMENT  # the options of another kernel that is built anyway, on top of the usual ones
LEFT_OUT = "0123"  # of ccache, by the first digit of the hashes: so many objects a compiler makes again


@pytest.fixture
def later() -> tuple[str, ...]:
    """What make exports to all that it starts, so that their clock is ahead, and the times of their files."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return f"LD_PRELOAD={library}", f"FAKETIME=+{DAYS}d"


@pytest.mark.usefixtures("images")  # whose objects `first` starts from, unless the cache has it from another day
def test_another_day_another_cache_no_objects_and_a_quarter_compiled_anew_give_the_same_images(
    shared_cache: Path, tmp_path: Path, later: tuple[str, ...]
) -> None:
    asked = Pipeline(series=str(BUNDLED), arches=[ARCH], fragments=[str(MORE)])
    here = plan.make(Request(pipeline=asked, near=str(tmp_path), cache=str(shared_cache), jobs=2))
    first = built(here, here.orders.values(), tmp_path / "log")
    store = f"git:{shared_cache / 'git' / 'debian-linux-source-5.10_bullseye.git'}"
    with tempfile.TemporaryDirectory(prefix="kdelta-another-") as another:  # pytest would keep it
        asked = asked.model_copy(update={"kernel": store, "base": here.base.commit})
        ignored = shutil.ignore_patterns("tmp", "stats", *LEFT_OUT)
        shutil.copytree(shared_cache / "ccache", Path(another, "ccache"), ignore=ignored)
        there = plan.make(Request(pipeline=asked, near=str(tmp_path), cache=another, jobs=2))
        the_day_is_another(there, later, tmp_path)
        rebuilt = built(there, [shifted(order, later) for order in there.orders.values()], tmp_path / "log")
    assert not any(build.cached for build in rebuilt.values())
    assert rebuilt["base"].ccache_hits < 0.85 * rebuilt["base"].ccache_asked
    assert {side: build.image_sha256 for side, build in rebuilt.items()} == {
        side: build.image_sha256 for side, build in first.items()
    }


def built(todo: Plan, orders: Iterable[Order], log: Path) -> dict[str, KernelBuild]:
    """Build every cell, base first: patched starts from its objects."""
    return {str(order.cell.side): kbuild.build(order, todo.cache_dir, log) for order in orders}


def shifted(order: Order, later: tuple[str, ...]) -> Order:
    start = shifted(order.start, later) if order.start else None
    return replace(order, variables=(*order.variables, *later), start=start)


def the_day_is_another(todo: Plan, later: tuple[str, ...], scratch: Path) -> None:
    """Ask a compiler in a build what day it is, and a file that it left."""
    for name in ("src", "obj"):
        (scratch / name).mkdir()
    (scratch / "src" / "Makefile").write_text("all:\n\t@date +%F; touch x; stat -c %y x | cut -c-10\n")
    box = Sandbox(scratch / "src", scratch / "obj", scratch / "ccache", todo.quota)
    said = box.run(["make", "-f", "/src/Makefile", *later]).output.split()
    assert len(said) == 2
    for day in said:
        assert (datetime.date.fromisoformat(day) - datetime.date.today()).days >= DAYS - 1
