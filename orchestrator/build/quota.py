"""What one build may use: the kernel keeps it from more where it can; we look again and again, and end it."""

import contextlib
import itertools
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SLACK = 32  # the kernel stops processes a little later than we do, so that it is we who say why
_CGROUPS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # version 1, version 2
_serial = itertools.count()


@dataclass(frozen=True)
class Quota:
    """What a build may use at once; `memory_bytes` is the sum of its processes' resident memory.

    `said_bytes` is all that it says, `file_bytes` the size of each file that it writes.
    """

    processes: int
    memory_bytes: int
    said_bytes: int = 16 << 20  # an allmodconfig with all its warnings says less, and this is read in 20 s
    file_bytes: int = 8 << 30  # vmlinux with all debug information is less

    @contextlib.contextmanager
    def fence(self) -> Iterator[Sequence[str]]:
        """Yield the words before a command that keep root's processes few, whatever it does between two looks.

        RLIMIT_NPROC is not held against root (fork(2)), who can make a cgroup instead.
        """
        group = None if os.geteuid() else _cgroup(self.processes + _SLACK)
        try:
            yield ("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$0" "$@"') if group else ()
        finally:
            if group:
                _remove(group)

    def limits(self) -> tuple[str, ...]:
        """Return the words right before a command for what the kernel limits: processes, length of files, no core file.

        The kernel counts all processes of the user, since Linux commit 21d1c5e386bc ("Reimplement RLIMIT_NPROC on top
        of ucounts") (in v5.14) those of the user namespace; so these words belong inside it, and the user's other
        processes are added, which would else be held against the build.
        """
        wanted = {
            "nproc": (resource.RLIMIT_NPROC, _tasks_of(os.getuid()) + self.processes + _SLACK),
            "fsize": (resource.RLIMIT_FSIZE, self.file_bytes),
            "core": (resource.RLIMIT_CORE, 0),
        }
        return ("prlimit", *(f"--{name}={_allowed(kind, most)}" for name, (kind, most) in wanted.items()))

    def exceeded(self, pid: int, said: Path) -> str:
        """Say how the process tree of `pid`, which writes to `said`, exceeds the quota; empty if it does not."""
        memory = 0
        for count, member in enumerate(_tree(pid), 1):
            memory += _resident(member)
            if count > self.processes:
                return f"the build ran more than {self.processes} processes at once"
            if memory > self.memory_bytes:
                return f"the build used more than {self.memory_bytes >> 20} MiB of memory at once"
        return self._talks(said)

    def cut(self, said: Path) -> str:
        """Cut what a build that is over said to what it may say, for all who read it; returns what `exceeded` does."""
        if charge := self._talks(said):
            os.truncate(said, self.said_bytes)
        return charge

    def _talks(self, said: Path) -> str:
        return f"the build said more than {self.said_bytes >> 20} MiB" if said.stat().st_size > self.said_bytes else ""


def _allowed(kind: int, most: int) -> int:
    """Nobody can raise a limit that he has already."""
    hard = resource.getrlimit(kind)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _tasks_of(user: int) -> int:
    """Count the threads of a user."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if process.stat().st_uid == user:
                count += sum(1 for _ in (process / "task").iterdir())
    return count


def _cgroup(most: int) -> Path | None:
    """Make a group that holds `most` processes; None where the host lets us make none."""
    for top in _CGROUPS:
        for left in top.glob("kdelta.*"):  # by a run that was killed
            if not Path("/proc", left.name.split(".")[1]).exists():
                _remove(left, patience=0)
        group = top / f"kdelta.{os.getpid()}.{next(_serial)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(most), "ascii")
        except OSError:  # the pids controller is not on here
            group.rmdir()
            continue
        return group
    return None


def _remove(group: Path, patience: float = 2.0) -> None:
    """Remove a group; the processes of a sandbox that was ended leave it by and by."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError):
            group.rmdir()
        if not group.exists() or time.monotonic() >= deadline:
            return
        time.sleep(0.01)


def _tree(pid: int) -> Iterator[int]:
    pending = [pid]
    while pending:
        member = pending.pop()
        yield member
        try:
            for thread in Path(f"/proc/{member}/task").iterdir():
                pending += map(int, (thread / "children").read_text("ascii").split())
        except OSError:  # it ended meanwhile
            continue


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
