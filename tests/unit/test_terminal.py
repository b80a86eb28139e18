"""A terminal that is joined to a program's: it ends with the program, with the terminal, and when it is told to."""

import signal
import sys
from collections.abc import Iterator

import pexpect
import pytest

SCRIPT = """\
import signal, sys
import pexpect
from kvm import proc, terminal
from kvm.errors import Interrupted
signal.signal(signal.SIGHUP, lambda *_: proc.stop.set())
signal.signal(signal.SIGTERM, lambda *_: proc.stop.set())
child = pexpect.spawn("sh", ["-c", sys.argv[1]])
try:
    print("over" if terminal.join(child.child_fd) else "gone")
except Interrupted:
    print("interrupted")
finally:
    child.close(force=True)
"""

Joined = Iterator["pexpect.spawn[str]"]


def joined(line: str) -> "pexpect.spawn[str]":
    return pexpect.spawn(sys.executable, ["-c", SCRIPT, line], encoding="utf-8", timeout=60)


def test_keys_go_in_and_words_come_out_until_the_program_ends() -> None:
    outer = joined("stty -echo; echo ready; read word; echo heard $word")
    outer.expect("ready")
    outer.send("yes\n")
    outer.expect("heard yes")
    outer.expect("over")
    outer.expect(pexpect.EOF)


def test_it_ends_when_it_is_told_to() -> None:
    outer = joined("echo ready; sleep 1000")
    outer.expect("ready")
    outer.kill(signal.SIGTERM)
    outer.expect("interrupted")
    outer.expect(pexpect.EOF)


@pytest.mark.filterwarnings("ignore")
def test_it_ends_when_the_terminal_is_gone() -> None:
    outer = joined("echo ready; sleep 1000")
    outer.expect("ready")
    outer.ptyproc.fileobj.close()  # as when a window is closed
    assert outer.ptyproc.wait() is not None
