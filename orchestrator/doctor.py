"""Is this machine fit? Each finding that is not in order carries its remedy."""

import functools
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm import accel, disk, packages, probe, proc
from kvm.arch import DEFAULT, Arch
from kvm.arch import get as get_arch
from kvm.errors import Error
from kvm.probe import Fact
from orchestrator import cache
from orchestrator.build import kbuild, sandbox, toolchain

_TOOLS = {  # program -> Debian package
    **{"git": "git", "make": "make", "gcc": "gcc", "flex": "flex", "bison": "bison", "bc": "bc", "ccache": "ccache"},
    **{"bwrap": "bubblewrap", "setpriv": "util-linux", "time": "time", "tar": "tar", "xz": "xz-utils"},
    **{"readelf": "binutils", "apt-get": "apt", "dpkg-deb": "dpkg", "perl": "perl", "python3": "python3"},
}
_MORE = {  # program -> Debian package, of what a report says less without
    **{"pahole": "dwarves", "g++": "g++", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu"},
    **{"spatch": "coccinelle libpython3-dev", "clang": "clang lld llvm", "b4": "b4"},
}
_DISK_BYTES = 8 << 30  # a kernel tree, its git store, objects of both architectures, ccache
_MEMORY_BYTES = 3 << 30


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `remedy` is empty when it is in order, `fatal` when a run cannot do without."""

    subject: str
    state: str
    remedy: str = ""
    fatal: bool = True


def examine(cache_dir: Path, arches: Sequence[str] = DEFAULT) -> list[Finding]:
    """Look at everything a run for `arches` needs."""
    return [*_tools(), *_arches(arches, cache_dir), _sandbox(), _user(), _disk(cache_dir), _memory()]


def _tools() -> Iterator[Finding]:
    for tool, package in _TOOLS.items():
        where = shutil.which(tool)
        yield Finding(tool, where or "missing", "" if where else f"apt install {package}")
    for tool, package in _MORE.items():
        where = shutil.which(tool)
        yield Finding(tool, where or "missing", "" if where else f"apt install {package}", fatal=False)


def _arches(names: Sequence[str], cache_dir: Path) -> Iterator[Finding]:
    for name in names:
        arch = get_arch(name)
        try:
            yield Finding(f"compiler {name}", toolchain.find(name).version)
        except Error:
            yield Finding(f"compiler {name}", "missing", f"apt install {' '.join(arch.compiler)}")
        try:
            yield Finding(f"qemu {name}", proc.check([arch.qemu, "--version"], timeout=30).splitlines()[0])
        except Error:
            yield Finding(f"qemu {name}", "missing", f"apt install {' '.join(arch.emulator)}")
            continue
        yield _accelerator(name, cache_dir)


def _accelerator(name: str, cache_dir: Path) -> Finding:
    arch = get_arch(name)
    subject = f"accelerator {name}"
    try:
        choice = accel.choose(arch, lambda: kernel(name, cache_dir), cache_dir)
    except Error as fault:
        return Finding(subject, f"not proven, for want of a kernel: {fault.message}", "kdelta build", fatal=False)
    return Finding(subject, f"{choice.used}: {choice.words}")


def accelerators(cache_dir: Path, arches: Sequence[str] = DEFAULT) -> Iterator[Fact]:
    """Say all that can be seen of KVM here, with kernels that are there already."""
    yield from probe.host()
    yield from probe.device(accel.DEVICE)
    for name in arches:
        arch = get_arch(name)
        try:
            yield Fact(f"{name} qemu", proc.check([arch.qemu, "--version"], timeout=30).splitlines()[0])
            image, whence = _kernel_at_hand(arch, cache_dir)
            yield Fact(f"{name} kernel", whence, fault=image is None)
            if image:
                yield from probe.trials(arch, image)
                choice = accel.choose(arch, functools.partial(Path, image), cache_dir)
                yield Fact(f"{name} in use", f"{choice.used}: {choice.words}")
        except Error as fault:
            yield Fact(f"{name}", fault.message, fault=True)


def _kernel_at_hand(arch: Arch, cache_dir: Path) -> tuple[Path | None, str]:
    """A kernel to try, and whence it is; nothing is built or fetched for it."""
    hosts = Path("/boot") / f"vmlinuz-{os.uname().release}"
    if image := kbuild.newest_image(arch.name, cache_dir):
        return image, "of this cache, built by kdelta"
    if image := next((cache_dir / "debian-kernel" / arch.name).glob("boot/vmlinuz-*"), None):
        return image, "of this cache, Debian's"
    if arch.host == platform.machine() and os.access(hosts, os.R_OK) and accel.is_kernel(arch, hosts):
        return hosts, "this host's own, of /boot"
    return None, "none in the cache or to be read in /boot: `kdelta build` makes one, `kdelta doctor` fetches one"


def kernel(name: str, cache_dir: Path) -> Path:
    """Return a kernel to prove an accelerator with: the last that was built, or else Debian's."""
    return kbuild.newest_image(name, cache_dir) or _debian_kernel(get_arch(name), cache_dir)


def _debian_kernel(arch: Arch, cache_dir: Path) -> Path:
    """Fetch Debian's own kernel: what is proven before anything is built must be proven with a real one."""
    final = cache_dir / "debian-kernel" / arch.name
    cache.keep(final)
    with disk.hold(cache_dir / "apt" / arch.suite):
        if not final.is_dir():
            name = f"linux-image-cloud-{arch.deb}"
            versioned = packages.depends(name, suite=arch.suite, deb_arch=arch.deb, cache_dir=cache_dir)[:1]
            [deb] = packages.fetch(versioned, suite=arch.suite, deb_arch=arch.deb, cache_dir=cache_dir)
            with cache.publish(final) as draft:
                packages.unpack(deb, draft)
        os.utime(final)  # last use, for gc
    return next(final.glob("boot/vmlinuz-*"))


def _sandbox() -> Finding:
    if said := sandbox.fault():
        return Finding("sandbox", f"bubblewrap does not work: {said}", sandbox.REMEDY)
    weaker = (
        "" if sandbox.own_users() else ", but builds can make user namespaces (bubblewrap before 0.8, or not allowed)"
    )
    deaf = "" if sandbox.watches() else ", but what builds try in vain is not noted (no listener for system calls here)"
    return Finding("sandbox", f"bubblewrap works{weaker}{deaf}")


def _user() -> Finding:
    """Guests run as who asked for them; of root's, QEMU's own sandbox alone keeps the host apart."""
    if os.geteuid():
        return Finding("user", "not root")
    return Finding("user", "root: QEMU runs as root", "run kdelta as an ordinary user", fatal=False)


def _disk(cache_dir: Path) -> Finding:
    there = next(path for path in (cache_dir, *cache_dir.parents) if path.exists())
    free = shutil.disk_usage(there).free
    state = f"{free / (1 << 30):.1f} GiB free for {cache_dir}"
    return Finding(
        "disk", state, "" if free >= _DISK_BYTES else "kdelta gc --free, or another --cache-dir", fatal=False
    )


def _memory() -> Finding:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    state = f"{whole / (1 << 30):.1f} GiB"
    return Finding("memory", state, "" if whole >= _MEMORY_BYTES else "set guest.memory_mib lower", fatal=False)
