"""An architecture of which there is a row and nothing else."""

from pathlib import Path

import pytest
import yaml

from orchestrator.config import Pipeline
from tests.kernel.conftest import BUNDLED, on_base

pytestmark = pytest.mark.kernel

# As modules, which change every object: of this kernel, which is built for this test alone.
UNITS = """\
name: units
kind: kunit
modules: [kunit, kunit-example-test]
needs:
  config: [MODULES, KUNIT=m, KUNIT_EXAMPLE_TEST=m]
"""


def test_its_kernel_is_built_and_boots_and_runs_a_suite_and_kunits_modules(shared_cache: Path, tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "suite.yaml").write_text(UNITS)
    asked = Pipeline(arches=["riscv64"], suites=["madvise_locked", str(units)], series=str(BUNDLED))
    run = on_base(asked, tmp_path, shared_cache)
    assert run.guest.outcome == "ok", run.guest.detail
    assert {result.name: result.outcome for result in run.results if result.suite == "units"} == {
        "example": "pass",
        "example/example_simple_test": "pass",
    }
    found = {result.name: result.outcome for result in run.results}
    declared = yaml.safe_load((BUNDLED / "expect.yaml").read_text())["suites"]["madvise_locked"]
    assert {name: found[name] for name in declared["fixed"]} == dict.fromkeys(declared["fixed"], "fail")
    assert {name: found[name] for name in declared["same"]} == dict.fromkeys(declared["same"], "pass")
