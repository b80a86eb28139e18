"""What a maintainer asks about a KVM that misbehaves: the device, its module, the host, and how real kernels fare."""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import accel, proc
from kvm.accel import Boot
from kvm.arch import Arch
from kvm.errors import Error
from kvm.qemu import Machine

# Linux include/uapi/linux/kvm.h
_GET_API_VERSION, _CREATE_VM, _CHECK_EXTENSION, _CREATE_VCPU = 0xAE00, 0xAE01, 0xAE03, 0xAE41
_CAPABILITIES = {
    **{"IRQCHIP": 0, "USER_MEMORY": 3, "EXT_CPUID": 7, "NR_VCPUS": 9, "NR_MEMSLOTS": 10, "MP_STATE": 14},
    **{"SYNC_MMU": 16, "IRQ_ROUTING": 25, "IRQFD": 32, "IOEVENTFD": 36, "VCPU_EVENTS": 41, "XSAVE": 55},
    **{"TSC_CONTROL": 60, "MAX_VCPUS": 66, "ONE_REG": 70, "TSC_DEADLINE_TIMER": 72, "READONLY_MEM": 81},
    **{"ARM_PSCI_0_2": 102, "X86_SMM": 117, "X2APIC_API": 129, "IMMEDIATE_EXIT": 136, "GET_MSR_FEATURES": 153},
    **{"NESTED_STATE": 157, "ARM_VM_IPA_SIZE": 165},
}
_FLAGS = frozenset(("vmx", "svm", "hypervisor", "ept", "npt", "vpid", "tsc_deadline_timer", "x2apic", "constant_tsc"))
_TRIAL_SECONDS = 5.0
_WORDS_KEPT = 400


@dataclass(frozen=True)
class Fact:
    """One line for a maintainer; `fault` is whether it is in KVM's way."""

    subject: str
    state: str
    fault: bool = False


