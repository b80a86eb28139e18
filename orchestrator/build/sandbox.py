"""A series may change Makefiles and scripts, so make runs where it sees no home, no network and no other process.

The sources, the objects and ccache stand at the same places in every sandbox: paths cannot make two builds differ.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvm.errors import UserError

SRC = "/src"
OBJ = "/build"
CCACHE = "/ccache"
SCRATCH_BYTES = 1 << 30  # of /tmp inside, which is memory
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Sandbox:
    """Host directories as the build sees them: `src` read-only, `obj` and `ccache` writable.

    `readable` adds single files or directories, by their place inside.
    """

    src: Path
    obj: Path
    ccache: Path
    env: Mapping[str, str] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)

    def argv(self, command: list[str]) -> list[str]:
        """Return the command line that runs `command` inside."""
        words = [
            *("bwrap", "--unshare-all", "--die-with-parent", "--clearenv"),
            *_system(),
            *("--dev", "/dev", "--remount-ro", "/dev"),  # /dev/shm would be memory that no quota counts
            *("--proc", "/proc"),
            *("--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"),  # noqa: S108
            *("--ro-bind", str(self.src), SRC),
            *("--bind", str(self.obj), OBJ),
            *("--bind", str(self.ccache), CCACHE),
            *(word for inside, path in self.readable.items() for word in ("--ro-bind", str(path), inside)),
            *("--chdir", OBJ),
        ]
        env = {"PATH": PATH, "HOME": "/tmp", "LC_ALL": "C", "CCACHE_DIR": CCACHE, **self.env}  # noqa: S108
        for name, value in env.items():
            words += ["--setenv", name, value]
        return [*words, "--", *command]


def require() -> None:
    """Raise a UserError unless builds can be contained."""
    if not shutil.which("bwrap"):
        raise UserError(
            "bubblewrap is not installed, and a series is not built uncontained", hint="apt install bubblewrap"
        )


def _system() -> list[str]:
    """The host's programs and libraries, read-only; nothing else of it."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for file in ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"):
        words += ["--ro-bind-try", file, file]
    return words
