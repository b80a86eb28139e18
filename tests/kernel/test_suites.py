"""Suites that are made out of the trees and beside the kernels under test."""

from pathlib import Path

import pytest

from kvm.arch import DEFAULT
from orchestrator.config import Pipeline
from tests.kernel.conftest import BUNDLED, Validate, on_base

pytestmark = pytest.mark.kernel

SHIPPED = (
    *("kselftest_futex", "kselftest_mm", "kselftest_mqueue", "kselftest_timers"),
    *("kunit_example", "stress_ng_smoke"),
)
SELFTESTS = """\
name: selftests
kind: kselftest
targets: [mm, mqueue]
programs: [mm/madv_dontneed_locked, mm/of_another_tree, mqueue/mq_open_tests]
packages: [libpopt-dev]
needs:
  config: [POSIX_MQUEUE, PROC_PAGE_MONITOR]
"""
UNITS = """\
name: units
kind: kunit
modules: [kunit, kunit-example-test]
needs:
  config: [MODULES, KUNIT=m, KUNIT_EXAMPLE_TEST=m]
"""


def test_the_series_own_selftest_and_kunits_modules_run_on_both_kernels(validate: Validate, tmp_path: Path) -> None:
    suites: list[object] = []
    for name, text in (("selftests", SELFTESTS), ("units", UNITS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "suite.yaml").write_text(text)
        suites += ["--suite", tmp_path / name]
    done = validate(BUNDLED, *suites, "--arch", "arm64")
    assert done.process.returncode == 0, done.process.stderr
    tests = {
        (test["suite"], test["name"]): (test["change"], test["base"]["outcome"], test["patched"]["outcome"])
        for test in done.record["tests"]
        if test["suite"] != "madvise_locked"
    }
    own = {name: found for (suite, name), found in tests.items() if suite == "selftests"}
    # the series' copy runs on both kernels: what it tests is not there before it
    assert own.pop("mm/madv_dontneed_locked")[0] == "fixed", done.record["tests"]
    assert {found for name, found in own.items() if name.startswith("mm/madv_dontneed_locked/")} >= {
        ("fixed", "fail", "pass")
    }
    assert own["mm/of_another_tree"] == ("same", "skip", "skip")
    assert own["mqueue/mq_open_tests"] == own["(exit)"] == ("same", "pass", "pass")
    units = {name: found for (suite, name), found in tests.items() if suite == "units"}
    assert units == dict.fromkeys(["(exit)", "example", "example/example_simple_test"], ("same", "pass", "pass"))


@pytest.mark.parametrize("arch", DEFAULT)
def test_the_suites_that_kdelta_brings_pass_on_base(arch: str, tmp_path: Path, shared_cache: Path) -> None:
    found = on_base(Pipeline(series=str(BUNDLED), arches=[arch], suites=[*SHIPPED]), tmp_path, shared_cache)
    assert found.guest.outcome == "ok", found.guest.detail
    assert {end.suite: end.outcome for end in found.ends} == dict.fromkeys(SHIPPED, "pass")
    bad = [one for one in found.results if one.outcome != "pass"]
    assert not bad, bad