def host() -> Iterator[Fact]:
    """Say what the processor, its hypervisor and the kernel's modules are."""
    uname = os.uname()
    yield Fact("host", f"Linux {uname.release} on {uname.machine}, {os.cpu_count()} processors")
    text = _read(Path("/proc/cpuinfo"))
    model = re.search(r"^(?:model name|CPU implementer)\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    known = sorted(_FLAGS & set(flags[1].split())) if flags else []
    yield Fact("processor", f"{model[1] if model else 'unknown'}; flags: {' '.join(known) or 'none that matter'}")
    yield Fact("hypervisor", "; ".join(_hypervisor()) or "none that shows")
    yield Fact("module", "; ".join(_modules()) or "no /sys/module/kvm: not loaded, or built in without parameters")
    yield Fact("kernel log", _kernel_log())


def device(path: Path) -> Iterator[Fact]:
    """Say what KVM's device is, who may open it, and what it answers."""
    try:
        found = path.stat()
    except OSError as fault:
        yield Fact(str(path), fault.strerror or str(fault), fault=True)
        return
    mode, owner = stat.filemode(found.st_mode), f"{_user(found.st_uid)}:{_group(found.st_gid)}"
    member = "of" if found.st_gid in (os.getegid(), *os.getgroups()) else "not of"
    yield Fact(str(path), f"{mode} {owner}; asked by {'root' if os.geteuid() == 0 else 'a user'} {member} its group")
    try:
        kvm = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as fault:
        yield Fact("open", f"{_name(fault)}: group kvm may, if the device is its own (adduser USER kvm)", fault=True)
        return
    try:
        yield from _answers(kvm)
    finally:
        os.close(kvm)


def _answers(kvm: int) -> Iterator[Fact]:
    try:
        version = fcntl.ioctl(kvm, _GET_API_VERSION, 0)
        yield Fact("API version", f"{version}{'' if version == 12 else ', not 12'}", fault=version != 12)
        asked = {name: fcntl.ioctl(kvm, _CHECK_EXTENSION, number) for name, number in _CAPABILITIES.items()}
        yield Fact("capabilities", " ".join(f"{name}={value}" for name, value in asked.items()))
    except OSError as fault:
        yield Fact("API version", f"{_name(fault)}: this is no KVM", fault=True)
        return
    step = "a machine"
    with contextlib.ExitStack() as stack:
        try:
            machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
            stack.callback(os.close, machine)
            step = "a processor in it"
            stack.callback(os.close, fcntl.ioctl(machine, _CREATE_VCPU, 0))
            yield Fact("makes", "a machine with a processor")
        except OSError as fault:
            yield Fact("makes", f"not {step}: {_name(fault)}", fault=True)


def trials(arch: Arch, image: Path) -> Iterator[Fact]:
    """Boot the kernel under TCG, and under KVM with one processor model after the other."""
    with accel.workload(arch) as initrd:
        machine = Machine(arch, image, initrd, "tcg", memory_mib=256, cpus=1)
        seen = accel.boot(machine, accel.SPEED_SECONDS)
        yield Fact(f"{arch.name} tcg -cpu {arch.cpu['tcg']}", _told(seen), fault=not seen.printed)
        if accel.obstacle(arch):
            return
        for model in arch.suspects:
            row = replace(arch, cpu={**arch.cpu, "kvm": model})
            seen = accel.boot(replace(machine, arch=row, accel="kvm"), _TRIAL_SECONDS)
            yield Fact(f"{arch.name} kvm -cpu {model}", _told(seen), fault=not seen.printed)


def _told(seen: Boot) -> str:
    """Say what a kernel printed, what QEMU said, and how it ended."""
    line = re.search(r"Linux version [^\s(]*", seen.console)
    ended = "stopped by us" if seen.ended.timed_out else _status(seen.ended.returncode)
    words = " | ".join(seen.complaints)[:_WORDS_KEPT]
    told = (
        f"printed {line[0]}" if line else "printed nothing",
        f"the work took {seen.speed:.4f} s" if seen.speed else "did not end its work",
        f"{ended} after {seen.ended.seconds:.1f} s ({seen.ended.cpu_seconds:.1f} s processor)",
        f"QEMU: {words}" if words else "QEMU said nothing",
    )
    return "; ".join(told)


def _status(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _hypervisor() -> Iterator[str]:
    if shutil.which("systemd-detect-virt"):
        for how in ("--vm", "--container"):
            yield f"{how[2:]}: {proc.run(['systemd-detect-virt', how], timeout=10).output.strip()}"
    else:
        yield "systemd-detect-virt is missing"
    for name in ("sys_vendor", "product_name"):
        if words := _read(Path("/sys/class/dmi/id") / name).strip():
            yield words
    if words := _read(Path("/sys/hypervisor/type")).strip():
        yield f"/sys/hypervisor/type: {words}"


def _modules() -> Iterator[str]:
    for name in ("kvm", "kvm_intel", "kvm_amd"):
        parameters = Path("/sys/module") / name / "parameters"
        wanted = ("nested", "ept", "npt", "unrestricted_guest", "enable_apicv", "avic", "ignore_msrs")
        said = [f"{word}={value}" for word in wanted if (value := _read(parameters / word).strip())]
        if parameters.parent.is_dir():
            yield " ".join((name, *said))


def _kernel_log() -> str:
    """The last lines about KVM that this user may read."""
    try:
        done = proc.run(["dmesg", "--notime"], timeout=10)
    except Error as fault:
        return fault.message
    if done.returncode:
        return f"not to be read: {done.output.strip()[-_WORDS_KEPT:]}"
    lines = [line.strip() for line in done.output.splitlines() if re.search(r"\bkvm\b", line, re.IGNORECASE)]
    return " | ".join(lines[-12:]) or "no line about kvm"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _name(fault: OSError) -> str:
    return f"{errno.errorcode.get(fault.errno or 0, '?')} ({fault.strerror})"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> str:
    try:
        return "root" if uid == 0 else f"uid {uid}" if uid == os.geteuid() else pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
