"""An architecture of which there is a row and nothing else."""

from pathlib import Path

import pytest
import yaml

from orchestrator.config import Pipeline
from tests.kernel.conftest import BUNDLED, on_base

pytestmark = pytest.mark.kernel


def test_its_kernel_is_built_and_boots_and_runs_a_suite(shared_cache: Path, tmp_path: Path) -> None:
    asked = Pipeline(arches=["riscv64"], suites=["madvise_locked"], series=str(BUNDLED))
    run = on_base(asked, tmp_path, shared_cache)
    assert run.guest.outcome == "ok", run.guest.detail
    found = {result.name: result.outcome for result in run.results}
    declared = yaml.safe_load((BUNDLED / "expect.yaml").read_text())["suites"]["madvise_locked"]
    assert {name: found[name] for name in declared["fixed"]} == dict.fromkeys(declared["fixed"], "fail")
    assert {name: found[name] for name in declared["same"]} == dict.fromkeys(declared["same"], "pass")
