"""What is published is whole, and what was interrupted goes at the next occasion."""

import os
import time
from pathlib import Path

import pytest

from kvm.errors import Interrupted
from orchestrator import cache


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_fails_is_not_published_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), cache.publish(tmp_path / "final") as draft:
        (draft / "half").touch()
        raise ValueError("no")
    assert names(tmp_path) == []


def test_the_first_to_publish_wins(tmp_path: Path) -> None:
    with cache.publish(tmp_path / "final") as outer:
        (outer / "outer").touch()
        with cache.publish(tmp_path / "final") as inner:
            (inner / "inner").touch()
    assert names(tmp_path) == ["final"]
    assert names(tmp_path / "final") == ["inner"]


def test_an_interrupted_draft_stays_for_clear_or_a_later_sweep(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with pytest.raises(Interrupted), cache.publish(tmp_path / "trees" / name) as draft:
            (draft / "half").write_bytes(b"x" * 5000)
            raise Interrupted
    cache.clear(tmp_path / "trees" / "one")
    [left] = (tmp_path / "trees").iterdir()
    assert left.name.startswith(".other.")
    assert cache.sweep(tmp_path, 86400, remove=True)["trees"][1] == 0  # a run may be writing it
    yesterday = time.time() - 80000
    os.utime(left, (yesterday, yesterday))
    assert cache.sweep(tmp_path, 86400, remove=True)["trees"][1] >= 5000
    assert names(tmp_path / "trees") == []
