"""Suites that are made out of the trees and beside the kernels under test."""

from pathlib import Path

import pytest

from orchestrator.config import Pipeline
from tests.kernel.conftest import BUNDLED, Validate, on_base

pytestmark = pytest.mark.kernel

USUAL = ("kselftest_futex", "kselftest_mm", "kselftest_timers", "stress_ng_smoke")
# Those two ask for options that change every object, and so for a kernel that nothing else here needs: one is enough.
SHIPPED = {"x86_64": (*USUAL, "kselftest_mqueue", "kunit_example"), "arm64": USUAL}
SELFTESTS = """\
name: selftests
kind: kselftest
targets: [mm, futex]
programs: [mm/madv_dontneed_locked, mm/of_another_tree, futex/functional/futex_wait_wouldblock]
packages: [libpopt-dev]
needs:
  config: [PROC_PAGE_MONITOR]
"""


def test_the_series_own_selftest_runs_on_both_kernels(validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "selftests").mkdir()
    (tmp_path / "selftests" / "suite.yaml").write_text(SELFTESTS)
    done = validate(BUNDLED, "--suite", tmp_path / "selftests", "--arch", "arm64")
    assert done.process.returncode == 0, done.process.stderr
    own = {
        test["name"]: (test["change"], test["base"]["outcome"], test["patched"]["outcome"])
        for test in done.record["tests"]
        if test["suite"] == "selftests"
    }
    # the series' copy runs on both kernels: what it tests is not there before it
    assert own.pop("mm/madv_dontneed_locked")[0] == "fixed", done.record["tests"]
    assert {found for name, found in own.items() if name.startswith("mm/madv_dontneed_locked/")} >= {
        ("fixed", "fail", "pass")
    }
    assert own["mm/of_another_tree"] == ("same", "skip", "skip")
    assert own["futex/functional/futex_wait_wouldblock"] == own["(exit)"] == ("same", "pass", "pass")


@pytest.mark.parametrize("arch", SHIPPED)
def test_the_suites_that_kdelta_brings_pass_on_base(arch: str, tmp_path: Path, shared_cache: Path) -> None:
    brought = SHIPPED[arch]
    found = on_base(Pipeline(series=str(BUNDLED), arches=[arch], suites=[*brought]), tmp_path, shared_cache)
    assert found.guest.outcome == "ok", found.guest.detail
    assert {end.suite: end.outcome for end in found.ends} == dict.fromkeys(brought, "pass")
    bad = [one for one in found.results if one.outcome != "pass"]
    assert not bad, bad
