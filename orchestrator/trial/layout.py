"""A built kernel in, a trial out: everything that boots it lies in its run directory, to be booted again by hand."""

import math
from pathlib import Path

from kvm import root
from kvm.accel import Choice
from kvm.arch import get as get_arch
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator import store
from orchestrator.build import kconfig
from orchestrator.build.kbuild import KernelBuild
from orchestrator.config import Pipeline
from orchestrator.model import Side
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.trial import Trial

SLOW = {"KASAN": 3.0, "PROVE_LOCKING": 2.0}  # option -> how many times slower it makes a kernel, about
FREE_MIB = 16  # so much of a guest's memory its suites may fill


def trial(
    kernel: KernelBuild,
    payloads: tuple[Payload, ...],
    *,
    initrd: Path,
    choice: Choice,
    pipeline: Pipeline,
    directory: Path,
) -> Trial:
    """Lay image and initramfs into `directory`; the machine is as large as the neediest suite asks."""
    arch = get_arch(kernel.cell.arch)
    needs = [payload.suite.needs for payload in payloads]
    pushed_mib = sum(payload.archive.stat().st_size for payload in payloads) >> 20
    machine = Machine(
        arch=arch,
        image=store.place(kernel.image, directory / "image"),
        initrd=store.place(initrd, directory / "initramfs.cpio"),
        accel=choice.used,
        # what is pushed lies in memory, packed and unpacked for a moment, of which a tmpfs takes half
        memory_mib=max([pipeline.guest.memory_mib, *(need.memory_mib for need in needs)]) + _room_mib(pushed_mib),
        cpus=max([pipeline.guest.cpus, *(need.cpus for need in needs)]),
        disk_mib=max([0, *(need.swap_mib for need in needs)]),
        more_mib=max([0, *(need.disk_mib for need in needs)]),
        vmcore=pipeline.vmcore,
        root=root.find(named, arch) if (named := pipeline.guest.root_of(arch.name)) else None,
        # or it falls silent after its first report
        words=("kasan_multi_shot",) if _config(kernel).get("KASAN") == "y" else (),
    )
    scale = choice.scale * _slowness(kernel)
    limits = Limits(
        boot_seconds=pipeline.limits.boot * scale,
        silence_seconds=pipeline.limits.silence * scale,
        command_seconds=pipeline.limits.boot * scale,
        scale=scale,
    )
    patched = kernel.cell.side is Side.PATCHED  # on base tests may well fail
    kept, still = (asked and patched for asked in (pipeline.keep_guest, pipeline.keep_state))
    counts = _config(kernel).get("GCOV_KERNEL") == "y"
    return Trial(kernel.cell, machine, limits, payloads, pipeline.repeats, directory, kept, still, counts)


def _room_mib(pushed_mib: int) -> int:
    return 4 * pushed_mib if pushed_mib > FREE_MIB else 0


def _slowness(kernel: KernelBuild) -> float:
    config = _config(kernel)
    return math.prod(factor for option, factor in SLOW.items() if config.get(option) == "y")


def _config(kernel: KernelBuild) -> dict[str, str]:
    return kconfig.parse(kernel.config.read_text(encoding="utf-8"))
