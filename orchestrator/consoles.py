"""What the guests of a lane left on their consoles: the kernel's reports."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator.judge import splat
from orchestrator.judge.splat import Found
from orchestrator.model import SplatRules

_BLOCK = 1 << 20  # characters that are read at once


def read(console: Path, rules: SplatRules) -> Found:
    """Find the reports on a console."""
    return splat.find(_blocks(console), rules)


def _blocks(console: Path) -> Iterator[str]:
    with console.open(encoding="utf-8", errors="replace", newline="\n") as log:
        while block := log.read(_BLOCK):
            yield block
