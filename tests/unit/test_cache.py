"""What is published is whole, and what was interrupted goes at the next occasion."""

import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from kvm import disk
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
    found, now = cache.entries(tmp_path), time.time()
    assert cache.stale(found, now=now, age=86400) == []  # a run may be writing it
    assert cache.remove(tmp_path, cache.stale(found, now=now + 80000, age=86400)) == found
    assert names(tmp_path / "trees") == []


def test_an_answer_is_asked_for_once_per_input_and_again_if_it_was_not_whole(tmp_path: Path) -> None:
    asked: list[int] = []

    def look() -> int:
        asked.append(1)
        return len(asked)

    def ask(*inputs: object, whole: bool = True) -> int:
        return cache.remember(tmp_path / "answer", list(inputs), TypeAdapter(int), look, whole=lambda _: whole)

    assert [ask("a", whole=False), ask("a"), ask("a"), ask("b")] == [1, 2, 2, 3]
    [first, _] = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    first.write_text("half an ans")
    assert ask("a") == 4


def entry(name: str, size: int, idle: float) -> cache.Entry:
    return cache.Entry(Path("/cache/builds") / name, size, 1e9 - idle)


def test_the_longest_unused_goes_until_the_size_is_kept_but_nothing_that_a_run_may_want() -> None:
    found = [entry("a", 5, 9000), entry("b", 5, 8000), entry("c", 5, 7000), entry("d", 50, 10)]
    going = cache.stale(found, now=1e9, age=1e6, most=58)
    assert [old.path.name for old in going] == ["a", "b"]
    assert [old.path.name for old in cache.stale(found, now=1e9, age=1e6, most=0)] == ["a", "b", "c"]
    assert [old.path.name for old in cache.stale(found, now=1e9, age=8500)] == ["a"]


def test_what_a_run_works_on_is_not_removed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / "objects" / name).mkdir(parents=True)
        (tmp_path / "objects" / f"{name}.built-from").touch()
    found = cache.entries(tmp_path)
    with disk.lock(tmp_path / "locks" / "objects-one"):
        gone = cache.remove(tmp_path, found)
    assert [old.path.name for old in gone] == ["other"]
    assert names(tmp_path / "objects") == ["one", "one.built-from"]
