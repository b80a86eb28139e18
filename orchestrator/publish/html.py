"""The report: one file that shows a run and asks nothing of any other machine; its links stay in the run directory."""

import base64
import hashlib
import shlex
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.model import Run
from orchestrator.publish import annotated, clean, digest, rows
from orchestrator.publish.excerpt import Shelf

_HERE = Path(__file__).parent


def render(run: Run, directory: Path) -> str:
    """The report as text; of `directory` it reads the consoles, and which logs are there."""
    style, script = _own("report.css"), _own("report.js")
    names, shelf = digest.lanes(run), Shelf()
    changes = rows.changes(run, names, shelf)
    return _environment().get_template("report.html.j2").render(
        run=run,
        digest=digest,
        lanes=names,
        changes=changes,
        suites=rows.suites(run, changes, names, shelf),
        metrics=rows.metrics(run, names),
        outcomes=rows.outcomes(run),
        consoles=rows.consoles(run, names, lambda path: _find(directory, path)),
        bars=rows.bars(run),
        command=shlex.join(run.command),
        boots=rows.boots(run, directory),
        patch=annotated.read(run, directory, names),
        kept=lambda path: _link(directory, path),
        policy=_policy(style, script),
        style=style,
        script=script,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Every value that the template prints goes through `_shown`, and is escaped after that."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(digest, name) for name in ("number", "times", "duration")}
    environment.filters["line"] = lambda text: clean.line(str(text))
    return environment


def _shown(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return digest.DASH if value is None else clean.printable(str(value))


def _own(name: str) -> Markup:
    """Our own style or script: the one text that is not escaped."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))  # noqa: S704


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy under which only this style and this script work, and no request leaves."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _find(directory: Path, path: str) -> Path | None:
    """The file that a record names, if it is there and in the run directory."""
    if not path or "\0" in path:
        return None
    found = (directory / path).resolve()
    return found if found.is_file() and found.is_relative_to(directory.resolve()) else None


def _link(directory: Path, path: str) -> str | None:
    """A relative link to it; `./` keeps a colon in a name from becoming a scheme."""
    return f"./{quote(path, errors='surrogateescape')}" if _find(directory, path) else None
