"""What people are told of a fault, whoever it quotes."""

import pytest

from kvm.errors import UserError
from orchestrator import cli


def test_nothing_that_a_fault_quotes_reaches_a_terminal_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    cli._explain(UserError("a\x1b[2Jb", hint="run \x1b[31mc\x07"))
    said = capsys.readouterr().err
    assert said.replace("\n", "").isprintable()
    assert "Error: ab" in said and "hint: run c" in said
