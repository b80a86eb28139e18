"""Which accelerator: /dev/kvm is believed only after a real kernel has printed a line under it; and how fast it is."""

import contextlib
import functools
import importlib.resources
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kvm import cpio, disk, proc, qemu, rootfs
from kvm.arch import ACCELS, ARCHES, Arch
from kvm.qemu import Machine

PROOF_SECONDS = 5.0
SPEED_SECONDS = 120.0  # an emulated boot and the work take 3 to 12 of a processor, which others may want too
RECIPE = 1  # raise it when the same machine would be measured otherwise
DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class Choice:
    """The accelerator in use, and why it is this one; limits in seconds are multiplied by `scale`."""

    used: str
    reason: str
    scale: float
    measured: bool = False

    @property
    def words(self) -> str:
        """Why, and what that does to limits."""
        how = "measured" if self.measured else "not measured"
        return f"{self.reason}; limits in seconds are times {self.scale:g} ({how})"


@dataclass(frozen=True)
class Boot:
    """What one QEMU did with a kernel: the console, QEMU's own words, how it ended."""

    console: str
    complaints: tuple[str, ...]
    ended: proc.Completed

    @property
    def printed(self) -> bool:
        """Did a kernel print its first line?"""
        return "Linux version" in self.console

    @property
    def speed(self) -> float | None:
        """The seconds that the guest took for its work, if it got there."""
        found = re.search(r"^kdelta: speed (\d+\.\d+)\r?$", self.console, re.MULTILINE)
        return float(found[1]) if found and float(found[1]) > 0 else None

    @property
    def fault(self) -> str:
        """Why no kernel printed anything."""
        if self.ended.timed_out:
            return f"a kernel printed nothing under it in {self.ended.seconds:.0f} s"
        first = (self.complaints or [f"exit status {self.ended.returncode}"])[0]
        return f"QEMU does not run a kernel: {first[:200]}"


def choose(arch: Arch, image: Callable[[], Path], cache_dir: Path) -> Choice:
    """Return the accelerator for `arch` on this host, proven and measured once per host boot with `image`'s kernel."""
    note = cache_dir / "accel" / f"{arch.name}-{os.geteuid()}.json"
    why = obstacle(arch)
    asked = f"{_boot_id()} {RECIPE} {why} {proc.check([arch.qemu, '--version'], timeout=30).splitlines()[0]}"
    if known := _recall(note, asked):
        return known
    choice = _look(arch, image(), why)
    if choice.measured:
        disk.write(note, json.dumps({"asked": asked, "choice": asdict(choice)}))
    return choice


def obstacle(arch: Arch) -> str:
    """Say what rules KVM out before anything is tried; "" when nothing does."""
    if platform.machine() != arch.host:
        return f"the host is {platform.machine()}: {arch.name} is emulated"
    if not DEVICE.exists():
        return f"the host has no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} may not be opened by this user; group kvm may (adduser USER kvm)"
    return ""


def _look(arch: Arch, image: Path, why: str) -> Choice:
    """Prove and measure; `why` says what rules KVM out already."""
    if not is_kernel(arch, image):
        return Choice("tcg", why or f"{image.name} is no kernel to prove {DEVICE} with", ACCELS["tcg"].scale)
    with workload(arch) as initrd:
        machine = functools.partial(Machine, arch, image, initrd, memory_mib=256, cpus=1)
        if not why:
            first = boot(machine(accel="kvm"), PROOF_SECONDS)
            if first.printed:
                return _scaled("kvm", f"a kernel printed its first lines under {DEVICE}", first)
            why = f"{DEVICE} opens, but {first.fault}"
        return _scaled("tcg", why, boot(machine(accel="tcg"), SPEED_SECONDS))


def _scaled(used: str, why: str, seen: Boot) -> Choice:
    """Say how much longer the guest takes for its work than the host itself."""
    host = native_seconds()
    if not seen.speed or not host:
        return Choice(used, why, ACCELS[used].scale)
    return Choice(used, why, scale(used, seen.speed / host), measured=True)


def scale(used: str, slower: float) -> float:
    """Return what limits are multiplied by for an accelerator under which work takes so many times its time."""
    row = ACCELS[used]
    return round(min(row.most, max(row.least, slower)), 1)


def is_kernel(arch: Arch, image: Path) -> bool:
    """Would QEMU boot it? Of what is none it executes every byte."""
    at, magic = arch.magic
    with image.open("rb") as file:
        file.seek(at)
        return file.read(len(magic)) == magic


@contextlib.contextmanager
def workload(arch: Arch) -> Iterator[Path]:
    """Lend an initramfs that does the work, says how long it took, and ends the guest."""
    with tempfile.TemporaryDirectory(prefix="kdelta-accel-") as scratch:
        initrd = Path(scratch) / "work.cpio"
        program = rootfs.compiled(arch, _source())
        entries = [cpio.directory("dev"), cpio.character_device("dev/console", 5, 1), cpio.file("init", program, 0o755)]
        initrd.write_bytes(cpio.archive(entries))
        yield initrd


def native_seconds() -> float | None:
    """Return the seconds that the host takes for the same work; None where its architecture is not known."""
    rows = [row for row in ARCHES.values() if row.host == platform.machine()]
    if not rows:
        return None
    with tempfile.TemporaryDirectory(prefix="kdelta-accel-") as scratch:
        program = Path(scratch) / "work"
        program.write_bytes(rootfs.compiled(rows[0], _source()))
        program.chmod(0o755)
        return float(proc.check([program], timeout=60).split()[-1])


def boot(machine: Machine, seconds: float) -> Boot:
    """Boot a kernel, for `seconds` at most."""
    channels = ["-chardev stdio,id=console,signal=off", "-serial chardev:console"]
    words = qemu.argv(machine, words="", channels=channels)
    with tempfile.TemporaryDirectory(prefix="kdelta-accel-") as scratch:
        said, complaints = Path(scratch) / "console", Path(scratch) / "complaints"
        ended = proc.run(proc.ended_with_us(words), output=said, errors=complaints, timeout=seconds)
        console, own = (path.read_text(encoding="utf-8", errors="replace") for path in (said, complaints))
        # that it was us who ended it, and from which directory, is nobody's concern
        return Boot(console, tuple(line for line in own.splitlines() if "terminating on signal" not in line), ended)


def _source() -> bytes:
    return importlib.resources.files("kvm").joinpath("speed.c").read_bytes()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _recall(note: Path, asked: str) -> Choice | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return Choice(**known["choice"]) if known["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
