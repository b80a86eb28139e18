"""One program of a suite, as a shell in the guest starts it."""

from dataclasses import dataclass

from orchestrator.model import Outcome


@dataclass(frozen=True)
class Run:
    """`name` is that of its test, "" where the suite is this program; `program` its place, "" where none is meant.

    `command` is for a shell, in `directory` below the suite's, after it did `start`. `seconds` is its limit, None where
    the suite says it.
    """

    name: str
    command: str
    program: str = ""
    directory: str = ""
    seconds: float | None = None
    start: str = ""


@dataclass(frozen=True)
class Unrun:
    """A program that cannot be run, and why: it does not compile, or there is none."""

    name: str
    outcome: Outcome
    why: str
