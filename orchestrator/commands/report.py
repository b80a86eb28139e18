"""What is told of a run that is there: `report`."""

from pathlib import Path

import click

from kvm import disk
from kvm.errors import UserError
from orchestrator import config, store
from orchestrator.commands import opening
from orchestrator.publish import formats, html


@click.command()
@click.option(
    "--format", "form", type=click.Choice(config.FORMATS), help="Print RUN in this form; see docs/formats.md."
)
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file instead.")
@click.option("--origin", default="kdelta", show_default=True, metavar="NAME", help="Who sends it, to KCIDB.")
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def report(form: str | None, output: Path | None, origin: str, directory: Path | None) -> None:
    """Write RUN's report.html again from its run.json, or print RUN in a form that other programs read.

    \b
    Examples:
      kdelta report && xdg-open results/*/report.html
      kdelta report --format junit --output junit.xml
      kdelta report results/20260101-120000-my-series --format sarif
    """
    where = opening.run_directory(directory)
    run = store.load(where)
    if form is None and output:
        raise UserError("--output wants to know the form", hint=f"--format is one of {', '.join(config.FORMATS)}")
    if form is None:
        click.echo(store.save_report(html.render(run, where), where))
        return
    written = formats.write(form, run, origin)
    if output:
        disk.write(output, written)
    else:
        click.echo(written, nl=False)
