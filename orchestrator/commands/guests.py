"""Guests by hand: `shell`."""

from pathlib import Path

import click

from kvm import accel, guest, rootfs
from kvm.arch import get as get_arch
from kvm.errors import UserError
from kvm.qemu import Machine
from orchestrator import store
from orchestrator.commands import opening
from orchestrator.model import Cell, Side


@click.command()
@click.option("--arch", "arch_name", default="x86_64", show_default=True, help="Which architecture.")
@click.option("--side", type=click.Choice([side.value for side in Side]), default="patched", show_default=True)
@click.option("--flavour", default="fast", show_default=True, help="Which flavour.")
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def shell(cache_dir: Path, arch_name: str, side: str, flavour: str, directory: Path | None) -> int:
    """Boot one kernel of RUN with a shell on its console, on this terminal. `exit` ends it.

    \b
    Example:
      kdelta shell --arch arm64 --side base
    """
    where = store.cell_directory(opening.run_directory(directory), Cell(Side(side), arch_name, flavour))
    image = where / "image"
    if not image.is_file():
        raise UserError(f"{where} holds no kernel", hint="`kdelta boot` puts them there")
    arch = get_arch(arch_name)
    choice = accel.choose(arch, lambda: image, cache_dir)
    return guest.interact(Machine(arch, image, rootfs.build(arch, cache_dir), choice.used))
