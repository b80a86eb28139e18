"""What is told of a run that is there: `report`."""

from pathlib import Path

import click

from kvm import disk
from kvm.errors import UserError
from orchestrator import config, hooks, job, options, sendmail, store
from orchestrator.commands import opening
from orchestrator.publish import formats, html


@click.command()
@click.option(
    "--format", "form", type=click.Choice(config.FORMATS), help="Print RUN in this form; see docs/formats.md."
)
@click.option("--mail", "form", flag_value="mail", help="The same as --format mail.")
@click.option("--send", is_flag=True, help="Send the mail by your own sendmail. Nothing else sends it.")
@options.to_patchwork
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file instead.")
@click.option("--origin", default="kdelta", show_default=True, metavar="NAME", help="Who sends it, to KCIDB.")
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
def report(
    form: str | None, send: bool, to_patchwork: bool, output: Path | None, origin: str, directory: Path | None
) -> None:
    """Write RUN's report.html again from its run.json, or print RUN in a form that other programs read.

    \b
    Examples:
      kdelta report && xdg-open results/*/report.html
      kdelta report --format junit --output junit.xml
      kdelta report results/20260101-120000-my-series --format sarif
      kdelta report --mail                an answer in the series' thread, to be read, and sent with --send
      KDELTA_PATCHWORK_TOKEN=... kdelta report --patchwork
    """
    where = opening.run_directory(directory)
    run = store.load(where)
    if form is None and output:
        raise UserError("--output wants to know the form", hint=f"--format is one of {', '.join(config.FORMATS)}")
    if send and form != "mail":
        raise UserError("--send sends a mail", hint="`kdelta report --mail` shows it, and with --send it goes")
    if to_patchwork:
        asked = job.asked(where).pipeline.report
        posted = hooks.tell_patchwork(run, asked, hooks.address(asked, where))
        click.echo(f"{posted} checks posted")
        return
    if form is None:
        click.echo(store.save_report(html.render(run, where), where))
        return
    written = formats.write(form, run, origin)
    if output:
        disk.write(output, written)
    elif not send:
        click.echo(written, nl=False)
    if send:
        sendmail.send(written)
    elif form == "mail":
        click.echo("not sent; there is no Tested-by in it: that is yours to give", err=True)
