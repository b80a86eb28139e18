"""A series may change Makefiles and scripts, so make runs where it sees no home, no network and no other process.

The sources, the objects and ccache stand at the same places in every sandbox: paths cannot make two builds differ.
What runs there has no capability and no terminal; it writes O=, /tmp, and ccache where it is trusted with that.
"""

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvm import proc
from kvm.errors import BuildError, InfraError, UserError
from orchestrator.build import seccomp, watch
from orchestrator.build.quota import Quota

SRC = "/src"
OBJ = "/build"
CCACHE = "/ccache"
SHARED = "/ccache-shared"
END_SECONDS = 10.0  # a sandbox that is over empties in much less
READ = (".config", "bzImage", "Image", "vmlinux")  # what of `obj` is taken elsewhere
MOST_FILES = 1_000_000  # in `obj`; an allyesconfig leaves 150,000
DEEPEST = 100  # directories below each other in `obj`; a kernel has 12
SCRATCH_BYTES = 1 << 30  # of /tmp inside, which is memory
PATH = "/usr/local/bin:/usr/bin:/bin"
REMEDY = "apt install bubblewrap, and allow unprivileged user namespaces (on Ubuntu: an AppArmor profile for bwrap)"
# Without capabilities there, and nobody in particular; bubblewrap before 0.8 and some hosts do not take all of it.
OWN_USERS = ("--unshare-user", "--disable-userns", "--uid=1000", "--gid=1000")
_HELD = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", "/proc", "/tmp", SRC, OBJ, CCACHE, SHARED)  # noqa: S108  (no homes)
_NOT_STARTED = "the sandbox did not start: "
DENIED = "denied: "  # before what a build tried
UNWATCHED = "what builds try and the sandbox denies is not noted on this machine (`kdelta doctor`)"
_TRIAL_SECONDS = 30.0
_TRIAL_QUOTA = Quota(100, 1 << 28)


class Escape(BuildError):
    """A build tried to have us read or write outside of its directory."""


@dataclass(frozen=True)
class Places:
    """Host directories of a build, whose words name them SRC, OBJ and CCACHE, and what the build may use.

    It reads `src` and `ccache`, and writes `obj`; into `ccache`, and `shared`, which other machines have in common, it
    writes if what is in `src` is trusted with what all builds are given back from there. `readable` adds single files
    or directories, by the place under which the words name them. `tried` receives what is noted of denied attempts.
    """

    src: Path
    obj: Path
    ccache: Path
    quota: Quota
    env: Mapping[str, str] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)
    trusted: bool = False
    shared: Path | None = None
    tried: list[str] = field(default_factory=list, compare=False)

    @property
    def _variables(self) -> dict[str, str]:
        """All that a command has of an environment, but for home and directory for temporary files.

        ccache is told all by variables: a build could leave a ccache.conf that starts programs in later builds.
        """
        ccache = {"CCACHE_DIR": CCACHE, "CCACHE_CONFIGPATH": os.devnull}
        reader = {} if self.trusted else {"CCACHE_READONLY": "1"}
        if self.shared:
            ccache["CCACHE_REMOTE_STORAGE"] = f"file:{SHARED}{'' if self.trusted else '|read-only'}"
        return {"PATH": PATH, "LC_ALL": "C", **ccache, **reader, **self.env}

    @property
    def _caches(self) -> dict[str, Path]:
        """Where ccache looks, by the place in the words."""
        return {CCACHE: self.ccache, **({SHARED: self.shared} if self.shared else {})}

    def _watched(
        self,
        words: Sequence[str],
        *,
        output: Path | None,
        timeout: float,
        over: Callable[[], None] = lambda: None,
        **more: object,
    ) -> proc.Completed:
        """Run `words` under the quota; what they said is in `output`, or in what is returned, cut to the quota.

        `over` returns when nothing is left that says more.
        """
        self.ccache.mkdir(parents=True, exist_ok=True)  # whoever comes first to a new cache
        with tempfile.NamedTemporaryFile(prefix="kdelta-said-") as file:
            said = output or Path(file.name)
            police = functools.partial(self.quota.exceeded, said=said)
            done = proc.run(words, output=said, timeout=timeout, police=police, **more)  # type: ignore[arg-type]
            over()
            charge = self.quota.cut(said)
            text = "" if output else said.read_text(encoding="utf-8", errors="replace")
        return replace(done, output=text, charge=done.charge or charge)


