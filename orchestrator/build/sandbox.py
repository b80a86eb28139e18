"""A series may change Makefiles and scripts, so make runs where it sees no home, no network and no other process.

The sources, the objects and ccache stand at the same places in every sandbox: paths cannot make two builds differ.
"""

import contextlib
import os
import re
import select
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvm import proc
from kvm.errors import BuildError, UserError

SRC = "/src"
OBJ = "/build"
CCACHE = "/ccache"
END_SECONDS = 10.0  # a sandbox that is over empties in much less
READ = (".config", "bzImage", "Image", "vmlinux")  # what of `obj` is taken elsewhere
SCRATCH_BYTES = 1 << 30  # of /tmp inside, which is memory
PATH = "/usr/local/bin:/usr/bin:/bin"


class Escape(BuildError):
    """A build tried to have us read or write outside of its directory."""


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

    def argv(self, command: list[str], *options: str) -> list[str]:
        """Return the command line that runs `command` inside; `options` are bwrap's, as --name=value."""
        words = [
            *("bwrap", "--unshare-all", "--die-with-parent", "--clearenv"),
            *(word for option in options for word in option.split("=", 1)),
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

    def run(
        self,
        command: list[str],
        *,
        before: Sequence[str] = (),
        output: Path | None = None,
        timeout: float = 600.0,
        police: Callable[[int], str] | None = None,
    ) -> proc.Completed:
        """Run `command` inside until nothing that it started is left; `before` stands in front of bwrap itself.

        Raises Escape when what it left in `obj` leads out of it.
        """
        self.ccache.mkdir(parents=True, exist_ok=True)  # whoever comes first to a new cache
        reading, writing = os.pipe()
        try:
            words = [*before, *self.argv(command, f"--json-status-fd={writing}")]
            done = proc.run(words, output=output, timeout=timeout, police=police, pass_fds=[writing])
            _await_end(os.read(reading, 1 << 16) if select.select([reading], [], [], 0)[0] else b"")
        finally:
            os.close(reading)
            os.close(writing)
        if found := strange(self.obj):
            raise Escape(f"the build left {found}, which is no file of its own", log=output)
        return done


def strange(top: Path) -> str:
    """Return what below `top` is neither file nor directory, nor a link to one of them or into the sources."""
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif not (entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _stays(entry.path, top))):
                    return str(Path(entry.path).relative_to(top))
    return ""


def _stays(link: str, top: Path) -> bool:
    """Kbuild links to the sources (`source`, gdb scripts) and from one name of the image to the other."""
    target = os.readlink(link)  # noqa: PTH115  (a string, as it stands there)
    into_sources = (target == SRC or target.startswith(f"{SRC}/")) and ".." not in target
    return (into_sources and Path(link).name not in READ) or Path(link).resolve().is_relative_to(top.resolve())


def _await_end(status: bytes) -> None:
    """Wait until the init of the sandbox is gone, which the kernel lets go last: nothing writes any more then."""
    found = re.search(rb'"child-pid": (\d+)', status)
    with contextlib.suppress(ProcessLookupError):
        if found:
            pidfd = os.pidfd_open(int(found[1]))
            try:
                select.select([pidfd], [], [], END_SECONDS)
            finally:
                os.close(pidfd)


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
