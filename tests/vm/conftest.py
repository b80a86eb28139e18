"""Guests on real kernels; `scripts` are small programs that the tests start as processes of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import accel, rootfs, snapshot
from kvm.arch import DEFAULT, get
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.vm import Limits

LIMITS = Limits(boot_seconds=120, silence_seconds=60, command_seconds=60, scale=4)


@pytest.fixture(params=list(DEFAULT))
def machine(request: pytest.FixtureRequest, images: dict[str, Path], shared_cache: Path) -> Machine:
    """A small machine of each architecture, on the base kernel of the bundled series."""
    arch = get(request.param)
    return Machine(arch, images[arch.name], rootfs.build(arch, shared_cache), "tcg", memory_mib=256, disk_mib=16)


@pytest.fixture(params=["tcg", "kvm"])
def proven(request: pytest.FixtureRequest, machine: Machine, shared_cache: Path) -> Machine:
    """The same machine under each accelerator that runs a kernel here; the skip says what is wrong with the other."""
    if request.param == "tcg":
        return machine
    found = accel.choose(machine.arch, lambda: machine.image, shared_cache)
    if found.used != "kvm":
        pytest.skip(f"{machine.arch.name} not under KVM: {found.reason}")
    return replace(machine, accel="kvm")


@contextmanager
def booted(machine: Machine, where: Path, limits: Limits = LIMITS) -> Iterator[Guest]:
    """A guest that answers; its console is in `where`, that of the boot below."""
    with (
        snapshot.take(machine, workdir=where / "boot", limits=LIMITS) as kept,
        kept.restore(workdir=where, limits=limits) as found,
    ):
        yield found
