"""More than one machine: `worker`, `scheduler`, `attach`, `cluster init`, and what a worker starts, `errand`."""

from pathlib import Path

import click

from kvm import snapshot
from kvm.errors import UserError
from orchestrator.commands import opening, stages


def _certificates(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--tls",
        "certificates",
        type=click.Path(path_type=Path),
        envvar="KDELTA_TLS",
        help="The directory with certificates. [default: ~/.config/kdelta/cluster]",
    )(command)


@click.command()
@click.argument("url", metavar="URL")
@_certificates
@click.option("--builds", type=click.IntRange(0), default=1, show_default=True, help="So many builds at once.")
@click.option("--lanes", type=click.IntRange(0), default=2, show_default=True, help="Guests of so many lanes at once.")
@click.option("--name", help="What logs call it. [default: its address]")
@click.pass_obj
def worker(cache_dir: Path, /, url: str, certificates: Path | None, builds: int, lanes: int, name: str | None) -> None:
    """Work for the scheduler at URL: build kernels and run guests, as far as this machine is fit for it.

    \b
    Examples:
      kdelta worker tls://10.0.0.1:8786
      kdelta worker tls://10.0.0.1:8786 --lanes 0        builds alone
    """
    from orchestrator.cluster import ability, tls, where  # noqa: PLC0415
    from orchestrator.cluster import worker as workers  # noqa: PLC0415

    where.require()
    counts = {ability.BUILD: builds, ability.GUESTS: lanes}
    tls.security(url, certificates or tls.default())
    found = tuple(one for one in ability.found(cache_dir) if counts[one.kind])
    if not found:
        raise UserError("this machine can neither build nor run guests", hint="`kdelta doctor` says what is missing")
    for one in found:
        click.echo(one.words, err=True)
    offer = workers.Offer(found, builds, lanes)
    workers.work(url, certificates or tls.default(), offer, workers.command(cache_dir), name)


@click.command()
@click.argument("url", metavar="URL")
@_certificates
def scheduler(url: str, certificates: Path | None) -> None:
    """Be the scheduler at URL, to which workers and runs connect.

    \b
    Examples:
      kdelta scheduler tls://10.0.0.1:8786
      kdelta scheduler tcp://127.0.0.1:8786     this machine alone
    """
    from orchestrator.cluster import tls, where  # noqa: PLC0415
    from orchestrator.cluster import worker as workers  # noqa: PLC0415

    where.require()
    workers.schedule(url, certificates or tls.default())


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of the summary.")
def attach(directory: Path | None, as_json: bool) -> int:
    """Go on with a run of a cluster whose `kdelta run` is gone: what workers did meanwhile is taken as it is.

    \b
    Example:
      kdelta attach results/20260101-120000-my-series
    """
    from orchestrator.cluster import where  # noqa: PLC0415

    where.require()
    there = where.load(opening.run_directory(directory))
    return stages.judged(directory, stages.go_on, as_json=as_json, engine=there.engine)


@click.group()
def cluster() -> None:
    """Set up a cluster; see docs/cluster.md.

    \b
    Example:
      kdelta cluster init
    """


@cluster.command("init")
@_certificates
def init(certificates: Path | None) -> None:
    """Make the certificates without which nobody takes part; copy the directory to every machine that shall.

    \b
    Example:
      kdelta cluster init
      ssh builder mkdir -p .config/kdelta && scp -r ~/.config/kdelta/cluster builder:.config/kdelta/
    """
    from orchestrator.cluster import tls  # noqa: PLC0415

    tls.make(certificates or tls.default())
    click.echo(certificates or tls.default())


@click.command(hidden=True)
@click.argument("store")
@click.argument("digest")
@click.argument("name")
@click.pass_obj
def errand(cache_dir: Path, store: str, digest: str, name: str) -> int:
    """Do one errand of a run: what a worker starts."""
    from orchestrator.cluster import task  # noqa: PLC0415
    from orchestrator.cluster.errand import Here  # noqa: PLC0415

    return task.run(store, digest, name, Here(cache_dir, snapshot.take))
