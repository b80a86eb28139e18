"""A run in the forms that other programs read: each a pure writer of the one result model (docs/formats.md)."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.model import Run
from orchestrator.publish.formats import junit, kcidb, ktap, mail, markdown, sarif


@dataclass(frozen=True)
class Format:
    """How a run is written, and the name of the file beside report.html."""

    write: Callable[[Run], str]
    file: str


FORMATS = {
    "junit": Format(junit.write, "junit.xml"),
    "ktap": Format(ktap.write, "results.ktap"),
    "kcidb": Format(kcidb.write, "kcidb.json"),
    "sarif": Format(sarif.write, "findings.sarif"),
    "markdown": Format(markdown.write, "report.md"),
    "mail": Format(mail.write, "report.eml"),
}


def write(name: str, run: Run, origin: str = kcidb.ORIGIN) -> str:
    """The run in one form; `origin` is the name under which KCIDB knows who sends it."""
    return kcidb.write(run, origin) if name == "kcidb" else FORMATS[name].write(run)
