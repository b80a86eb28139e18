"""A root file system of the user's, in which commands run: a directory over 9p or a disk image, never written.

/init stays our own. What is mounted is no part of a snapshot (QEMU keeps no state of a mounted 9p), so that each guest
mounts it anew.
"""

import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kvm.arch import Arch
from kvm.errors import UserError

HOST = "host"  # instead of a path: the host's own
WHERE = "/newroot"
_SERIAL = "kdelta-root"
# What a kernel mounts any by, in Kconfig's words; the same for all, so that another root is no other kernel.
OPTIONS = ("NETWORK_FILESYSTEMS", "NET_9P", "NET_9P_VIRTIO", "9P_FS", "EXT4_FS", "EXT4_USE_FOR_EXT2")


class Form(StrEnum):
    """What it is on the host."""

    DIRECTORY = "directory"
    RAW = "raw"
    QCOW2 = "qcow2"


@dataclass(frozen=True)
class Root:
    """One root file system."""

    path: Path
    form: Form

    @property
    def devices(self) -> tuple[str, ...]:
        """What QEMU is told."""
        name = str(self.path).replace(",", ",,")  # QEMU's own quoting
        if self.form is Form.DIRECTORY:
            return (
                f"-fsdev local,id=root,security_model=none,readonly=on,path={name}",
                "-device virtio-9p-pci,fsdev=root,mount_tag=root",
            )
        return (  # snapshot: what the guest writes goes into a file without a name
            f"-drive if=none,id=root,format={self.form},snapshot=on,file={name}",
            f"-device virtio-blk-pci,drive=root,serial={_SERIAL}",
        )

    @property
    def mount(self) -> str:
        """The commands that mount it, with what programs expect of a running system, and our /tmp as its own."""
        if self.form is Form.DIRECTORY:
            first = f"mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144 root {WHERE}"
        else:
            first = f"mount /dev/$(grep -l {_SERIAL} /sys/block/*/serial | cut -d/ -f4) {WHERE}"
        binds = (f"mount --rbind /{name} {WHERE}/{name}" for name in ("proc", "sys", "dev", "tmp"))
        return " && ".join((f"mkdir -p {WHERE}", first, *binds, f"mount -t tmpfs run {WHERE}/run"))

    def inside(self, command: str) -> str:
        """Turn `command`, a program with its words, into one that runs in it."""
        return f"chroot {WHERE} {command}"


def find(name: str, arch: Arch) -> Root:
    """Say what `name`, a path or `host`, is; raises UserError when a guest of `arch` can have no such root."""
    if name == HOST:
        if platform.machine() != arch.host:
            raise UserError(
                f"{arch.name}: its guests cannot run programs of this host, which is {platform.machine()}",
                hint=f"`--arch {platform.machine()}`, or a root of its own: `kdelta rootfs debian` makes one",
            )
        return Root(Path("/"), Form.DIRECTORY)
    path = Path(name)
    if path.is_dir():
        return Root(path, Form.DIRECTORY)
    try:
        with path.open("rb") as image:
            return Root(path, Form.QCOW2 if image.read(4) == b"QFI\xfb" else Form.RAW)
    except OSError as fault:
        raise UserError(
            f"{arch.name}: root file system {path}: {fault.strerror}",
            hint="a directory, a disk image (raw, qcow2), or `host`; `kdelta rootfs debian` makes one",
        ) from fault
