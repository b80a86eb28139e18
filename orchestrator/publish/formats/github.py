"""What GitHub Actions reads: workflow commands that annotate lines, and text that is none.

The runner obeys a line that begins with `::`, and `##[` anywhere in a line; words of a guest must do neither.
"""

import re
from collections.abc import Iterator

from orchestrator.model import Run
from orchestrator.publish import clean, digest
from orchestrator.publish.formats import cases
from orchestrator.publish.formats.cases import Case, Standing

MOST = 10  # GitHub shows so many errors, and so many warnings, of one step
SUMMARY_BYTES = 1 << 20
_COMMAND = re.compile(r"^(\s*):(?=:)", re.MULTILINE)


def annotations(run: Run, item: str = "") -> str:
    """One workflow command a line: what counts against the series, then what compilers and checkers newly say.

    `item` is what it is of in a night, beside others.
    """
    verdict, *others = cases.of(run)
    against = [case for case in (verdict, *others) if case.standing is Standing.AGAINST]
    errors = [_command("error", _title(case, item), case.why) for case in against]
    unsure = [_command("warning", _title(verdict, item), verdict.why)] if verdict.standing is Standing.UNSURE else []
    return _shown([*errors, *unsure, *_findings(run, item)])


def both(some: str, more: str) -> str:
    """The annotations of several runs in one step, as many as it may have."""
    return _shown(f"{some}{more}".split("\n")[:-1])


def _shown(commands: list[str]) -> str:
    errors = [command for command in commands if command.startswith("::error ")]
    warnings = [command for command in commands if command.startswith("::warning ")]
    return "".join(f"{command}\n" for command in (*errors[:MOST], *warnings[:MOST]))


def _title(case: Case, item: str) -> str:
    return " ".join(filter(None, (item, f"{case.group}/{case.name}", case.lane)))


def _findings(run: Run, item: str) -> Iterator[str]:
    for some in digest.new_findings(run):
        place = {"file": some[0].file, "line": str(some[0].line)} if some[0].file and some[0].line else {}
        yield _command("warning", f"{item} {some[0].tool} {some[0].kind}".lstrip(), some[0].message, **place)


def _command(name: str, title: str, message: str, **place: str) -> str:
    properties = ",".join(f"{key}={_property(value)}" for key, value in (place | {"title": title}).items())
    return f"::{name} {properties}::{_data(clean.printable(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace("##[", "## [")


def _property(text: str) -> str:
    return _data(clean.line(text)).replace(":", "%3A").replace(",", "%2C")


def harmless(text: str) -> str:
    """The text, with nothing in it that the runner would obey."""
    return _COMMAND.sub(r"\1: ", text).replace("##[", "## [")


def summary(markdown: str) -> str:
    """As much of it as a step may have."""
    return markdown.encode()[:SUMMARY_BYTES].decode(errors="ignore")
