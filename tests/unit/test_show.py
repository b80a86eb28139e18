"""What a person sees on a terminal while a run goes on."""

import os
import sys

import pexpect

LONG = f"a guest stays: {'ssh -F none ' * 20}root@127.0.0.1"
SCRIPT = """\
import logging, sys
from orchestrator import show
from orchestrator.model import Cell, Side
show.log(verbose=False)
with show.Board() as board:
    board.tell(Cell(Side.BASE, "arm64", "fast"), "boot")
    logging.warning(sys.argv[1])
"""


def test_a_command_that_is_logged_beside_the_table_stays_one_line_on_a_narrow_terminal() -> None:
    env = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    told = pexpect.spawn(sys.executable, ["-c", SCRIPT, LONG], encoding="utf-8", timeout=60, env=env)
    told.expect_exact(f"{LONG}\r\n")
    told.expect("base/arm64-fast *boot")
    told.expect(pexpect.EOF)
