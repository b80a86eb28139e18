"""A few entries of the campaign of seeded changes: those that cost one object and a boot, or none."""

from pathlib import Path

import pytest

from benchmarks.accuracy import compare, entry, play
from benchmarks.accuracy.compare import Mark

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("name", "mark"),
    [("remove-on-locked", Mark.FOUND), ("helper-extracted", Mark.QUIET), ("comment-same-lines", Mark.QUIET)],
)
def test_a_seeded_change_is_judged_as_its_answer_says(name: str, mark: Mark, tmp_path: Path) -> None:
    seeded = entry.load(entry.CORPUS / name)
    marked = compare.mark(seeded, ["arm64"], play.run(seeded, ["arm64"], tmp_path, play.version()))
    assert (marked.mark, marked.lacks) == (mark, ()), marked.said
