"""The guest's user land: an initramfs of Debian's busybox and dropbear with our own /init and agent.

It is bit for bit reproducible, and not compressed: a TCG guest would have to unpack it.
"""

import hashlib
import importlib.resources
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kvm import cpio, disk, elf, packages, proc
from kvm.arch import Arch
from kvm.cpio import Entry
from kvm.errors import InfraError

log = logging.getLogger(__name__)

PACKAGES = (
    "busybox-static",
    "dropbear-bin",
    # what dropbear is linked against, down to the loader
    "libc6",
    "libcrypt1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
)
RECIPE = "2"  # to be raised when this file makes another archive of the same input
DIRECTORIES = (
    *("bin", "dev", "etc", "etc/dropbear", "lib", "lib64", "proc", "root", "root/.ssh"),
    *("run", "sys", "tmp", "usr", "usr/sbin", "var", "var/log"),
)


def build(arch: Arch, cache_dir: Path) -> Path:
    """Return the initramfs for `arch`, made at most once for the same packages, /init and recipe."""
    with disk.hold(cache_dir / "apt" / arch.suite):
        debs = packages.fetch(PACKAGES, suite=arch.suite, deb_arch=arch.deb, cache_dir=cache_dir)
        own = importlib.resources.files("kvm")
        init, agent = (own.joinpath(name).read_bytes() for name in ("init.sh", "agent.c"))
        target = cache_dir / "rootfs" / f"{arch.name}-{_key(arch, debs, init, agent)}.cpio"
        with disk.hold(target):
            if not _is_whole(target):
                log.info("making the initramfs for %s", arch.name)
                program = cpio.file("bin/agent", compiled(arch, agent), 0o755)
                archive = cpio.archive([*_entries(arch, debs, init), program])
                disk.write(target, archive)
                disk.write(_sum(target), hashlib.sha256(archive).hexdigest())
            for path in (target, _sum(target)):
                os.utime(path)  # last use, for gc
    return target


def _sum(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _is_whole(target: Path) -> bool:
    """Is it as it was written? Runs link it into their directories, where people look at it, and more."""
    try:
        return _sum(target).read_text(encoding="ascii") == hashlib.sha256(target.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False


def compiled(arch: Arch, source: bytes) -> bytes:
    """Compile a program, static."""
    with tempfile.TemporaryDirectory(prefix="kdelta-rootfs-") as scratch:
        program = Path(scratch) / "program"
        flags = "-xc", "-std=gnu11", "-Os", "-Wall", "-static", "-s"
        proc.check([f"{arch.prefix}gcc", *flags, "-", "-o", program], input=source, timeout=60)
        return program.read_bytes()


def _key(arch: Arch, debs: Iterable[Path], *own: bytes) -> str:
    """Return the content address of the archive."""
    digest = hashlib.sha256(f"{RECIPE} {arch.name}".encode())
    for content in (*(deb.read_bytes() for deb in debs), *own):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:20]


def _entries(arch: Arch, debs: Iterable[Path], init: bytes) -> list[Entry]:
    with tempfile.TemporaryDirectory(prefix="kdelta-rootfs-") as scratch:
        root = Path(scratch)
        for deb in debs:
            packages.unpack(deb, root)
        return [*_skeleton(init), *_programs(arch, root)]


def _skeleton(init: bytes) -> list[Entry]:
    """Return what is the same on every architecture."""
    return [
        *(cpio.directory(name, 0o700 if name.startswith("root") else 0o755) for name in DIRECTORIES),
        cpio.character_device("dev/console", 5, 1),  # opened by the kernel for PID 1 before anything is mounted
        cpio.character_device("dev/null", 1, 3),
        cpio.file("init", init, 0o755),
        cpio.file("etc/passwd", b"root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/:/bin/false\n"),
        cpio.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
        cpio.file("etc/shells", b"/bin/sh\n"),
        cpio.file("etc/hosts", b"127.0.0.1 localhost\n"),
        cpio.link("var/run", "/run"),
    ]


def _programs(arch: Arch, root: Path) -> list[Entry]:
    """Return busybox, dropbear, and the libraries that dropbear names, directly or not."""
    dropbear = _program("sbin/dropbear", root)
    loader, needy = Path(arch.loader), elf.read(dropbear)
    if needy is None or not needy.needed:
        raise InfraError(f"{dropbear.name} of {PACKAGES[1]} is no program that names its libraries")
    libraries = elf.libraries([needy], lambda name, _: _library(name, root, arch.triplet))
    return [
        cpio.file("bin/busybox", _program("bin/busybox", root).read_bytes(), 0o755),
        cpio.file("usr/sbin/dropbear", dropbear.read_bytes(), 0o755),
        cpio.file(arch.loader, _library(loader.name, root, arch.triplet).read_bytes(), 0o755),
        *(
            cpio.file(f"lib/{name}", path.read_bytes(), 0o755)
            for name, path in sorted(libraries.items())
            if name != loader.name
        ),
    ]


def _program(name: str, root: Path) -> Path:
    """Return the path of a program: releases after bookworm ship all of them below usr."""
    merged = root / "usr" / name
    return merged if merged.exists() else root / name


def _library(name: str, root: Path, triplet: str) -> Path:
    for below in (f"lib/{triplet}", f"usr/lib/{triplet}"):
        if (path := root / below / name).exists():
            return path
    raise InfraError(
        f"the guest's programs need {name}, which no package of the rootfs holds",
        hint="add the Debian package that ships it to PACKAGES in kvm/rootfs.py",
    )
