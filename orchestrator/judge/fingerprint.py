"""One failure in, what makes it the same failure out: numbers, addresses and times are folded. Pure."""

import hashlib
import re

from orchestrator.model import Observed

_KEPT = 4096  # characters of an output that are looked at, the last ones
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b|\d+(?:\.\d+)?", re.IGNORECASE)


def of(seen: Observed) -> str:
    """Hash how a test ended and what it said, but for numbers."""
    words = fold(seen.output[-_KEPT:])
    return hashlib.sha256(f"{seen.outcome}\n{words}".encode("utf-8", "replace")).hexdigest()[:16]


def fold(text: str) -> str:
    """Leave out of a text what differs from run to run: numbers, addresses, white space."""
    return " ".join(_NUMBER.sub("#", text).split())
