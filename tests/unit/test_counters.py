"""Counters read out of a guest, whatever that says."""

import base64
import subprocess
from pathlib import Path
from typing import cast

import pytest

from kvm.errors import GuestLost
from kvm.guest import CommandResult, Guest
from kvm.vm import Limits
from orchestrator.trial import counters
from orchestrator.trial.counters import Kept


class Says:
    """A guest that answers every command alike, or dies of it."""

    def __init__(self, *lines: str, timed_out: bool = False, dies: bool = False) -> None:
        self.lines, self.timed_out, self.dies = lines, timed_out, dies

    def run(self, command: str, *, timeout: float, output_limit: int = 0) -> CommandResult:
        if self.dies:
            raise GuestLost("panic: seeded", kind="panic", log=Path("console.log"))
        assert "gcov/reset" in command
        return CommandResult(0, "".join(f"{line}\n" for line in self.lines).encode(), b"", self.timed_out, False, 0.1)


def read(guest: Says, program: str, directory: Path) -> None:
    counters.read(program, cast(Guest, guest), Limits(), directory)


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    counters.begin(tmp_path)
    return tmp_path


def row(name: str, content: bytes) -> str:
    return f"./{name}.gcda {base64.b64encode(content).decode()}"


def test_equal_counters_are_kept_once_and_each_program_has_its_own(cell: Path) -> None:
    for program, content in (("s/one", b"zero"), ("s/two", b"zero"), ("s/three", b"some")):
        read(Says(row("build/mm/madvise", content)), program, cell)
    kept = counters.kept(cell)
    assert [(one.program, one.object, one.file.read_bytes()) for one in kept] == [
        ("s/one", "build/mm/madvise", b"zero"),
        ("s/two", "build/mm/madvise", b"zero"),
        ("s/three", "build/mm/madvise", b"some"),
    ]
    assert len(list((cell / "coverage").glob("*.gcda"))) == 2


def test_a_guest_that_dies_or_is_late_loses_what_ran_since_the_last_reading_alone(cell: Path) -> None:
    read(Says(row("build/mm/a", b"1")), "s/one", cell)
    with pytest.raises(GuestLost):
        read(Says(dies=True), "s/two", cell)
    read(Says(row("build/mm/a", b"1"), timed_out=True), "s/three", cell)
    read(Says(), "s/four", cell)
    assert [(one.program, one.object) for one in counters.kept(cell)] == [
        ("s/one", "build/mm/a"),
        ("s/two", ""),
        ("s/three", ""),
        ("s/four", ""),
    ]


def test_what_a_hostile_guest_says_names_no_file_of_the_host(cell: Path) -> None:
    read(
        Says(row("../../../etc/passwd", b"x"), "./a b.gcda AAAA", "./c.gcda ???", "no line", "./d.gcda AAA"),
        "s/x",
        cell,
    )
    assert [one.object for one in counters.kept(cell)] == ["../../../etc/passwd"]
    assert all(one.file.parent == cell / "coverage" for one in counters.kept(cell))


def test_a_shell_that_is_told_to_reads_every_object_and_sets_back(cell: Path, tmp_path: Path) -> None:
    top = tmp_path / "gcov"
    for name in ("build/mm/madvise", "build/fs/a+b"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / f"{name}.gcda").write_bytes(name.encode() * 99)

    class Shell(Says):
        def run(self, command: str, *, timeout: float, output_limit: int = 0) -> CommandResult:
            words = ["sh", "-c", command.replace("/sys/kernel/debug/gcov", str(top))]
            said = subprocess.run(words, capture_output=True, check=True, timeout=60)
            return CommandResult(0, said.stdout, said.stderr, False, False, 0.1)

    read(Shell(), "s/one", cell)
    assert {one.object: one.file.read_bytes() for one in counters.kept(cell)} == {
        name: name.encode() * 99 for name in ("build/mm/madvise", "build/fs/a+b")
    }
    assert (top / "reset").read_text() == "0\n"


def test_a_new_trial_forgets_what_was_read_before(cell: Path) -> None:
    read(Says(row("build/mm/a", b"1")), "s/one", cell)
    counters.begin(cell)
    assert counters.kept(cell) == []
    assert counters.kept(cell / "nowhere") == list[Kept]()
