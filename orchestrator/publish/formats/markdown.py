"""Markdown for a pull request, a wiki or a CI's summary: words of guests and patches stay words."""

import re

from orchestrator.model import Run
from orchestrator.publish import outline
from orchestrator.publish.clean import line

# What makes Markdown, HTML, a table, a formula, an emoji, an issue's number or an address, wherever it stands.
_MARKUP = re.compile(r"[\\`*\[\]<>&|~#$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?![\s\d]|$)|(?<=www)\.", re.IGNORECASE)
_BEGINS = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))")


def write(run: Run) -> str:
    """The outline of a run."""
    lines = [f"## {_safe(outline.headline(run))}", ""]
    for section in outline.sections(run):
        lines += [f"### {section.title}", ""] if section.title else []
        lines += [*(f"- {_safe(text)}" for text in section.lines), ""]
    return "\n".join(lines)


def as_it_is(text: str) -> str:
    """Lines of plain text, which is none of ours."""
    return "".join(f"    {words}\n" for words in text.splitlines())


def _safe(text: str) -> str:
    """One line that shows as it is; @ is kept from calling somebody."""
    escaped = _MARKUP.sub(r"\\\g<0>", line(text).strip())
    return _BEGINS.sub(_plain_start, escaped).replace("@", "@<!-- -->")


def _plain_start(found: re.Match[str]) -> str:
    """A line that begins like a list or a heading's underline; a digit takes no backslash."""
    return f"{found[1]}&#{ord(found[2][0])};{found[2][1:]}"
