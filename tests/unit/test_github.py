"""What GitHub's runner is told, and what it must not take for an order."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator import actions
from orchestrator.model import ChangeKind, FindingChange, FindingRecord, Outcome, Verdict, VerdictValue
from orchestrator.publish.formats import github
from tests.unit.runs import change, sample_run


def obeyed(text: str) -> list[str]:
    """The lines that the runner takes for commands."""
    return [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line]


def test_what_counts_against_the_series_is_an_error_and_what_is_new_a_warning_at_its_line() -> None:
    tests = (change("broke", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED), change("good"))
    found = FindingRecord("gcc", "-Wx", "mm/a,b.c", 7, "100% odd:\nyes", "arm64", "fast", FindingChange.NEW)
    assert github.annotations(sample_run(tests=tests, findings=(found,))).splitlines() == [
        "::error title=madvise_locked/broke x86_64-fast::pass on base, fail on patched: regressed",
        "::warning file=mm/a%2Cb.c,line=7,title=gcc -Wx::100%25 odd:%0Ayes",
    ]
    assert github.annotations(sample_run()) == ""


def test_why_a_run_is_not_good_is_said_be_it_the_series_fault_or_nobodys() -> None:
    unmet, unsure = (Verdict(value, ("why",)) for value in (VerdictValue.UNMET, VerdictValue.INCONCLUSIVE))
    assert github.annotations(sample_run(verdict=unmet)) == "::error title=kdelta/verdict::unmet: why\n"
    assert github.annotations(sample_run(verdict=unsure)) == "::warning title=kdelta/verdict::inconclusive: why\n"


def test_no_more_annotations_are_written_than_are_shown() -> None:
    tests = tuple(change(f"t{n}", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED) for n in range(50))
    assert len(github.annotations(sample_run(tests=tests)).splitlines()) == github.MOST


def test_all_runs_of_a_night_are_one_step_with_the_night_s_summary_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    tests = tuple(change(f"t{n}", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED) for n in range(6))
    found = FindingRecord("gcc", "-Wx", "", 0, "odd", "arm64", "fast", FindingChange.NEW)
    night = actions.Night()
    for item in ("tree a", "queue b"):
        night.add(item, sample_run(tests=tests, findings=(found,)))
    night.tell("kdelta nightly: 2 regressed\n! <b>queue b</b>\n")
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in told] == ["::error"] * github.MOST + ["::warning"] * 2
    assert told[0] == "::error title=tree a madvise_locked/t0 x86_64-fast::pass on base, fail on patched: regressed"
    assert told[-1] == "::warning title=queue b gcc -Wx::odd"
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("\n    kdelta nightly: 2 regressed\n    ! <b>queue b</b>\n\n## ")
    assert summary.count("\n## ") == 2


@given(st.text())
@example("x\n::add-mask::y")
@example("##[add-mask]y\r::error::")
def test_words_of_a_guest_are_one_annotation_and_no_other_order(words: str) -> None:
    test = change(words, suite=words, patched=Outcome.FAIL, kind=ChangeKind.REGRESSED)
    found = FindingRecord("gcc", words, words, 1, words, "arm64", "fast", FindingChange.NEW)
    told = github.annotations(sample_run(tests=(test,), findings=(found,)))
    assert [line.split(" ")[0] for line in told.split("\n")] == ["::error", "::warning", ""]
    assert "##[" not in told


@given(st.text(alphabet=":# \n[]xa\t"))
@example("   ::stop-commands::x\n:::y\nsee ##[error]z")
def test_what_is_printed_there_is_no_order(words: str) -> None:
    assert obeyed(github.harmless(words)) == []


def test_a_summary_is_cut_where_github_would_refuse_it() -> None:
    assert len(github.summary("ä" * github.SUMMARY_BYTES).encode()) == github.SUMMARY_BYTES
