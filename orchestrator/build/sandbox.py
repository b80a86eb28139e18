"""A series may change Makefiles and scripts, so make runs where it sees no home, no network and no other process.

The sources, the objects and ccache stand at the same places in every sandbox: paths cannot make two builds differ.
"""

import contextlib
import os
import re
import select
import tempfile
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
REMEDY = "apt install bubblewrap, and allow unprivileged user namespaces (on Ubuntu: an AppArmor profile for bwrap)"
_TRIAL_SECONDS = 30.0


class Escape(BuildError):
    """A build tried to have us read or write outside of its directory."""


@dataclass(frozen=True)
class Places:
    """Host directories of a build, whose words name them SRC, OBJ and CCACHE: it reads `src`, and writes the others.

    `readable` adds single files or directories, by the place under which the words name them.
    """

    src: Path
    obj: Path
    ccache: Path
    env: Mapping[str, str] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)


class Sandbox(Places):
    """The directories at these very places, `src` read-only, and nothing else of the host but its programs."""

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
        inspect(self.obj, SRC, output)
        return done


def inspect(obj: Path, sources: str, log: Path | None) -> None:
    """Raise Escape when what a build left in `obj` leads out of it, but for links to `sources` or below."""
    if found := _strange(obj, sources):
        raise Escape(f"the build left {found}, which is no file of its own", log=log)


def _strange(top: Path, sources: str) -> str:
    """Return what below `top` is neither file nor directory, nor a link to one of them or into the sources."""
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif not (entry.is_file(follow_symlinks=False) or _stays(entry, top, sources)):
                    return str(Path(entry.path).relative_to(top))
    return ""


def _stays(link: os.DirEntry[str], top: Path, sources: str) -> bool:
    """Kbuild links to the sources (`source`, gdb scripts) and from one name of the image to the other."""
    if not link.is_symlink():
        return False
    target = os.readlink(link)  # noqa: PTH115  (a string, as it stands there)
    into_sources = (target == sources or target.startswith(f"{sources}/")) and ".." not in target
    return (into_sources and link.name not in READ) or Path(link).resolve().is_relative_to(top.resolve())


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
    if said := fault():
        raise UserError(
            f"the sandbox does not work, and a series is not built without: {said}",
            hint=f"{REMEDY}; or --unsandboxed, which is DANGEROUS: Makefiles and scripts of the series can then read "
            "and write all that you can, and have the network",
        )


def fault() -> str:
    """Try a sandbox, and return why there can be none here; "" if there can."""
    with tempfile.TemporaryDirectory(prefix="kdelta-sandbox-") as name:
        top = Path(name)
        try:
            done = Sandbox(top, top, top).run(["true"], timeout=_TRIAL_SECONDS)
        except UserError as missing:
            return missing.message
    if done.timed_out:
        return f"bubblewrap did not end in {_TRIAL_SECONDS:.0f} s"
    last = (done.output.strip().splitlines() or [f"bubblewrap failed (exit {done.returncode})"])[-1]
    return last if done.returncode else ""


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
