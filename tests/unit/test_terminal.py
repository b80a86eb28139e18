"""A terminal that is joined to a program's: it ends with the program, with the terminal, and when it is told to."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

SCRIPT = """\
import pathlib, signal, sys
import pexpect
from kvm import proc, terminal
from kvm.errors import Interrupted
signal.signal(signal.SIGHUP, lambda *_: proc.stop.set())
signal.signal(signal.SIGTERM, lambda *_: proc.stop.set())
child = pexpect.spawn("sh", ["-c", sys.argv[1]])
told = "a fault"
try:
    told = "over" if terminal.join(child.child_fd) else "gone"
except Interrupted:
    told = "interrupted"
finally:
    pathlib.Path(sys.argv[2]).write_text(told)
    child.close(force=True)
"""

Joined = Callable[[str], "pexpect.spawn[str]"]


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Where it is said how it ended."""
    return tmp_path / "ended"


@pytest.fixture
def joined(ended: Path) -> Joined:
    def start(line: str) -> "pexpect.spawn[str]":
        return pexpect.spawn(sys.executable, ["-c", SCRIPT, line, str(ended)], encoding="utf-8", timeout=60)

    return start


def test_keys_go_in_and_words_come_out_until_the_program_ends(joined: Joined, ended: Path) -> None:
    outer = joined("stty -echo; echo ready; read word; echo heard $word")
    outer.expect("ready")
    outer.send("yes\n")
    outer.expect("heard yes")
    outer.expect(pexpect.EOF)
    assert ended.read_text() == "over"


def test_it_ends_when_it_is_told_to(joined: Joined, ended: Path) -> None:
    outer = joined("echo ready; sleep 1000")
    outer.expect("ready")
    outer.kill(signal.SIGTERM)
    outer.expect(pexpect.EOF)
    assert ended.read_text() == "interrupted"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", ["echo ready; sleep 1000", "echo ready; yes"])
def test_it_ends_when_the_terminal_is_gone(joined: Joined, ended: Path, line: str) -> None:
    outer = joined(line)
    outer.expect("ready")
    outer.ptyproc.fileobj.close()  # as when a window is closed
    outer.ptyproc.wait()
    assert ended.read_text() in ("gone", "interrupted")
