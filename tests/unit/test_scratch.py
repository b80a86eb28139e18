"""What a process leaves in the temporary directory when it is killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator import scratch
from tests.conftest import ROOT

LIVES = (
    "from orchestrator import scratch\nwith scratch.own():\n print(scratch.tempfile.mkdtemp(), flush=True)\n input()\n"
)


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(top: Path) -> tuple[subprocess.Popen[str], Path]:
    """Somebody who made a file, and when it was made that was long ago."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIVES],
        env={**os.environ, "TMPDIR": str(top), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    mine = Path(process.stdout.readline().strip()).parent
    os.utime(mine, (0, 0))
    return process, mine


def test_what_a_killed_process_left_goes_when_the_next_one_starts(top: Path) -> None:
    process, left = start(top)
    process.kill()
    process.communicate()
    assert left.is_dir()
    with scratch.own():
        assert not left.exists()
        assert Path(tempfile.mkdtemp()).parent.parent == top
    assert list(top.iterdir()) == []


def test_a_process_that_lives_keeps_its_directory_and_takes_it_along_when_it_ends(top: Path) -> None:
    process, mine = start(top)
    with scratch.own():
        assert mine.is_dir()
    process.communicate("\n")
    assert not mine.exists()


def test_what_another_put_in_the_way_is_not_followed(top: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    theirs = tmp_path_factory.mktemp("theirs")
    os.utime(theirs, (0, 0))
    name = top / f"kdelta-{os.getuid()}-link"
    name.symlink_to(theirs)
    os.utime(name, (0, 0), follow_symlinks=False)
    with scratch.own():
        pass
    assert name.is_symlink()
    assert theirs.is_dir()
