"""Root file systems for guests: `rootfs debian`."""

from pathlib import Path

import click

from kvm import debian
from kvm.arch import ARCHES
from kvm.arch import get as get_arch


@click.group()
def rootfs() -> None:
    """Make a root file system that tests can run in (`guest.root`, --root).

    \b
    Example:
      kdelta rootfs debian --arch arm64 arm64.img
    """


@rootfs.command("debian")
@click.option("--arch", type=click.Choice(list(ARCHES)), default="x86_64", show_default=True)
@click.option("--include", multiple=True, metavar="PACKAGE", help="One more package. Repeatable.")
@click.argument("target", type=click.Path(path_type=Path))
def debian_(arch: str, include: tuple[str, ...], target: Path) -> None:
    """Make a Debian in TARGET: an image if that ends in .img or .ext2, else a directory.

    Takes mmdebstrap, fakeroot where it is not root's, and genext2fs for an image. Its packages are unpacked and not
    configured, for any architecture without emulation.

    \b
    Example:
      kdelta rootfs debian --arch arm64 --include stress-ng arm64.img
      kdelta run --arch arm64 --root arm64.img
    """
    debian.make(get_arch(arch), target.absolute(), include)
    click.echo(target)
