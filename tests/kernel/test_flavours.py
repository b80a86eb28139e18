"""Every option that a flavour asks for survives olddefconfig on the shipped kernel: a dropped one is a UserError."""

from pathlib import Path

import pytest

from kvm.arch import DEFAULT
from orchestrator import cache, config, plan
from orchestrator.build.make import ENV, Make
from orchestrator.build.sandbox import Sandbox
from orchestrator.config import Pipeline
from orchestrator.model import Cell, Side
from orchestrator.request import Request
from tests.kernel.conftest import BUNDLED

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("arch", DEFAULT)
@pytest.mark.parametrize("flavour", config.flavours())
def test_a_flavour_can_be_had(arch: str, flavour: str, tmp_path: Path) -> None:
    asked = Pipeline(series=str(BUNDLED), arches=[arch], flavours=[flavour])
    todo = plan.make(Request(pipeline=asked, near=str(tmp_path), cache=str(cache.default_root()), jobs=2))
    objects = tmp_path / "objects"
    objects.mkdir()
    order = todo.orders[Cell(Side.BASE, arch, flavour)]
    box = Sandbox(todo.sources(Side.BASE), objects, todo.cache_dir / "ccache", order.quota, ENV)
    Make(order, box, tmp_path / "log").configure()
    assert (objects / ".config").stat().st_size
