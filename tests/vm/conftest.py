"""Guests on real kernels; `scripts` are small programs that the tests start as processes of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvm import rootfs, snapshot
from kvm.arch import ARCHES, get
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.vm import Limits

LIMITS = Limits(boot_seconds=120, silence_seconds=60, command_seconds=60, scale=4)


@pytest.fixture(params=list(ARCHES))
def machine(request: pytest.FixtureRequest, images: dict[str, Path], shared_cache: Path) -> Machine:
    """A small machine of each architecture, on the base kernel of the bundled series."""
    arch = get(request.param)
    return Machine(arch, images[arch.name], rootfs.build(arch, shared_cache), "tcg", memory_mib=256, disk_mib=16)


@contextmanager
def booted(machine: Machine, where: Path, limits: Limits = LIMITS) -> Iterator[Guest]:
    """A guest that answers; its console is in `where`, that of the boot below."""
    with (
        snapshot.take(machine, workdir=where / "boot", limits=LIMITS) as kept,
        kept.restore(workdir=where, limits=limits) as found,
    ):
        yield found
