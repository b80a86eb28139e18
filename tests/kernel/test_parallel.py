"""Two runs of the same series at once, in the same cache: neither notices the other."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, kdelta_argv

pytestmark = pytest.mark.kernel


def test_two_runs_of_the_same_series_at_once_give_the_same(tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        words = kdelta_argv("run", "madv-dontneed-locked", "--suite", "madvise_locked", "--out", tmp_path / name)
        return subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    both = {name: start(name) for name in ("one", "other")}
    for process in both.values():
        _, said = process.communicate(timeout=3000)
        assert process.returncode == 0, said
    one, other = (seen(tmp_path / name) for name in both)
    assert one["verdict"]["value"] == "validated"
    assert (one["verdict"], one["tests"]) == (other["verdict"], other["tests"])


def seen(directory: Path) -> Any:
    record = json.loads((directory / "run.json").read_text())
    for test in record["tests"]:
        del test["earlier"]  # which of the two the other one came before
    return record
