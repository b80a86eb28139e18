"""results/index.html: runs, trends and flakes on one page that asks nothing of any other machine."""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.model import Flake, PastRun, Trend
from orchestrator.publish import clean, past, policy, trends

MOST_RUNS, MOST_FLAKES, MOST_TITLES = 500, 25, 20
_HERE = Path(__file__).parent


def render(found: Sequence[Trend], flakes: Sequence[Flake], results: Path) -> str:
    """The page that is to lie in `results`; it links the reports that are there."""
    style = (_HERE / "index.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True
    )
    environment.filters["day"] = past.day
    environment.filters["link"] = lambda run: _link(run, results)
    lines = list(trends.lines(found).items())
    drawn, left_out = dict(lines[: trends.MOST_LINES]), [title for title, _ in lines[trends.MOST_LINES :]]
    return environment.get_template("index.html.j2").render(
        trends=found,
        flakes=flakes[:MOST_FLAKES],
        plots=list(_plots(drawn, flakes[:MOST_FLAKES])),
        not_drawn=left_out[:MOST_TITLES],
        more=len(left_out[MOST_TITLES:]),
        style=Markup(style),  # noqa: S704  (our own)
        policy=policy.of(style),
    )


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else clean.line(str(value))


def _plots(drawn: trends.Lines, flakes: Sequence[Flake]) -> Iterator[tuple[str, str, str]]:
    """Title, image and what stands for it where images are not seen."""
    if drawn:
        words = "every run is in the table below"
        yield "What failed", _encoded(trends.failures(drawn)), f"a line for each title; {words}"
        yield "How long runs took", _encoded(trends.minutes(drawn)), f"a line for each title; {words}"
    if flakes:
        yield "How often tests flake", _encoded(trends.flakes(flakes)), "the numbers are in the table below"


def _encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _link(run: PastRun, results: Path) -> str | None:
    """A relative link to a run's report, if it lies below the page; `./` keeps a colon from becoming a scheme."""
    report = Path(run.directory) / "report.html"
    below = os.path.relpath(report, results)
    return f"./{quote(below)}" if not below.startswith("..") and report.is_file() else None
