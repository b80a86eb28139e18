"""What failed on a base in earlier runs is counted once for each run."""

from dataclasses import replace
from pathlib import Path

from orchestrator import flakes
from orchestrator.judge import earlier
from orchestrator.model import ChangeKind, Outcome, Side
from tests.unit.runs import change
from tests.unit.test_judge import splat
from tests.unit.test_settle import run

PASS, FAIL = Outcome.PASS, Outcome.FAIL


def test_each_run_is_counted_once_and_others_are_told(tmp_path: Path) -> None:
    seen = [run(Side.BASE, {"t": FAIL, "u": PASS}), run(Side.BASE, {"t": PASS, "u": PASS})]
    assert flakes.note(tmp_path, "image", "one", seen) == []
    assert flakes.note(tmp_path, "image", "one", seen) == []
    assert flakes.note(tmp_path, "image", "two", seen[1:]) == [earlier.Failures({"s": 2, "(report) ": 2}, {"s/t": 1})]
    assert flakes.note(tmp_path, "other", "three", seen) == []
    told = flakes.note(tmp_path, "image", "three", [])
    rows = [change("t", kind=ChangeKind.REGRESSED, suite="s"), change("u", kind=ChangeKind.REGRESSED, suite="s")]
    words = [row.earlier for row in earlier.tell(rows, told)]
    assert words == ["failed 1 of 3 times on this base in earlier runs", ""]


def test_a_report_is_counted_whichever_suite_ran(tmp_path: Path) -> None:
    quiet = run(Side.BASE, {"t": PASS})
    loud = replace(quiet, guest=replace(quiet.guest, splats=(splat(),)))
    told = [flakes.note(tmp_path, "image", "one", [loud, quiet]), flakes.note(tmp_path, "image", "two", [])][1]
    [row] = earlier.tell([change(f"t/(report) {splat().title}", kind=ChangeKind.REGRESSED, suite="other")], told)
    assert row.earlier == "failed 1 of 2 times on this base in earlier runs"


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    (tmp_path / "flakes").mkdir()
    for damaged in ("", "[]", '{"a": 1}', '{"a": {"runs": 1}}', "\x00"):
        (tmp_path / "flakes" / "image.json").write_text(damaged)
        assert flakes.note(tmp_path, "image", "b", []) == []
