"""A program of which nothing is known but that it runs: KTAP where it says that it speaks it, else its exit status."""

import re

from orchestrator.trial.kinds import ktap, plain
from orchestrator.trial.kinds.parsed import Parsed

_SPEAKS = re.compile(r"^(?:K?TAP version \d+|1\.\.\d+)\s*(?:#.*)?$", re.MULTILINE)


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read `text` as KTAP if a line of it is a version or a plan; else keep what was said."""
    return (ktap.parse if _SPEAKS.search(text) else plain.parse)(text, suite, repeat)
