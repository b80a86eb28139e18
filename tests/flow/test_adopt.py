"""A .config that is new starts from the objects of another one of the same tree."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kvm import disk
from orchestrator.build import kbuild, objdir
from orchestrator.build.kconfig import Wish
from orchestrator.build.order import Order
from orchestrator.intake import source
from orchestrator.model import Cell, Side
from tests.flow.conftest import QUOTA

SMALL, LARGE = "CONFIG_TINY=y\n", "CONFIG_TINY=y\nCONFIG_MORE=m\n"


@pytest.fixture
def wanted(fakelinux: Path, tmp_path: Path) -> Callable[[str], Order]:
    """The order for a .config of the fake tree."""
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")

    def make(config: str) -> Order:
        return Order(Cell(Side.BASE, "x86_64", "fast"), origin, origin.tree, Wish("tinyconfig", config), 2, 60, QUOTA)

    return make


@dataclass(frozen=True)
class Bench:
    """Builds in one cache."""

    cache: Path

    def compiles(self, order: Order) -> bool:
        """Build it; had it to compile anything?"""
        log = self.cache / "log"
        assert kbuild.build(order, self.cache, log).image.read_text().startswith("line 0\n")
        return "COMPILED" in log.read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "cache")


def test_a_config_starts_from_the_objects_of_one_within_it(wanted: Callable[[str], Order], bench: Bench) -> None:
    assert bench.compiles(wanted(SMALL))
    assert not bench.compiles(wanted(LARGE))
    config = bench.cache / "objects" / wanted(LARGE).objects / ".config"
    assert "CONFIG_MORE=m" in config.read_text()
    made_of_the_other = bench.cache / "objects" / wanted(SMALL).objects / ".config"
    assert config.stat().st_mtime_ns > made_of_the_other.stat().st_mtime_ns


def test_what_a_config_does_not_have_is_not_among_its_objects(wanted: Callable[[str], Order], bench: Bench) -> None:
    assert bench.compiles(wanted(LARGE))
    assert bench.compiles(wanted(SMALL))


def test_objects_of_another_architecture_or_outside_of_the_sandbox_are_no_start(
    wanted: Callable[[str], Order], bench: Bench
) -> None:
    assert bench.compiles(wanted(SMALL))
    assert bench.compiles(replace(wanted(LARGE), cell=Cell(Side.BASE, "arm64", "fast")))
    assert bench.compiles(replace(wanted(LARGE), sandboxed=False))


def test_objects_that_somebody_touched_are_no_start(wanted: Callable[[str], Order], bench: Bench) -> None:
    assert bench.compiles(wanted(SMALL))
    (bench.cache / "objects" / wanted(SMALL).objects / "built").write_text("forged")
    assert bench.compiles(wanted(LARGE))


def test_objects_that_another_run_works_on_are_not_waited_for(wanted: Callable[[str], Order], bench: Bench) -> None:
    assert bench.compiles(wanted(SMALL))
    with objdir.lock(wanted(SMALL), bench.cache):
        assert bench.compiles(wanted(LARGE))


def test_the_objects_of_a_series_are_no_start(wanted: Callable[[str], Order], bench: Bench) -> None:
    small = wanted(SMALL)
    assert bench.compiles(small)
    assert not bench.compiles(replace(small, cell=replace(small.cell, side=Side.PATCHED), start=small, after=("",)))
    disk.clear(bench.cache / "objects" / small.objects)
    assert bench.compiles(wanted(LARGE))
