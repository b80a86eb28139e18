"""Checks for Patchwork, one of each patch that came by mail: the run's verdict as it concerns that patch."""

from dataclasses import dataclass

from orchestrator.model import Run
from orchestrator.publish.clean import line
from orchestrator.publish.formats import b4

_STATES = {b4.PASS: "success", b4.WARN: "warning", b4.FAIL: "fail"}
_LONGEST = 500  # of a description that is to be brief


@dataclass(frozen=True)
class Check:
    """What is said of the patch whose mail has that Message-ID (`name@host`, as Patchwork's URLs have it)."""

    message_id: str
    body: dict[str, str]


def checks(run: Run, context: str, where: str) -> list[Check]:
    """One of each patch; `where` is the run's report as a URL, or "" if nobody else can read it."""
    return [
        Check(patch.message_id.strip("<>"), _body(run, number, context) | ({"target_url": where} if where else {}))
        for number, patch in enumerate(run.series.patches, 1)
        if patch.message_id
    ]


def _body(run: Run, number: int, context: str) -> dict[str, str]:
    status, words = b4.judged(run, number)
    return {"state": _STATES[status], "context": context, "description": line(words)[:_LONGEST]}
