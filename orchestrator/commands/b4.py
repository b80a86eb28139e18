"""What b4 asks about a mail that it reviews: `b4-check`."""

import email
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from kvm import disk, proc
from kvm.errors import UserError
from orchestrator import store
from orchestrator.intake import letters
from orchestrator.publish.formats import b4


@click.command("b4-check")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Where the runs are."
)
def b4_check(results: Path) -> None:
    """Answer b4: read one mail on stdin, print what the newest run of its series says, as a JSON array.

    The run is found by the mail's Message-ID; of a mail that no run knows there is nothing to say: [].

    \b
    Example, in the git configuration of the tree in which you review:
      [b4]
        review-perpatch-check-cmd = kdelta b4-check --results ~/kernel/results
        review-series-check-cmd = kdelta b4-check --results ~/kernel/results
    """
    message = email.message_from_bytes(proc.read(sys.stdin.fileno(), letters.MAX_BYTES))
    name = str(message.get("Message-ID", "")).strip()
    found = (answer for run in _runs(disk.expanded(results), name) for answer in [_results(run, name)] if answer)
    click.echo(json.dumps(next(found, []), indent=1))


def _runs(results: Path, name: str) -> Iterator[Path]:
    """Yield the directories of runs whose record holds the words, the newest first."""
    records = sorted(results.glob(f"*/{store.RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return (path.parent for path in records if name and name.encode("utf-8", "replace") in path.read_bytes())


def _results(run: Path, name: str) -> list[b4.Result]:
    try:
        return b4.results(store.load(run), name, (run / "report.html").resolve().as_uri())
    except UserError:  # another program's run.json, or one of a later kdelta
        return []
