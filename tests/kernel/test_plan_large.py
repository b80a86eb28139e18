"""`kdelta plan` on a repository as large as Linux: it asks git about what the series names, and copies nothing."""

from pathlib import Path

import pytest

from benchmarks import plan_large
from tests.conftest import run_kdelta

pytestmark = pytest.mark.kernel


def test_a_plan_on_70_000_files_and_1000_branches_copies_no_object_and_asks_git_a_few_times(tmp_path: Path) -> None:
    top = plan_large.make(tmp_path / "linux")
    cache = tmp_path / "cache"
    done = run_kdelta("-v", "plan", top.parent / "series", "--kernel", f"git:{top}", KDELTA_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "to be built" in done.stdout
    assert done.stderr.count("start: git") < 100
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 1_000_000
