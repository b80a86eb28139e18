"""Series made from the bundled one, each with one thing wrong."""

import contextlib
import difflib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kvm import disk, snapshot
from kvm.accel import Choice
from orchestrator import cache, places, plan, trials
from orchestrator.build import kbuild
from orchestrator.config import Pipeline
from orchestrator.intake import git, source
from orchestrator.model import Cell, GuestRun, Side
from orchestrator.places import Places
from orchestrator.request import Request
from orchestrator.trial import durations, runner
from orchestrator.trial.trial import Yard
from tests.conftest import ROOT, kdelta_argv, run_kdelta

BUNDLED = ROOT / "patches" / "madv-dontneed-locked"


@dataclass(frozen=True)
class Finished:
    """A run that ended: its exit code, its words, its record."""

    process: subprocess.CompletedProcess[str]
    directory: Path

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.directory / "run.json").read_text())


Validate = Callable[..., Finished]


@pytest.fixture(scope="session")
def validate(tmp_path_factory: pytest.TempPathFactory) -> Validate:
    """Run kdelta on a series of the shipped kernel."""

    def run(series: Path, *args: object) -> Finished:
        directory = tmp_path_factory.mktemp("run") / series.name
        first_pass = [] if series == BUNDLED else ["--no-rerun"]  # what is spoiled always shows
        process = run_kdelta("run", series, "--suite", "madvise_locked", "--out", directory, *first_pass, *args)
        return Finished(process, directory)

    return run


@contextlib.contextmanager
def on_a_terminal(*args: object, timeout: int = 900) -> "Iterator[pexpect.spawn[str]]":
    """kdelta on a terminal of its own, which is closed in the end."""
    program, *words = kdelta_argv(*args)
    how = {"cwd": ROOT, "encoding": "utf-8", "codec_errors": "replace", "dimensions": (50, 400)}
    child = pexpect.spawn(program, words, timeout=timeout, **how)
    try:
        yield child
    finally:
        child.close(force=True)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The bundled series, to be spoiled."""
    return shutil.copytree(BUNDLED, tmp_path / "series")


def replace_once(path: Path, old: str, new: str) -> None:
    """Change a line of a patch; the line counts of its hunks must stay as they are."""
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new))


def append_patch(series: Path, subject: str, file: str, before: str, after: str, number: int = 9) -> None:
    """Add one more patch that turns `file` from `before` into `after`."""
    diff = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{file}", f"b/{file}"))
    head = f"From: A Developer <a@example.org>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: [PATCH] {subject}\n"
    (series / f"{number:04d}-last.patch").write_text(
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n{head}\nWhy.\n\n"
        f"---\n\ndiff --git a/{file} b/{file}\n{diff}-- \n2.39\n"
    )


def base_file(path: str) -> str:
    """A file of the shipped kernel as it is without any series."""
    origin = source.resolve(Pipeline().kernel, None, cache.default_root())
    text = git.Repository(origin.git_dir).text(origin.tree, path)
    assert text is not None, f"no {path} in {origin.spec}"
    return text


def on_base(asked: Pipeline, where: Path, cache_dir: Path) -> GuestRun:
    """What the suites give on the base kernel, of one architecture; patched is not built."""
    todo = plan.make(Request(pipeline=asked, near=str(where), cache=str(cache_dir), jobs=os.cpu_count() or 1))
    [arch], cell = asked.arches, where / "cell"
    cell.mkdir()
    with disk.hold(*todo.entries):
        kernel = kbuild.build(todo.orders[Cell(Side.BASE, arch, "fast")], cache_dir, where / "log")
        supplied = trials.supply(todo, kernel, {})
        trial = trials.trial(todo, supplied, Choice("tcg", "as everywhere", 8.0), cell)
        return runner.run(trial, snapshot.take, Yard(Places(2, places.free_mib), durations.of(where, arch)))
