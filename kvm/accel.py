"""Which accelerator: /dev/kvm is believed only after a real kernel has printed a line under it."""

import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from kvm import disk, proc, qemu
from kvm.arch import Arch
from kvm.qemu import Machine

PROOF_SECONDS = 5.0
TCG_SCALE = 4.0  # an emulated CPU is slower than that in places, but the limits have their own slack


@dataclass(frozen=True)
class Choice:
    """The accelerator in use, and why it is this one."""

    used: str
    reason: str

    @property
    def scale(self) -> float:
        """What limits in seconds are multiplied by."""
        return 1.0 if self.used == "kvm" else TCG_SCALE


def choose(arch: Arch, image: Callable[[], Path], cache_dir: Path) -> Choice:
    """Return the accelerator for `arch` on this host, proven once per host boot with the kernel that `image` gives."""
    if platform.machine() != arch.host:
        return Choice("tcg", f"the host is {platform.machine()}: {arch.name} is emulated")
    if not Path("/dev/kvm").exists():
        return Choice("tcg", "the host has no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Choice("tcg", "/dev/kvm may not be opened by this user; group kvm may (adduser USER kvm)")
    note = cache_dir / "accel" / f"{arch.name}-{os.geteuid()}.json"
    asked = f"{_boot_id()} {proc.check([arch.qemu, '--version'], timeout=30).splitlines()[0]}"
    if known := _recall(note, asked):
        return known
    choice = _prove(arch, image())
    disk.write(note, json.dumps({"asked": asked, "choice": asdict(choice)}))
    return choice


def _prove(arch: Arch, image: Path) -> Choice:
    machine = Machine(arch, image, image, "kvm", memory_mib=256, cpus=1)
    channels = ["-chardev stdio,id=console,signal=off", "-serial chardev:console"]
    words = qemu.argv(machine, words="", channels=channels)
    start = words.index("-initrd")
    del words[start : start + 2]  # its first line is all we want
    with tempfile.TemporaryDirectory(prefix="kdelta-accel-") as scratch:
        said = Path(scratch) / "console"
        done = proc.run(["setpriv", "--pdeathsig", "KILL", *words], output=said, timeout=PROOF_SECONDS)
        text = said.read_text(encoding="utf-8", errors="replace")
    if "Linux version" in text:
        return Choice("kvm", "a kernel printed its first lines under /dev/kvm")
    if done.timed_out:
        return Choice("tcg", f"/dev/kvm opens, but a kernel printed nothing under it in {PROOF_SECONDS:.0f} s")
    last = (text.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return Choice("tcg", f"QEMU does not run a kernel under /dev/kvm: {last[:200]}")


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _recall(note: Path, asked: str) -> Choice | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return Choice(**known["choice"]) if known["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
