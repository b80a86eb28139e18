"""A machine described, QEMU's command line out."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kvm.arch import ACCELS, Arch
from kvm.root import Root

GUEST_ADDRESS = "10.0.2.15"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny"

# Console and monitor share a terminal: what a person at the keyboard needs.
BY_HAND = ("-chardev stdio,id=console,signal=off,mux=on", "-serial chardev:console", "-mon chardev=console")


def channels(monitor: int, agent: int) -> tuple[str, ...]:
    """Return the options that put the console on stdout, monitor and agent on these inherited sockets."""
    return (
        "-chardev stdio,id=console,signal=off",
        "-serial chardev:console",
        f"-chardev socket,id=qmp,fd={monitor}",
        "-mon chardev=qmp,mode=control",
        f"-chardev socket,id=agent,fd={agent}",
        "-device virtio-serial-pci,max_ports=2",  # the first is kept for a console
        "-device virtserialport,id=agent,chardev=agent",  # with an id QEMU says when the guest closes it
        "-d cpu_reset",  # qemu.log tells of a triple fault, which the monitor calls a reset
    )


@dataclass(frozen=True)
class Machine:
    """One guest: `accel` is a key of ACCELS; `disk_mib` and `more_mib` are the sizes of its empty disks, in order.

    Both disks are in one file, so that there is one to keep and to restore. With `vmcore` its memory is kept when it
    panics; `root` is what commands may run in instead of the initramfs. `words` go to the kernel's command line.
    """

    arch: Arch
    image: Path
    initrd: Path
    accel: str
    memory_mib: int = 512
    cpus: int = 2
    disk_mib: int = 0
    more_mib: int = 0
    vmcore: bool = False
    root: Root | None = None
    words: tuple[str, ...] = ()

    @property
    def steady(self) -> "Machine":
        """The same, to measure with."""
        steady = ACCELS[self.accel].steady
        cpus = min(self.cpus, self.arch.counted) if steady != self.accel else self.cpus
        return replace(self, accel=steady, cpus=cpus)

    @property
    def disks_mib(self) -> int:
        """The size of the file that the disks are in."""
        return self.disk_mib + self.more_mib


def memory(machine: Machine, file: Path, *, shared: bool) -> tuple[str, ...]:
    """Return the options that put the guest's memory into `file`; unless `shared`, what it writes stays its own."""
    how = "on" if shared else "off"
    return (
        f"-object memory-backend-file,id=memory,size={machine.memory_mib}M,mem-path={file},share={how}",
        "-machine memory-backend=memory",
    )


def argv(machine: Machine, *, words: str, channels: Sequence[str], disk: Path | None = None) -> list[str]:
    """Return the whole command line; `words` goes to the kernel's, `channels` says where console and monitor go."""
    accel = ACCELS[machine.accel]
    options = [
        "-nodefaults",
        "-no-user-config",
        "-display none",
        "-no-reboot",  # with panic=-1 a panic ends the process
        f"-sandbox {SANDBOX}",
        *machine.arch.machine,
        *accel.options,
        f"-cpu {machine.arch.cpu[accel.cpu]}",
        f"-smp {machine.cpus}",
        f"-m {machine.memory_mib}",
        "-netdev user,id=net,restrict=on",  # reaches nothing; for suites that need a network device, and for SSH
        "-device virtio-net-pci,netdev=net,romfile=",  # no option ROM: nothing boots from the network
        "-device virtio-rng-pci",  # nobody waits for entropy
        *channels,
    ]
    if disk:
        options += _disks(machine, str(disk).replace(",", ",,"))  # QEMU's own quoting
    if machine.root:
        options += machine.root.devices
    split = [word for option in options for word in option.split(" ", 1)]
    kernel = ["-kernel", str(machine.image), "-initrd", str(machine.initrd), "-append", cmdline(machine, words)]
    return [machine.arch.qemu, *split, *kernel]


def _disks(machine: Machine, name: str) -> list[str]:
    options = []
    for drive, start, size in (("disk", 0, machine.disk_mib), ("more", machine.disk_mib, machine.more_mib)):
        if size:
            part = f"offset={start << 20},size={size << 20},file.locking=off,"  # QEMU would lock one out for the other
            options += [
                f"-drive if=none,id={drive},format=raw,{part if machine.more_mib else ''}cache=unsafe,file={name}"
            ]
            options += [f"-device virtio-blk-pci,drive={drive}"]
    return options


def cmdline(machine: Machine, words: str) -> str:
    """Return the kernel's command line."""
    # a panic ends QEMU at once, and memory with it; or the guest stays as it is until it is ended
    panic = "panic=0" if machine.vmcore else "panic=-1"
    # devkmsg=on: what the guest writes to /dev/kmsg is not rate limited
    fixed = (f"console={machine.arch.console}", *machine.arch.cmdline, panic, "printk.devkmsg=on", *machine.words)
    return " ".join((*fixed, words)).strip()


def script(machine: Machine, directory: Path) -> str:
    """Return a shell script that boots the same machine by hand, with a shell on its console.

    Files of `directory`, where the script is to stand, are named relative to it.
    """
    own = f"{directory}/"
    disk = Path("/proc/self/fd/9") if machine.disks_mib else None
    words = argv(machine, words="kdelta.console=shell", channels=BY_HAND, disk=disk)
    # a scratch disk without a name, as in a run: nothing is left of it
    make_disk = (
        f'disk=$(mktemp) && exec 9<>"$disk" && rm "$disk" && truncate -s {machine.disks_mib}M {disk} || exit 1\n'
    )
    return (
        "#!/bin/sh\n"
        "# Boots this kernel by hand. Leave the guest with `exit`, or QEMU with Ctrl-A X.\n"
        'cd "$(dirname "$0")" || exit 1\n'
        f"{make_disk if disk else ''}"
        f"exec {shlex.join(word.removeprefix(own) for word in words)}\n"
    )
