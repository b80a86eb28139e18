"""A built kernel in, a trial out: everything that boots it lies in its run directory, to be booted again by hand."""

from pathlib import Path

from kvm.accel import Choice
from kvm.arch import get as get_arch
from kvm.guest import Limits
from kvm.qemu import Machine
from orchestrator import store
from orchestrator.build.kbuild import KernelBuild
from orchestrator.config import Pipeline
from orchestrator.trial.runner import Program, Trial


def trial(
    kernel: KernelBuild,
    programs: tuple[Program, ...],
    *,
    initrd: Path,
    choice: Choice,
    pipeline: Pipeline,
    directory: Path,
) -> Trial:
    """Lay image and initramfs into `directory`; the machine is as large as the neediest suite asks."""
    needs = [program.suite.needs for program in programs]
    machine = Machine(
        arch=get_arch(kernel.cell.arch),
        image=store.place(kernel.image, directory / "image"),
        initrd=store.place(initrd, directory / "initramfs.cpio"),
        accel=choice.used,
        memory_mib=max([pipeline.guest.memory_mib, *(need.memory_mib for need in needs)]),
        cpus=pipeline.guest.cpus,
        disk_mib=max([0, *(need.swap_mib for need in needs)]),
    )
    limits = Limits(
        boot_seconds=pipeline.limits.boot * choice.scale,
        silence_seconds=pipeline.limits.silence * choice.scale,
        command_seconds=pipeline.limits.boot * choice.scale,
        scale=choice.scale,
    )
    return Trial(kernel.cell, machine, limits, programs, pipeline.repeats, directory)
