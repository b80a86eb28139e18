"""What GitHub Actions is told when kdelta runs there; anywhere else nothing is."""

import os
from pathlib import Path

import click

from orchestrator.model import Run
from orchestrator.publish.formats import github, markdown


def here() -> bool:
    """Does it run under GitHub Actions?"""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def harmless(text: str) -> str:
    """Text for a terminal, which there is read by a runner that obeys some of it."""
    return github.harmless(text) if here() else text


def tell(run: Run) -> None:
    """Annotate lines and write the step's summary; commands go to stderr, which is read for them as well."""
    if not here():
        return
    click.echo(github.annotations(run), err=True, nl=False)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write(github.summary(markdown.write(run)))
