"""The options that say what to validate: the same on every command that plans."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kvm.arch import ARCHES
from orchestrator import config
from orchestrator.intake import source

to_patchwork = click.option(
    "--patchwork", "to_patchwork", is_flag=True, help="Post checks, as `report: patchwork:` in pipeline.yaml says."
)


def _toolchain(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    if given is not None and not config.TOOLCHAIN.fullmatch(given):
        raise click.BadParameter(f"{given!r} is none: gcc, clang, or a version of one, as gcc-11")
    return given


def of_request(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what to validate."""
    for decorator in (
        click.option("-v", "--verbose", is_flag=True, help="Say on stderr which processes are started."),
        click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="make -j."),
        click.option("--no-rerun", "no_rerun", is_flag=True, help="Judge the first pass alone, chance and all."),
        click.option(
            "--suite",
            "suites",
            multiple=True,
            help="Guest tests to run: a name or a directory. Repeatable.",
        ),
        click.option("--flavour", "flavours", multiple=True, help="Which configs/FLAVOUR.config. Repeatable."),
        click.option("--arch", "arches", multiple=True, help=f"{', '.join(ARCHES)}. Repeatable."),
        click.option("--base", help="The commit to apply to. [default: what SERIES names, else by blobs, else HEAD]"),
        click.option("--kernel", help=f"The tree: {source.FORMS}."),
        click.option("--max-files", "files", type=click.IntRange(1), help="Accept a series of more files."),
        click.option(
            "--max-series-size", "series_size", type=click.IntRange(1), metavar="BYTES", help="Accept a larger series."
        ),
        click.option(
            "--max-patch-size", "patch_size", type=click.IntRange(1), metavar="BYTES", help="Accept larger patches."
        ),
        click.option("--allow-binary", "binary", is_flag=True, help="Accept binary files in the series."),
        click.option("--root", metavar="PATH|host", help="Run tests in it, by chroot; {arch} in PATH is filled in."),
        click.option("--vmcore", is_flag=True, help="Keep the memory of a guest that panics."),
        click.option(
            "--keep-guest", is_flag=True, help="Keep each patched guest in which a test fails; it says how in."
        ),
        click.option("--keep-state", is_flag=True, help="Keep each failed test's patched guest for `shell --at`."),
        click.option("--revert", is_flag=True, help="The tree holds SERIES: it is patched, base is the tree without."),
        click.option("--whole", is_flag=True, help="SERIES is A..B: compare the two trees, and read no patch between."),
        click.option("--each-patch", is_flag=True, help="Build the tree after every patch, too."),
        click.option("--enable-touched", is_flag=True, help="Set the options that compile what the series touches."),
        click.option("--unsandboxed", is_flag=True, help="DANGEROUS: build without a sandbox, SERIES' scripts as you."),
        click.option(
            "--toolchain", metavar="gcc|clang[-N]", callback=_toolchain, help="Compiler and linker. [default: gcc]"
        ),
        click.option("--fragment", "fragments", multiple=True, help="Kconfig fragment to merge on top. Repeatable."),
        click.option("--cocci", "coccinelle", is_flag=True, help="Run coccinelle, too."),
        click.option("--sparse", is_flag=True, help="Run sparse, too."),
        click.option("--check", "checks", multiple=True, type=click.Choice(config.CHECKS), help="Only these checkers."),
        click.option("--config", metavar="FILE|defconfig|tinyconfig", help="What the .config starts from."),
        click.option("--pipeline", "file", type=click.Path(path_type=Path), help="Instead of ./pipeline.yaml."),
        click.argument("series", required=False),
    ):
        command = decorator(command)
    return command
