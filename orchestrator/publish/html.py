"""The report: one file that shows a run and asks nothing of any other machine; its links stay in the run directory."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator import store
from orchestrator.model import BuildRecord, Change, Culprit, GuestOutcome, Lane, Run, Side, StepRecord
from orchestrator.publish import (
    advice,
    annotated,
    changed,
    clean,
    digest,
    effects,
    figures,
    measured,
    policy,
    rows,
    timed,
    told,
)
from orchestrator.publish.attach import MOST_BYTES, Attachment, Bag, packed
from orchestrator.publish.formats import mail
from orchestrator.trial import stretch

LARGEST = 5_000_000  # bytes
_SHARES = (1, 4, 16, 64)
_PAGE = Path(__file__).parent / "page"

_PIPELINE, _EXPECT = "pipeline.yaml", "series/expect.yaml"
_SAVED = {store.DIFF: "series", _EXPECT: "expect.yaml"}  # where a saved pipeline.yaml looks for them


@dataclass(frozen=True)
class File:
    """A file of the run: what links to it from beside it, and the file itself where it travels in the report."""

    href: str
    attached: Attachment | None


def render(run: Run, directory: Path) -> str:
    """The report as text; of `directory` it reads the diff, the consoles, and what it carries along.

    A mail must still carry it: where long texts make it larger, they have a fourth of their room, and so on.
    """
    for share in _SHARES:
        page = _rendered(run, directory, share)
        if len(page.encode()) <= LARGEST:
            break
    return page


def _rendered(run: Run, directory: Path, share: int) -> str:
    """The report with one part in `share` of the room for long texts."""
    style, script = _own("report.css"), _own("report.js")
    names, files = digest.lanes(run), _files(run, directory, share)
    tests, linked = changed.rows(run, names, directory, _consoles(run, directory), share), told.read(run, share)
    places: dict[Change | Culprit, str] = {test: row.anchor for row, _ in tests.full for test in row.tests}
    places |= {culprit: anchor for anchor, culprit in linked.culprits}
    return _environment().get_template("report.html.j2").render(
        run=run,
        digest=digest,
        effects=effects,
        lanes=names,
        rows=tests,
        packed=_packed,
        choices=changed.choices(run),
        steps=advice.steps(run, directory, places),
        metrics=measured.read(run, names, share),
        consoles=rows.consoles(run, names, lambda path: _find(directory, path), share),
        quantities=rows.quantities(run, names),
        bars=timed.bars(run),
        busy=(timed.busy(run), timed.plot(run)),
        command=shlex.join(run.command),
        recipe=[path for path in (_PIPELINE, store.DIFF, _EXPECT, "reproduce.sh") if path in files],
        boots=rows.boots(run, directory),
        told=linked,
        patch=annotated.read(run, directory, names, told.notes(linked), share),
        reply=mail.body(run),
        kept=files.get,
        policy=policy.of(style, script),
        style=style,
        script=script,
    )  # fmt: skip


def _packed(openings: Iterable[changed.Opening]) -> str:
    """What rows open, as the page holds it until one of them is opened."""
    shown = _environment().get_template("detail.html.j2").module
    return packed(json.dumps([str(shown.opened(*opening)) for opening in openings]).encode())  # type: ignore[attr-defined]


def _consoles(run: Run, directory: Path) -> changed.Said:
    """What each guest's console says around a test; a console is read once."""
    path = {(guest.side, digest.lane_of(guest)): guest.console for guest in run.guests}

    @cache
    def read(side: Side, lane: Lane) -> stretch.Around:
        return stretch.around(stretch.read(_find(directory, path.get((side, lane), ""))))

    def said(side: Side, lane: Lane, test: Change) -> str | None:
        return read(side, lane)(test.suite, test.name)

    return said


def _files(run: Run, directory: Path, share: int) -> dict[str, File]:
    """Every file that the report names and the run directory holds; what explains most is attached first."""
    bag = Bag(MOST_BYTES // share)
    troubled_first = sorted(run.guests, key=lambda guest: guest.outcome is GuestOutcome.OK)
    builds: list[BuildRecord | StepRecord] = [*run.builds, *run.steps]
    paths = (
        store.RECORD,
        *(_PIPELINE, store.DIFF, _EXPECT, "reproduce.sh"),
        *(culprit.log for culprit in run.culprits),
        *(build.log for build in builds if build.error),
        *(guest.console for guest in troubled_first),
        *(build.log for build in builds),
    )
    found = {path: _find(directory, path) for path in paths}
    named = {path: _SAVED.get(path, path.replace("/", "-")) for path in paths}
    return {path: File(_link(path), bag.hold(file, named[path])) for path, file in found.items() if file}


@cache
def _environment() -> Environment:
    """Every value that the template prints goes through `_shown`, and is escaped after that."""
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in (figures.number, figures.times, figures.duration, digest.part)}
    environment.filters["line"] = lambda text: clean.line(str(text))
    return environment


def _shown(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return figures.DASH if value is None else clean.printable(str(value))


def _own(name: str) -> Markup:
    """Our own style or script: the one text that is not escaped."""
    return Markup((_PAGE / name).read_text(encoding="utf-8"))  # noqa: S704


def _find(directory: Path, path: str) -> Path | None:
    """The file that a record names, if it is there and in the run directory."""
    if not path or "\0" in path:
        return None
    found = (directory / path).resolve()
    return found if found.is_file() and found.is_relative_to(directory.resolve()) else None


def _link(path: str) -> str:
    """A relative link to it; `./` keeps a colon in a name from becoming a scheme."""
    return f"./{quote(path, errors='surrogateescape')}"
