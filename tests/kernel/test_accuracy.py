"""A few entries of the campaign of seeded changes: those that cost one object and a few boots, or none."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import compare, entry, play
from benchmarks.accuracy.compare import Mark
from orchestrator.config import Rerun

pytestmark = pytest.mark.kernel

PAIRS = 6  # as few as name a test that always fails


@pytest.mark.parametrize(
    ("name", "mark"),
    [("remove-on-locked", Mark.FOUND), ("helper-extracted", Mark.QUIET), ("comment-same-lines", Mark.QUIET)],
)
def test_a_seeded_change_is_judged_as_its_answer_says(name: str, mark: Mark, tmp_path: Path) -> None:
    seeded = entry.load(entry.CORPUS / name)
    marked = compare.mark(seeded, ["arm64"], play.run(seeded, ["arm64"], tmp_path, play.version()))
    assert (marked.mark, marked.lacks) == (mark, ()), marked.said


def test_of_six_hundred_tests_that_fail_by_chance_none_is_called_regressed(tmp_path: Path) -> None:
    whole = entry.load(entry.CORPUS / "null-flaky")
    run = whole.answer.run.model_copy(update={"rerun": Rerun(pairs=PAIRS)})
    seeded = replace(whole, answer=whole.answer.model_copy(update={"run": run}))
    record = play.run(seeded, ["arm64"], tmp_path, play.version())
    marked = compare.mark(seeded, ["arm64"], record, play.boots(seeded, ["arm64"], tmp_path))
    assert (marked.mark, marked.lacks, marked.wrong, marked.compared) == (Mark.QUIET, (), 0, 601), marked.said
    assert marked.boots == 2 + 2 * PAIRS
