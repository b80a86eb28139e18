"""What the tests would not notice: `mutate`."""

from pathlib import Path

import click

from kvm.errors import UserError
from orchestrator import mutation
from orchestrator.commands import opening
from orchestrator.mutation import Bounds


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--mutants", type=click.IntRange(1), default=10, show_default=True, help="So many are tested.")
@click.option(
    "--seconds", type=click.FloatRange(1), default=mutation.SECONDS, show_default=True, help="None is begun later."
)
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def mutate(directory: Path | None, mutants: int, seconds: float, as_json: bool) -> int:
    """Put faults into the changed lines of RUN, one at a time, and say which of them its tests do not catch.

    RUN measured coverage; the newest by default. Each mutant is built on top of the patched kernel, and the suites that
    ran its line run on it once. See docs/coverage.md.

    \b
    Example:
      kdelta run my-series/ --flavour coverage && kdelta mutate --mutants 20
    """
    with opening.resume(directory) as resumed:
        if not resumed.run.coverage:
            raise UserError("the run did not measure which lines ran", hint="`kdelta run --flavour coverage` does")
        mutation.look(resumed, Bounds(mutants, seconds))
    return opening.answer(resumed, as_json=as_json)
