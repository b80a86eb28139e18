"""The same tree gives the same image, wherever and whenever it is built."""

import json
import tempfile
from pathlib import Path

import pytest

from tests.conftest import run_kdelta
from tests.kernel.conftest import BUNDLED

pytestmark = pytest.mark.kernel


def test_another_cache_another_time_and_an_empty_ccache_give_the_same_images(
    shared_cache: Path, tmp_path: Path
) -> None:
    first = run_kdelta("build", BUNDLED, "--out", tmp_path / "first")
    assert first.returncode == 0, first.stderr
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    source = [
        "--kernel",
        f"git:{shared_cache / 'git' / 'debian-linux-source-5.10_bullseye.git'}",
        "--base",
        record["kernel"]["base_commit"],
    ]
    with tempfile.TemporaryDirectory(prefix="kdelta-another-") as another:  # pytest would keep it
        again = run_kdelta("build", BUNDLED, *source, "--out", tmp_path / "again", KDELTA_CACHE=another)
        assert again.returncode == 0, again.stderr
    rebuilt = json.loads((tmp_path / "again" / "run.json").read_text())
    assert [build["cached"] for build in rebuilt["builds"]] == [False] * 4
    for build in rebuilt["builds"]:
        if build["side"] == "base":
            assert build["ccache_hits"] < 0.05 * build["ccache_asked"]
    assert images(rebuilt) == images(record)


def images(record: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {f"{build['side']}/{build['arch']}": build["image_sha256"] for build in record["builds"]}
