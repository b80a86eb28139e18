"""A Debian root file system by mmdebstrap, of any architecture, from the host's own mirror."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kvm import packages, proc
from kvm.arch import Arch
from kvm.errors import UserError

log = logging.getLogger(__name__)

SECONDS = 3600.0
IMAGES = (".ext2", ".img")


def make(arch: Arch, target: Path, include: Sequence[str] = ()) -> None:
    """Make `target`, an image by its name's end, else a directory, with `include` beside what every Debian has.

    Packages are unpacked, not configured: that would run programs of `arch` here. So there is no /etc/passwd, and no
    link that update-alternatives makes.
    """
    if target.exists():
        raise UserError(f"{target} is there already", hint="name another, or remove it")
    image = target.suffix in IMAGES
    # nothing is run in it, so that who is not root needs no user namespace with a range of users, but root's name
    as_root = [] if os.geteuid() == 0 else ["fakeroot"]
    tools = ["mmdebstrap", *as_root, *(["genext2fs"] if image else [])]
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise UserError(f"{' and '.join(missing)} not found", hint=f"apt install {' '.join(missing)}")
    line = packages.source_line(arch.suite)
    log.info("making a Debian %s (%s) in %s", arch.suite, arch.deb, target)
    argv: list[str | Path] = [
        *(*as_root, "mmdebstrap", *(["--mode=chrootless"] if as_root else [])),
        *("--quiet", "--variant=extract", f"--architectures={arch.deb}"),
        f"--format={'ext2' if image else 'directory'}",
        f"--include={','.join(('base-files', 'coreutils', 'bash', 'dash', *include))}",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",  # else programs lie in /usr/bin, and their links nowhere
        *(arch.suite, target, line),
    ]
    proc.check(argv, timeout=SECONDS)
