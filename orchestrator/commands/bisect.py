"""Who did it: `bisect`."""

import logging
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from kvm.errors import UserError
from orchestrator import culprits, options, pipeline
from orchestrator.commands import opening
from orchestrator.judge import culprit

log = logging.getLogger(__name__)

_OF_BOTH = {"series", "verbose"}


@click.command()
@options.of_request
@click.option("--good", help="A commit of the git: kernel without the fault.")
@click.option("--bad", help="A commit with it.")
@click.option("--by-option", is_flag=True, help="Of a run: look for the option of the flavour instead of the patch.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory. [default: results/TIME-NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
@click.pass_context
def bisect(
    context: click.Context, /, good: str | None, bad: str | None, by_option: bool, as_json: bool, **asked: Any
) -> int:
    """Find the patch that brought what regressed in a run, or the commit between --good and --bad.

    SERIES is the run's directory, the newest run by default; with --good and --bad it is left out, and the options say
    what to build and test. Cut off, it goes on where it was. See docs/bisect.md.

    \b
    Examples:
      kdelta run --no-bisect || kdelta bisect
      kdelta run --flavour debug || kdelta bisect --by-option
      kdelta bisect --kernel git:~/linux --good v6.11 --bad v6.12 --arch x86_64 --suite kselftest_mm
    """
    given = {name for name in asked if context.get_parameter_source(name) is ParameterSource.COMMANDLINE} - _OF_BOTH
    if good and bad and not by_option:
        return _between(context.obj, good, bad, as_json=as_json, **asked)
    if good or bad or given:
        named = ", ".join(sorted({"good", "bad"} if good or bad else given))
        raise UserError(f"{named}: what a saved run was made with stays", hint="--good and --bad, both, make a new one")
    with opening.resume(Path(asked["series"]) if asked["series"] else None) as resumed:
        if not culprit.symptoms(resumed.run):
            log.warning("nothing regressed: there is nothing to look for")
        (culprits.look_for_options if by_option else culprits.look)(resumed)
    return opening.answer(resumed, as_json=as_json)


def _between(cache_dir: Path, good: str, bad: str, *, as_json: bool, out: Path | None, **asked: Any) -> int:
    if asked["series"]:
        raise UserError("a series and --good and --bad are two things to look at", hint="name one of them")
    asked |= {"series": f"{good}..{bad}", "whole": True}
    with opening.start(opening.asked(cache_dir, **asked), out) as started:
        pipeline.validate(started)
        culprits.look(started)
    return opening.answer(started, as_json=as_json)
