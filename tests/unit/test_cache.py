"""What is published is whole, and what was interrupted goes at the next occasion."""

import os
import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from kvm import disk
from kvm.errors import Interrupted
from orchestrator import cache, inventory


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


def test_an_interrupted_draft_stays_for_clear_or_gc_but_is_left_to_the_run_that_may_be_writing_it(
    tmp_path: Path,
) -> None:
    for name in ("one", "other"):
        with pytest.raises(Interrupted), cache.publish(tmp_path / "trees" / name) as draft:
            (draft / "half").write_bytes(b"x" * 5000)
            raise Interrupted
    cache.clear(tmp_path / "trees" / "one")
    [left] = (tmp_path / "trees").iterdir()
    assert left.name.startswith(".other.")
    with disk.hold(tmp_path / "trees" / "other"):
        found = inventory.take(tmp_path)
        assert inventory.stale(found, now=time.time(), age=86400) == []
        assert inventory.remove(found) == []
    found = inventory.take(tmp_path)
    assert inventory.remove(inventory.stale(found, now=time.time(), age=86400)) == found
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
    first.write_bytes(first.read_bytes().replace(b"4", b"5"))  # as good as JSON
    assert ask("a") == 5
    assert len(asked) == 5


def entry(name: str, size: int, idle: float, *, held: bool = False) -> inventory.Entry:
    return inventory.Entry(Path("/cache/builds") / name, size, 1e9 - idle, held)


def test_the_longest_unused_goes_until_the_size_is_kept_but_nothing_that_a_run_holds() -> None:
    found = [entry("a", 5, 9000), entry("b", 5, 8000), entry("c", 5, 7000), entry("d", 50, 6000, held=True)]
    going = inventory.stale(found, now=1e9, age=1e6, most=58)
    assert [old.path.name for old in going] == ["a", "b"]
    assert [old.path.name for old in inventory.stale(found, now=1e9, age=1e6, most=0)] == ["a", "b", "c"]
    assert [old.path.name for old in inventory.stale(found, now=1e9, age=8500)] == ["a"]
    assert [old.path.name for old in inventory.stale(found, now=1e9, age=0)] == ["a", "b", "c"]


def test_what_a_run_holds_or_has_used_since_is_not_removed(tmp_path: Path) -> None:
    for name in ("one", "other", "third"):
        (tmp_path / "objects" / name).mkdir(parents=True)
        (tmp_path / "objects" / f"{name}.built-from").touch()
    found = inventory.take(tmp_path)
    os.utime(tmp_path / "objects" / "third")
    with disk.hold(tmp_path / "objects" / "one"):
        gone = inventory.remove(found)
    assert [old.path.name for old in gone] == ["other"]
    assert names(tmp_path / "objects") == ["one", "one.built-from", "third", "third.built-from"]


def test_what_is_kept_is_held_until_it_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "suites" / "one").mkdir(parents=True)
    cache.keep(cache.keep(tmp_path / "suites" / "one"))
    assert [one.held for one in inventory.take(tmp_path)] == [True]
    cache.let_go()
    assert [one.held for one in inventory.take(tmp_path)] == [False]


def test_notes_go_with_what_they_are_about_and_are_counted_with_it_and_files_are_entries_too(tmp_path: Path) -> None:
    (tmp_path / "trees" / "one").mkdir(parents=True)
    (tmp_path / "trees" / "one.index").write_bytes(b"x" * 50_000)
    (tmp_path / "trees" / "gone.index").write_bytes(b"x" * 50_000)  # of a tree that is not there any more
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs" / "arm64-1.cpio").write_bytes(b"x" * 50_000)
    (tmp_path / "ccache").mkdir()
    (tmp_path / "ccache" / "x").write_bytes(b"x" * 50_000)
    found = {one.path.name: one for one in inventory.take(tmp_path)}
    assert sorted(found) == ["arm64-1.cpio", "gone.index", "one"]
    assert found["one"].size > 50_000
    assert inventory.rest(tmp_path)["ccache"] > 50_000
    assert inventory.remove([found["one"]]) == [found["one"]]
    assert names(tmp_path / "trees") == ["gone.index"]


def test_the_names_of_one_file_share_its_size(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / "trees" / name).mkdir(parents=True)
    (tmp_path / "trees" / "one" / "file").write_bytes(b"x" * 1_000_000)
    (tmp_path / "trees" / "other" / "file").hardlink_to(tmp_path / "trees" / "one" / "file")
    assert [500_000 < found.size < 600_000 for found in inventory.take(tmp_path)] == [True, True]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Something published with a seal."""
    with cache.publish(tmp_path / "builds" / "one") as draft:
        (draft / "image").write_text("kernel")
        (draft / "empty").touch()
        cache.seal(draft)
    return tmp_path / "builds" / "one"


def test_what_is_as_it_was_sealed_is_read_and_what_came_later_does_not_count(sealed: Path) -> None:
    (sealed / "later.json").write_text("x")
    os.utime(sealed, (1, 1))
    assert cache.find(sealed, lambda directory: (directory / "image").read_text()) == "kernel"
    assert sealed.stat().st_mtime > 1


@pytest.mark.parametrize("harm", ["changed", "cut", "gone", "seal cut", "seal gone", "unreadable"])
def test_what_was_damaged_is_said_and_goes(sealed: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    def read(directory: Path) -> str:
        if harm == "unreadable":
            raise ValueError("of another version")
        return (directory / "image").read_text()

    match harm:
        case "changed":
            (sealed / "image").write_text("kernal")
        case "cut":
            (sealed / "image").write_text("ker")
        case "gone":
            (sealed / "empty").unlink()
        case "seal cut":
            (sealed / "seal.json").write_text('{"image": "')
        case "seal gone":
            (sealed / "seal.json").unlink()
    assert cache.find(sealed, read) is None
    assert "builds/one in the cache was damaged, and will be made again: " in caplog.text
    assert names(sealed.parent) == []
    assert cache.find(sealed, read) is None
