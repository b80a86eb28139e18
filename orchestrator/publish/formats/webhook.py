"""What a webhook is told of a run: one small JSON object."""

import re
from typing import Any

from orchestrator.model import Run
from orchestrator.publish import digest
from orchestrator.publish.clean import line

_MARKUP = re.compile(r"[<>\[\]@`*|~]|(?<=:)//")  # what calls people, links or formats in one chat or another


def body(run: Run, where: str) -> dict[str, Any]:
    """`text` is for a chat, the rest for programs; `where` is the run's report as a URL, or ""."""
    said = f"kdelta: {digest.answer(run)}: {run.series.title} ({digest.gist(run)})"
    return {
        "schema": "kdelta.webhook/1",
        "text": f"{_MARKUP.sub('', line(said))} {where}".rstrip(),
        "run": line(run.id),
        "verdict": run.verdict.value if run.verdict else None,
        "exit_code": digest.exit_code(run),
        "reasons": [line(reason) for reason in digest.reasons(run)],
        "strength": line(digest.strength(run)) or None,
        "series": line(run.series.title),
        "message_ids": [line(patch.message_id) for patch in run.series.patches if patch.message_id],
        "kernel": line(run.kernel.release),
        "started": run.started,
        "seconds": run.wall_seconds,
        "culprits": [line(digest.blame(run, culprit)) for culprit in run.culprits],
        "report": where or None,
    }
