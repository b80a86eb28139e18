"""A run is in the history when it has ended, and the history is asked by commands."""

import dataclasses
import json
from pathlib import Path

import pytest

from orchestrator import store
from orchestrator.model import ChangeKind, Outcome, Run
from tests.conftest import Kdelta
from tests.unit.runs import change, sample_run

TEST = "madvise_locked/dontneed_drops_unlocked"


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of two days; in the second one a test breaks."""
    name = TEST.partition("/")[2]
    broken = change(name, "arm64", Outcome.PASS, Outcome.FAIL, ChangeKind.REGRESSED)
    first = sample_run(id="one")
    tests = tuple(broken if (one.name, one.arch) == (name, "arm64") else one for one in first.tests)
    second = dataclasses.replace(first, id="two", started="2026-04-13T09:14:03Z", tests=tests)
    return _save(first, tmp_path), _save(second, tmp_path)


def _save(run: Run, top: Path) -> Path:
    directory = top / run.id
    directory.mkdir()
    store.save(run, directory)
    return directory


def test_runs_that_were_added_are_listed_told_and_compared(kdelta: Kdelta, saved: tuple[Path, Path]) -> None:
    where = {"KDELTA_HISTORY": "own/history.sqlite"}
    assert kdelta("history", "--add", *saved, **where).returncode == 0
    assert kdelta("history", "--add", saved[1], **where).returncode == 0  # again, and counted once
    listed = kdelta("history", **where).stdout.splitlines()
    assert [line.split()[2:4] for line in listed] == [["validated", "one"], ["validated", "two"]]
    told = kdelta("history", TEST, "--arch", "arm64", **where).stdout
    assert "failed 1 of 2 on patched, in 2 runs" in told and "x86_64" not in told
    both = json.loads(kdelta("history", TEST, "--json", **where).stdout)
    assert [(one["arch"], one["patched"]["outcome"]) for one in both[0]["runs"]] == [
        *(("arm64", "pass"), ("x86_64", "pass")),
        *(("arm64", "fail"), ("x86_64", "pass")),
    ]
    compared = kdelta("compare", "one", saved[1], **where)
    assert compared.returncode == 1
    assert f"! arm64-fast {TEST}" in compared.stdout
    assert kdelta("compare", "two", "one", **where).returncode == 0
    assert f"arm64-fast {TEST}" in kdelta("flakes", **where).stdout  # both runs booted the same images


def test_what_is_asked_wrongly_is_said_with_a_remedy(kdelta: Kdelta, saved: tuple[Path, Path], tmp_path: Path) -> None:
    assert "the history is off" in kdelta("flakes").stderr
    assert "no run of the history has the test" in kdelta("history", "x", KDELTA_HISTORY="h.sqlite").stderr
    store.save(dataclasses.replace(sample_run(), verdict=None), saved[0])
    done = kdelta("history", "--add", saved[0], tmp_path / "none", saved[1], KDELTA_HISTORY="h.sqlite")
    assert (done.returncode, done.stdout) == (2, f"added {saved[1]}\n")  # one that cannot be added keeps no other out
    assert f"{saved[0]}: this run has no verdict" in done.stderr and "No such file" in done.stderr


def test_a_run_is_in_the_history_of_its_results_when_it_has_ended(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    words = ("run", tmp_path / "empty", "--kernel", f"git:{fakelinux}")
    own = {"KDELTA_CACHE": str(tmp_path / "cache"), "KDELTA_HISTORY": ""}
    done = kdelta(*words, **own)
    [directory] = (tmp_path / "results").glob("*/run.json")
    [line] = kdelta("history", **own).stdout.splitlines()
    assert done.returncode == 0 and directory.parent.name in line


def test_a_history_that_cannot_be_written_changes_no_verdict(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").write_text("no database\n" * 100)
    words = ("run", tmp_path / "empty", "--kernel", f"git:{fakelinux}", "--json", "--out", tmp_path / "run")
    done = kdelta(*words, KDELTA_CACHE=str(tmp_path / "cache"), KDELTA_HISTORY=str(tmp_path / "broken"))
    assert (done.returncode, json.loads(done.stdout)["verdict"]["value"]) == (0, "clean")
    assert "the run is not in the history" in done.stderr
    assert f"kdelta history --add {tmp_path / 'run'}" in done.stderr
