"""run.json and its schema."""

import json
from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator import store

ROOT = Path(__file__).resolve().parents[2]


def test_the_published_schema_is_the_models_own() -> None:
    published = json.loads((ROOT / "docs" / "run.schema.json").read_text())
    assert published == store.schema(), "write it anew: make schema"


def test_a_broken_record_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"id": 3}')
    with pytest.raises(UserError, match="is not a kdelta run record"):
        store.load(tmp_path)


@pytest.mark.parametrize("damaged", ['[{"suite": "a"}]', "{", ""])
def test_broken_pairs_are_named_with_their_place(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "pairs.json").write_text(damaged)
    with pytest.raises(UserError, match=r"pairs\.json is not"):
        store.load_pairs(tmp_path / "pairs.json")


def test_two_runs_in_one_second_get_two_directories(tmp_path: Path) -> None:
    import datetime

    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    first, second = (store.new_directory(tmp_path, "mm: x/../y", now) for _ in range(2))
    assert first.name == "20260102-030405-mm-x-y"
    assert second.name == "20260102-030405-mm-x-y-2"


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    for name in ("x", "series", "pipeline.yaml"):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match="is not empty"):
            store.vacate(tmp_path)
        (tmp_path / name).unlink()


def test_a_run_that_was_killed_at_its_first_word_makes_room(tmp_path: Path) -> None:
    (tmp_path / ".run.json.k3_xy0za").write_text("{")
    store.vacate(tmp_path)
    assert list(tmp_path.iterdir()) == []
