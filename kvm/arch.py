"""Everything that differs between architectures, and between accelerators: a row each, under the kernel's own names."""

import platform
from dataclasses import dataclass
from typing import Any

from kvm.errors import UserError


@dataclass(frozen=True)
class Accel:
    """One accelerator. `scale` is what deadlines are multiplied by until that is measured, and when it is, within
    `least` and `most`.

    `cpu` is the key of an architecture's CPU models; `steady` is the accelerator to measure under instead. `halts` says
    that a guest's clocks stand still while its processors do: under KVM an x86 guest's TSC goes on.
    """

    options: tuple[str, ...]
    scale: float
    least: float
    most: float
    cpu: str
    steady: str
    halts: bool


_TCG: dict[str, Any] = {"scale": 4.0, "least": 2.0, "most": 12.0, "cpu": "tcg", "steady": "icount", "halts": True}

ACCELS: dict[str, Accel] = {
    # `most` is for where it is nested
    "kvm": Accel(("-accel kvm",), scale=1.0, least=1.0, most=4.0, cpu="kvm", steady="kvm", halts=False),
    "tcg": Accel(("-accel tcg,thread=multi",), **_TCG),
    # TCG whose clock counts instructions, one a nanosecond: what else the host does moves no measured time
    "icount": Accel(("-accel tcg,thread=single", "-icount shift=0,sleep=off"), **_TCG),
}


@dataclass(frozen=True)
class Arch:
    """One architecture as QEMU, Kbuild and Debian call it.

    `cpu` is QEMU's CPU model by accelerator, `suspects` are those that `kdelta doctor --accel` tries under KVM; where
    instructions are counted there may be `counted` processors. `magic` is what stands where in an image that QEMU can
    boot. `kbuild` is what make's ARCH= takes, `suite` the Debian that the guest's programs are from, `compiler` and
    `emulator` the host's packages.
    """

    name: str
    host: str
    qemu: str
    machine: tuple[str, ...]
    cpu: dict[str, str]
    counted: int
    suspects: tuple[str, ...]
    console: str
    cmdline: tuple[str, ...]
    kbuild: str
    srcarch: str
    cross: str
    image: str
    magic: tuple[int, bytes]
    deb: str
    triplet: str
    loader: str
    suite: str
    compiler: tuple[str, ...]
    emulator: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What the compiler's tools for it are called with on this machine; "" where it is the machine's own."""
        return "" if platform.machine() == self.host else self.cross


# To add an architecture, add a row.
ARCHES: dict[str, Arch] = {
    row.name: row
    for row in (
        Arch(
            name="x86_64",
            host="x86_64",  # os.uname().machine
            qemu="qemu-system-x86_64",
            machine=("-machine q35", "-bios qboot.rom"),  # qboot only loads the kernel: 0.2 s less than SeaBIOS (TCG)
            cpu={"kvm": "host", "tcg": "max"},
            counted=1,  # a second one never comes up (QEMU 7.2)
            # whole, with what older and nested hosts stumble over left out, and with ever less of it
            suspects=("host", "max", "host,pmu=off", "host,-pdcm,-arch-capabilities", "Nehalem", "qemu64"),
            console="ttyS0",
            # a hang before the console driver leaves words, too; a busy host gives its guest too few ticks for the test
            # whether the timer works, which panics: "IO-APIC + timer doesn't work!"
            cmdline=("earlyprintk=serial,ttyS0,115200", "no_timer_check"),
            kbuild="x86_64",  # ARCH=x86 asks whether it is 64-bit
            srcarch="x86",
            cross="x86_64-linux-gnu-",
            image="arch/x86/boot/bzImage",
            magic=(0x202, b"HdrS"),  # Linux Documentation/x86/boot.rst
            deb="amd64",
            triplet="x86_64-linux-gnu",
            loader="lib64/ld-linux-x86-64.so.2",  # the ELF interpreter that the psABI fixes
            suite="bookworm",
            compiler=("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"),
            emulator=("qemu-system-x86",),
        ),
        Arch(
            name="arm64",
            host="aarch64",
            qemu="qemu-system-aarch64",
            machine=("-machine virt,gic-version=max",),  # max: what the accelerator can do best
            cpu={"kvm": "host", "tcg": "max"},
            counted=8,
            suspects=("host", "max", "host,pmu=off", "host,sve=off", "cortex-a57"),
            console="ttyAMA0",
            cmdline=("earlycon",),  # virt's device tree says where the UART is
            kbuild="arm64",
            srcarch="arm64",
            cross="aarch64-linux-gnu-",
            image="arch/arm64/boot/Image",
            magic=(0x38, b"ARM\x64"),  # Linux Documentation/arm64/booting.rst
            deb="arm64",
            triplet="aarch64-linux-gnu",
            loader="lib/ld-linux-aarch64.so.1",
            suite="bookworm",
            compiler=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
            emulator=("qemu-system-arm",),
        ),
        Arch(
            name="riscv64",
            host="riscv64",
            qemu="qemu-system-riscv64",
            machine=("-machine virt",),
            cpu={"kvm": "host", "tcg": "rv64"},  # QEMU has a "max" since 8.2
            counted=8,
            suspects=("host", "rv64"),
            console="ttyS0",
            cmdline=("earlycon",),  # virt's device tree says where the UART is
            kbuild="riscv",
            srcarch="riscv",
            cross="riscv64-linux-gnu-",
            image="arch/riscv/boot/Image",
            magic=(0x38, b"RSC\x05"),  # Linux Documentation/riscv/boot-image-header.rst
            deb="riscv64",
            triplet="riscv64-linux-gnu",
            loader="lib/ld-linux-riscv64-lp64d.so.1",
            suite="trixie",  # the first with riscv64
            compiler=("gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"),
            emulator=("qemu-system-misc",),
        ),
    )
}

DEFAULT = ("x86_64", "arm64")  # what a run is for, unless it is asked for others


def get(name: str) -> Arch:
    """Return the row called `name`."""
    try:
        return ARCHES[name]
    except KeyError:
        raise UserError(f"unknown architecture {name!r}", hint=f"known: {', '.join(ARCHES)}") from None