class Sandbox(Places):
    """The directories at these very places, `src` read-only, and nothing else of the host but its programs."""

    def argv(self, command: Sequence[str], *options: str) -> list[str]:
        """Return the command line that runs `command` inside; `options` are bwrap's, as --name=value."""
        how = "--bind" if self.trusted else "--ro-bind"
        words = [
            *("bwrap", "--unshare-all", *own_users(), "--cap-drop", "ALL", "--new-session", "--die-with-parent"),
            "--clearenv",
            *(word for option in options for word in option.split("=", 1)),
            *_system(),
            *("--dev", "/dev", "--remount-ro", "/dev"),  # /dev/shm would be memory that no quota counts
            *("--proc", "/proc", "--remount-ro", "/proc"),  # /proc/sys is root's, with and without capabilities
            *("--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"),  # noqa: S108
            *("--ro-bind", str(self.src), SRC),
            *("--bind", str(self.obj), OBJ),
            *(word for inside, path in self._caches.items() for word in (how, str(path), inside)),
            *(word for inside, path in self.readable.items() for word in ("--ro-bind", str(path), inside)),
            *("--remount-ro", "/"),  # memory, too; last, for mount points are made in it
            *("--chdir", OBJ),
        ]
        env = {"HOME": "/tmp", "CCACHE_TEMPDIR": "/tmp/ccache", **self._variables}  # noqa: S108
        for name, value in env.items():
            words += ["--setenv", name, value]
        return [*words, "--", *self.quota.limits(), *command]

    def run(self, command: Sequence[str], *, output: Path | None = None, timeout: float = 600.0) -> proc.Completed:
        """Run `command` inside until nothing that it started is left, or it is charged with exceeding the quota.

        Raises Escape when what it left in `obj` leads out of it, and InfraError when it was never run.
        """
        with self.quota.fence() as fence, contextlib.closing(_Status()) as status, self._guard(command) as guard:
            box, words, options, handles = guard
            argv = [*fence, *box.argv(words, f"--json-status-fd={status.writing}", *options)]
            handles = [status.writing, *handles]
            done = self._watched(argv, output=output, timeout=timeout, over=status.await_end, pass_fds=handles)
        if done.returncode > 0 and not (status.ran or done.charge or done.timed_out):
            said = (output.read_text("utf-8", "replace") if output else done.output).strip().splitlines()
            raise InfraError(f"{_NOT_STARTED}{(said or ['no word'])[-1][:500]}", log=output)
        inspect(self.obj, SRC, output)
        return done

    @contextlib.contextmanager
    def _guard(self, command: Sequence[str]) -> Iterator["_Guard"]:
        """Lend a filter of system calls: one that tells of what is tried, if such a one can be had."""
        if not watches():
            with _filter() as filters:
                yield self, command, [f"--seccomp={handle}" for handle in filters], filters
            return
        own = (OBJ, "/tmp", "/dev", "/proc/self", *(self._caches if self.trusted else []))  # noqa: S108
        with watch.decoys(_homes(), self.tried) as decoys, watch.listen(own, self.tried) as ears:
            box = replace(self, readable={**decoys, **self.readable})
            yield box, [*ears.words, *command], [], [ears.fd]


_Guard = tuple[Sandbox, Sequence[str], list[str], list[int]]  # and bwrap's options, and what is handed to it


def _homes() -> tuple[str, ...]:
    """Where a home is looked for: that of the sandbox, and the user's own, which is not there."""
    home = os.path.normpath(Path.home())
    free = home != "/" and not any(f"{home}/".startswith(f"{place}/") for place in _HELD)
    return ("/tmp", *([home] if free else []))  # noqa: S108


