"""What one build may use: the kernel keeps it from more processes; we look again and again, and end it."""

import contextlib
import itertools
import os
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
    """What a build may use at once; `memory_bytes` is the sum of its processes' resident memory."""

    processes: int
    memory_bytes: int

    @contextlib.contextmanager
    def fence(self) -> Iterator[Sequence[str]]:
        """Yield the words before a command that keep its processes few, whatever it does between two looks."""
        # RLIMIT_NPROC is not held against root (fork(2)), who can make a cgroup instead.
        most = self.processes + _SLACK
        if os.geteuid():
            yield ("prlimit", f"--nproc={most}")
            return
        group = _cgroup(most)
        try:
            yield ("sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$0" "$@"') if group else ()
        finally:
            if group:
                _remove(group)

    def exceeded(self, pid: int) -> str:
        """Say how the process tree of `pid` exceeds the quota; empty if it does not."""
        memory = 0
        for count, member in enumerate(_tree(pid), 1):
            memory += _resident(member)
            if count > self.processes:
                return f"the build ran more than {self.processes} processes at once"
            if memory > self.memory_bytes:
                return f"the build used more than {self.memory_bytes >> 20} MiB of memory at once"
        return ""


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
