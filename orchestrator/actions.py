"""What GitHub Actions is told when kdelta runs there; anywhere else nothing is."""

import os
from dataclasses import dataclass
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
    if here():
        _tell(github.annotations(run), markdown.write(run))


@dataclass
class Night:
    """What is told of all runs of a night: they are one step, and have no more room than one run."""

    _annotations: str = ""
    _runs: str = ""

    def add(self, item: str, run: Run) -> None:
        """Keep what is to be told of one run."""
        if here():
            self._annotations = github.both(self._annotations, github.annotations(run, item))
            self._runs = github.summary(f"{self._runs}\n{markdown.write(run)}")

    def tell(self, summary: str) -> None:
        """Tell it; the night's own summary, which is plain text, comes first."""
        if here():
            _tell(self._annotations, f"\n{markdown.as_it_is(summary)}{self._runs}")


def _tell(annotations: str, words: str) -> None:
    click.echo(annotations, err=True, nl=False)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write(github.summary(words))