@functools.cache
def watches() -> bool:
    """Can a build be asked to tell what it tries? Not where another listener is there already (a container's)."""
    if not seccomp.program():
        return False
    with watch.listen((), []) as ears:
        argv = ["bwrap", "--ro-bind", "/", "/", "--cap-drop", "ALL", "--", *ears.words, "true"]
        return proc.run(argv, timeout=_TRIAL_SECONDS, pass_fds=[ears.fd], env={"PATH": PATH}).returncode == 0


class _Status:
    """What bwrap itself says of a sandbox (--json-status-fd); nothing inside holds its end of the pipe."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self._said = b""

    def await_end(self) -> None:
        """Wait until the init of the sandbox is gone, which the kernel lets go last: nothing writes any more then."""
        if proc.is_readable(self._reading, 0):
            self._said = os.read(self._reading, 1 << 16)
        found = re.search(rb'"child-pid": (\d+)', self._said)
        with contextlib.suppress(ProcessLookupError):
            if found:
                pidfd = os.pidfd_open(int(found[1]))
                try:
                    proc.is_readable(pidfd, END_SECONDS)
                finally:
                    os.close(pidfd)

    @property
    def ran(self) -> bool:
        """Did the command run to an end of its own?"""
        return b'"exit-code"' in self._said

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reading)
        os.close(self.writing)


@contextlib.contextmanager
def _filter() -> Iterator[list[int]]:
    """Lend bwrap the filter of system calls, if there is one for this machine: the descriptors to read it from."""
    if not (program := seccomp.program()):
        yield []
        return
    handle = os.memfd_create("kdelta-seccomp")
    try:
        os.write(handle, program)
        os.lseek(handle, 0, os.SEEK_SET)
        yield [handle]
    finally:
        os.close(handle)


@functools.cache
def own_users() -> tuple[str, ...]:
    """Return the words for a user namespace in which no other can be made; none if bwrap or the host refuses them.

    Without them an ordinary user has one all the same (--unshare-all), and root has no capability.
    """
    words = [word for option in OWN_USERS for word in option.split("=", 1)]
    done = proc.run(["bwrap", *words, "--ro-bind", "/", "/", "--", "true"], timeout=_TRIAL_SECONDS)
    return () if done.returncode else tuple(words)


def inspect(obj: Path, sources: str, log: Path | None) -> None:
    """Raise Escape when what a build left in `obj` leads out of it, but for links to `sources` or below."""
    if found := _strange(obj, sources):
        raise Escape(f"the build left {found}", log=log)


def _strange(top: Path, sources: str) -> str:
    """Say what below `top` is neither file nor directory, nor a link to one of them or into the sources."""
    pending, count = [top], 0
    while pending:
        proc.stop.obey()
        directory = pending.pop()
        inside = directory.relative_to(top)
        if len(inside.parts) > DEEPEST:
            return f"directories {DEEPEST} deep"
        if not os.access(directory, os.R_OK | os.X_OK):
            return f"{str(inside)[:200]}, which cannot be read"
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                if count > MOST_FILES:
                    return f"more than {MOST_FILES} files"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif not (entry.is_file(follow_symlinks=False) or _stays(entry, top, sources)):
                    return f"{str(Path(entry.path).relative_to(top))[:200]}, which is no file of its own"
    return ""


def _stays(link: os.DirEntry[str], top: Path, sources: str) -> bool:
    """Kbuild links to the sources (`source`, gdb scripts) and from one name of the image to the other."""
    if not link.is_symlink():
        return False
    target = os.readlink(link)  # noqa: PTH115  (a string, as it stands there)
    into_sources = (target == sources or target.startswith(f"{sources}/")) and ".." not in target
    # not Path.resolve(), to which a link that leads to itself is an error
    return (into_sources and link.name not in READ) or Path(os.path.realpath(link)).is_relative_to(top.resolve())


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
            done = Sandbox(top, top, top, _TRIAL_QUOTA).run(["true"], timeout=_TRIAL_SECONDS)
        except (UserError, InfraError) as missing:
            return missing.message.removeprefix(_NOT_STARTED)
    if done.timed_out:
        return f"bubblewrap did not end in {_TRIAL_SECONDS:.0f} s"
    return f"bubblewrap failed (exit {done.returncode})" if done.returncode else ""


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
