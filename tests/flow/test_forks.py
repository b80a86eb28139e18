"""Processes that are forked where all is loaded: each is told its words, and none outlives who asked."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvm.errors import InfraError
from orchestrator.cluster.forks import Forks
from tests.clusters import until
from tests.conftest import ROOT, processes

MAIN = """
import os, sys, time
from orchestrator.cluster import forks

def main():
    print(os.getppid(), *sys.argv[1:], sys.stdin.read(), flush=True)
    print("a complaint", file=sys.stderr, flush=True)
    time.sleep(float(sys.argv[-1]))

forks.serve(main)
"""
FOR_LONG = "61.5"


@pytest.fixture
def forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forks]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started = Forks([sys.executable, "-c", MAIN, str(tmp_path)])
    yield started
    started.close()
    until(lambda: not processes(str(tmp_path)))


def said(forks: Forks, *words: str) -> tuple[str, list[str]]:
    """Who forked it, and what it said beside."""
    ours, theirs = os.pipe()
    with forks.start(words, theirs, theirs, 0) as fork:
        os.close(theirs)
        assert fork.wait(10)
    with os.fdopen(ours) as pipe:
        parent, rest = pipe.read().split(" ", 1)
    return parent, rest.splitlines()


def test_it_has_its_words_its_own_output_and_an_empty_stdin(forks: Forks, tmp_path: Path) -> None:
    _, lines = said(forks, "one", "0")
    assert lines == [f"{tmp_path} one 0 ", "a complaint"]


def test_all_come_of_one_process_and_of_another_when_that_was_killed(forks: Forks) -> None:
    first, _ = said(forks, "0")
    again, _ = said(forks, "0")
    os.kill(int(first), signal.SIGKILL)
    other, _ = said(forks, "0")
    assert first == again != other


def test_it_ends_with_the_block(forks: Forks, tmp_path: Path) -> None:
    with forks.start([FOR_LONG], 1, 2, 10) as fork:
        assert not fork.wait(0.1)
    assert len(processes(str(tmp_path))) == 1  # who forks


def test_it_ends_with_who_forked_it_and_that_with_who_asked(forks: Forks, tmp_path: Path) -> None:
    with forks.start([FOR_LONG], 1, 2, 0):
        forks.close()
        until(lambda: not processes(str(tmp_path)))


def test_where_no_process_can_be_made_the_others_go_on(forks: Forks) -> None:
    _, lines = said(forks, "0")
    with forks.start([FOR_LONG], 1, 2, 0) as going:
        [server, *_] = [int(line.split()[0]) for line in processes(lines[0].split()[0])]
        resource.prlimit(server, resource.RLIMIT_NOFILE, (0, 4096))
        with pytest.raises(InfraError, match="Too many open files"), forks.start(["0"], 1, 2, 0):
            pass
        resource.prlimit(server, resource.RLIMIT_NOFILE, (4096, 4096))
        assert said(forks, "0")[0] == str(server)
        assert not going.wait(0)


def test_a_program_that_forks_nothing_is_a_fault_of_the_machine() -> None:
    forks = Forks(["true"])
    with pytest.raises(InfraError, match="true does not answer"), forks.start([], 1, 2, 0):
        pass
