"""The same tree gives the same image, wherever, whenever and from whatever objects it is built; arm64, for two would
take ten minutes.
"""

import datetime
import json
import tempfile
from collections.abc import Iterator
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
from tests.conftest import run_kdelta
from tests.kernel.conftest import BUNDLED

pytestmark = pytest.mark.kernel

DAYS, ARCH, FLAVOUR = 40, "arm64", "coverage"


@pytest.fixture
def later() -> tuple[str, ...]:
    """What make exports to all that it starts, so that their clock is ahead, and the times of their files."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return f"LD_PRELOAD={library}", f"FAKETIME=+{DAYS}d"


@pytest.mark.usefixtures("images")  # their objects are what this flavour's start from
def test_another_day_another_cache_no_objects_and_an_empty_ccache_give_the_same_images(
    shared_cache: Path, tmp_path: Path, later: tuple[str, ...]
) -> None:
    first = run_kdelta("build", BUNDLED, "--arch", ARCH, "--flavour", FLAVOUR, "--out", tmp_path / "first")
    assert first.returncode == 0, first.stderr
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    pipeline = Pipeline(
        series=str(BUNDLED),
        arches=[ARCH],
        flavours=[FLAVOUR],
        kernel=f"git:{shared_cache / 'git' / 'debian-linux-source-5.10_bullseye.git'}",
        base=record["kernel"]["base_commit"],
    )
    with tempfile.TemporaryDirectory(prefix="kdelta-another-") as another:  # pytest would keep it
        todo = plan.make(Request(pipeline=pipeline, near=str(tmp_path), cache=another, jobs=2))
        the_day_is_another(todo, later, tmp_path)
        rebuilt = list(on_that_day(todo, later, tmp_path / "log"))
    before = {build["side"]: build for build in record["builds"]}
    for build in rebuilt:
        assert not build.cached
        if build.cell.side == "base":
            assert build.ccache_hits < 0.05 * build.ccache_asked
            assert before["base"]["ccache_asked"] < 0.2 * build.ccache_asked  # it had objects
    images = {side: build["image_sha256"] for side, build in before.items()}
    assert {build.cell.side: build.image_sha256 for build in rebuilt} == images


def on_that_day(todo: Plan, later: tuple[str, ...], log: Path) -> Iterator[KernelBuild]:
    """Build every cell, base first: patched starts from its objects."""
    for order in todo.orders.values():
        yield kbuild.build(shifted(order, later), todo.cache_dir, log)


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
