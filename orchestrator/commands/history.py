"""What earlier runs say: `history`, `compare` and `flakes`."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from kvm.errors import UserError
from orchestrator import store
from orchestrator.commands import opening
from orchestrator.model import PastRun, Run
from orchestrator.publish import past

_as_json = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
_DAY = 86400


@click.command()
@click.argument("words", metavar="[TEST|RUN...]", nargs=-1)
@click.option("--add", is_flag=True, help="Add the run directories RUN... to the history.")
@click.option("--index", is_flag=True, help="Write results/index.html: runs, trends and flakes, as a page.")
@click.option("--arch", help="Only this architecture.")
@click.option("--most", type=click.IntRange(1), default=30, show_default=True, help="Of runs: so many, the newest.")
@_as_json
def history(words: tuple[str, ...], add: bool, index: bool, arch: str | None, most: int, as_json: bool) -> None:
    """Say what became of TEST (SUITE/NAME) in every run: rates by architecture, first seen, last good.

    Without TEST the newest runs are listed. Every run is added when it ends; --add adds older ones, and those of other
    machines. See docs/history.md.

    \b
    Examples:
      kdelta history
      kdelta history madvise_locked/drops_mlock --arch arm64
      kdelta history --add results/2026*/ --index
    """
    if add:
        _add(map(Path, words))
    if index:
        with opening.history() as book:
            click.echo(opening.write_index(book, Path.cwd() / "results"))
    if add or index:
        return
    if len(words) > 1:
        raise UserError(f"{len(words)} tests were named", hint="name one; or --add, if these are run directories")
    elif words:
        _tell(words[0], arch, as_json=as_json)
    else:
        _list(most, as_json=as_json)


def _add(directories: Iterable[Path]) -> None:
    from orchestrator.history import write  # noqa: PLC0415  (sqlalchemy: 0.3 s that most commands do without)

    left: list[str] = []
    with opening.history() as book:
        for directory in directories:
            try:
                write.add(book, _judged(directory), directory.resolve())
                click.echo(f"added {directory}")
            except UserError as fault:
                left.append(fault.message)
    if left:
        raise UserError("\n".join(left), hint="`kdelta resume RUN` ends a run that has no verdict")


def _judged(directory: Path) -> Run:
    run = store.load(directory)
    if run.verdict is None:
        raise UserError(f"{directory}: this run has no verdict")
    return run


def _tell(wanted: str, arch: str | None, *, as_json: bool) -> None:
    from orchestrator.history import ask  # noqa: PLC0415

    with opening.history() as book:
        stories = {test: ask.story(book, *test) for test in ask.tests(book, wanted)}
    for test, found in stories.items():
        stories[test] = [one for one in found if arch in (None, one[1].arch)]
    _print(
        as_json,
        lambda: [
            {"suite": suite, "name": name, "runs": [_dict(run) | _dict(sight) for run, sight in found]}
            for (suite, name), found in stories.items()
        ],
        lambda: "\n".join(past.story(*test, found) for test, found in stories.items()),
    )


def _list(most: int, *, as_json: bool) -> None:
    from orchestrator.history import ask  # noqa: PLC0415

    with opening.history() as book:
        runs = ask.runs(book, most)
    _print(as_json, lambda: [_dict(run) for run in runs], lambda: past.runs(runs))


@click.command()
@click.argument("first")
@click.argument("second")
@_as_json
def compare(first: str, second: str, as_json: bool) -> int:
    """Say which tests came out otherwise in run SECOND than in run FIRST, on base|patched; exit 1 if one is worse.

    Runs are named as `kdelta history` lists them, by the beginning of a name, or by their directories. What is marked !
    fails on SECOND's patched kernel and did not on FIRST's.

    \b
    Example:
      kdelta compare 20260101-120000-my-series 20260102-090000-my-series
    """
    from orchestrator.history import ask  # noqa: PLC0415

    with opening.history() as book:
        runs: tuple[PastRun, PastRun] = ask.find(book, first), ask.find(book, second)
        moved = ask.compare(book, *runs)
    _print(as_json, lambda: [_dict(one) for one in moved], lambda: past.moved(*runs, moved))
    return 1 if any(one.worse for one in moved) else 0


@click.command()
@click.option("--days", type=click.IntRange(1), help="Only runs of so many days. [default: all]")
@_as_json
def flakes(days: int | None, as_json: bool) -> None:
    """List the tests that both failed and passed on one and the same image, those that fail most often first.

    \b
    Example:
      kdelta flakes --days 30
    """
    from orchestrator.history import flaky  # noqa: PLC0415

    with opening.history() as book:
        found = flaky.flakes(book, int(time.time()) - days * _DAY if days else 0)
    _print(as_json, lambda: [_dict(one) for one in found], lambda: past.flakes(found))


def _dict(one: Any) -> dict[str, Any]:
    return dataclasses.asdict(one)


def _print(as_json: bool, content: Callable[[], object], words: Callable[[], str]) -> None:
    click.echo(json.dumps(content(), indent=1) if as_json else words())
