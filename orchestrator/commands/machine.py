"""The machine and what kdelta keeps on it: `doctor`, `gc`, `init`, `completion`."""

import shutil
from pathlib import Path

import click

from kvm.arch import DEFAULT
from kvm.errors import UserError
from orchestrator import config, doctor, show, sweep


@click.command("doctor")
@click.option("--arch", "arches", multiple=True, default=DEFAULT, show_default=True, help="Fit for what? Repeatable.")
@click.option("--accel", is_flag=True, help="Say all about KVM, for a maintainer; takes a minute or two.")
@click.pass_obj
def doctor_(cache_dir: Path, arches: tuple[str, ...], accel: bool) -> int:
    """Say whether this machine is fit: tools, compilers, accelerator (proven by a boot), disk, memory.

    \b
    Examples:
      kdelta doctor
      kdelta doctor --arch riscv64
      kdelta doctor --accel >kvm.txt   # names no user, no host, no file of yours
    """
    if accel:
        for found in doctor.accelerators(cache_dir, arches):
            click.echo(show.fact(found))
        return 0
    findings = doctor.examine(cache_dir, arches)
    click.echo(show.findings(findings))
    return 2 if any(finding.remedy and finding.fatal for finding in findings) else 0


@click.command()
@click.option("--free", is_flag=True, help="Free it, instead of saying what would be freed.")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True, help="Keep what was used since.")
@click.option("--size", type=click.FloatRange(0), metavar="GIB", help="Keep no more than this, the last used.")
@click.pass_obj
def gc(cache_dir: Path, free: bool, days: int, size: float | None) -> None:
    """Say how large the cache is and what can go from it; what a run uses stays.

    \b
    Examples:
      kdelta gc
      kdelta gc --free --days 7 --size 20
    """
    found, age = sweep.survey(cache_dir), days * 86400.0
    most = None if size is None else int(size * (1 << 30))
    less = sweep.free(found, age=age, most=most) if free else sweep.sum_by_part(found.stale(age, most))
    click.echo(show.sizes(cache_dir, found.sizes, less, removed=free))


@click.command()
@click.option("--force", is_flag=True, help="Replace the file that is there.")
def init(force: bool) -> None:
    """Write a commented pipeline.yaml into the current directory.

    \b
    Example:
      kdelta init && $EDITOR pipeline.yaml && kdelta run
    """
    target = Path("pipeline.yaml")
    if target.exists() and not force:
        raise UserError(f"{target.resolve()} is there already", hint="--force replaces it")
    shutil.copyfile(config.share() / "pipeline.yaml", target)
    click.echo(target.resolve())


@click.command()
@click.argument("name", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(name: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      eval "$(kdelta completion bash)"
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(name)
    assert found
    click.echo(found(click.get_current_context().find_root().command, {}, "kdelta", "_KDELTA_COMPLETE").source())
