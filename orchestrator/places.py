"""Who boots or restores a guest now, and who waits: as many at once as this machine has processors and memory for."""

import contextlib
import fcntl
import glob
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvm import disk, proc
from kvm.errors import Interrupted

OVERHEAD_MIB = 128  # QEMU's own: what it translates and emulates with
_WAIT_SECONDS = 0.2  # how soon one that waits notices that memory came back, or that all must stop


@dataclass(frozen=True)
class Need:
    """What one guest wants. `seconds` is how long it is expected to take; one that is `alone` shares with no other."""

    memory_mib: int
    seconds: float = 0.0
    alone: bool = False

    @property
    def claim_mib(self) -> int:
        """What it may take of the machine's memory."""
        return self.memory_mib + OVERHEAD_MIB

    @property
    def rank(self) -> tuple[bool, float]:
        """The longest first; those that want to be alone when nobody else is left."""
        return self.alone, -self.seconds


@dataclass
class _Ticket:
    need: Need
    runs: bool = False
    held: dict[str, contextlib.ExitStack] = field(default_factory=dict)


@dataclass
class Places:
    """The places for guests; `free_mib` says what memory the machine has left.

    With a path that names of `locks` begin with they are those of all processes that have the same one: a file for each
    place that is taken, locked, says how much memory that is for.
    """

    most: int
    free_mib: Callable[[], int]
    locks: Path | None = None
    _tickets: list[_Ticket] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def hold(self, need: Need) -> Iterator[None]:
        """Wait for a place, and hold it. Raises Interrupted when all must stop."""
        with self._changed:
            ticket = _Ticket(need)
            self._tickets.append(ticket)
            try:
                while not (self._may_run(ticket) and self._is_granted(ticket)):
                    self._changed.wait(_WAIT_SECONDS)
                    if proc.stop.is_set():
                        raise Interrupted
            except BaseException:
                self._leave(ticket)
                raise
            ticket.runs = True
            self._changed.notify_all()  # the next one's turn has come
        try:
            yield
        finally:
            with self._changed:
                self._leave(ticket)

    def _is_granted(self, ticket: _Ticket) -> bool:
        """Is there room, beside the guests of other processes, too? The ticket holds what it then takes.

        Who wants to be alone lets nobody in any more while it waits for those who are. Of the others one at a time
        looks for room and takes it.
        """
        if self.locks is None:
            return ticket.need.alone or self._has_room(ticket)
        if ticket.need.alone:
            return self._lock(ticket, "gate", fcntl.LOCK_EX) and self._lock(ticket, "in", fcntl.LOCK_EX)
        with (
            disk.try_lock(self._path("gate"), fcntl.LOCK_SH) as is_open,
            disk.try_lock(self._path("turn")) as is_next,
        ):
            return is_open and is_next and self._has_room(ticket) and self._sit_down(ticket)

    def _has_room(self, ticket: _Ticket) -> bool:
        """Is there memory for it? One guest has room in any case: nothing would ever go on without.

        What runs may still take its part, and nobody knows how much of it it has: this errs on the safe side.
        """
        claims = self._claims()
        return not claims or sum(claims) + ticket.need.claim_mib <= self.free_mib()

    def _claims(self) -> list[int]:
        """What each guest that runs may take, in MiB."""
        if self.locks is None:
            return [other.need.claim_mib for other in self._tickets if other.runs]
        found = []
        for place in self.locks.parent.glob(f"{glob.escape(self.locks.name)}-place-*"):
            with disk.try_lock(place) as is_free, contextlib.suppress(FileNotFoundError):  # it was just left
                if not is_free:
                    found.append(int(place.read_text(encoding="ascii") or 0))
        return found

    def _sit_down(self, ticket: _Ticket) -> bool:
        """Take a place that is free, if one is."""
        for name in (f"place-{number}" for number in range(self.most)):
            if self._lock(ticket, name, fcntl.LOCK_EX):
                self._path(name).write_text(str(ticket.need.claim_mib), encoding="ascii")
                return self._lock(ticket, "in", fcntl.LOCK_SH)  # who is alone there has the gate, too
        return False

    def _lock(self, ticket: _Ticket, name: str, how: int) -> bool:
        """Have the ticket hold this lock until it leaves, if it can."""
        if name not in ticket.held:
            with contextlib.ExitStack() as tried:
                if not tried.enter_context(disk.try_lock(self._path(name), how)):
                    return False
                ticket.held[name] = tried.pop_all()
        return True

    def _path(self, name: str) -> Path:
        assert self.locks
        return self.locks.with_name(f"{self.locks.name}-{name}")

    def _leave(self, ticket: _Ticket) -> None:
        for lock in ticket.held.values():
            lock.close()
        self._tickets = [other for other in self._tickets if other is not ticket]
        self._changed.notify_all()

    def _may_run(self, ticket: _Ticket) -> bool:
        """Is it its turn among those of this process, and is a place left?"""
        waiting = [other for other in self._tickets if not other.runs]
        # who has the gate goes before all, for nobody passes it; of equals the first to come
        if ticket is not min(waiting, key=lambda other: (not other.held, other.need.rank)):
            return False
        running = [other.need for other in self._tickets if other.runs]
        alone = any(need.alone for need in (ticket.need, *running))
        return not running or not (alone or len(running) >= self.most)


def of_machine(most: int | None, cache_dir: Path) -> Places:
    """The places of this machine, for all that has this cache: `most`, or as many as it is fit for."""
    return Places(most or by_processors(), free_mib, cache_dir / "locks" / f"guests-{socket.gethostname()}")


def by_processors() -> int:
    """Return how many guests there are at once where nobody says how many."""
    return processors() + 1  # docs/benchmarks.md: one more than processors, for those that wait or sleep


def processors() -> int:
    """Return how many processors this process may use: its affinity, and its cgroup's quota."""
    return max(1, min(len(os.sched_getaffinity(0)), _quota()))


def worked_seconds() -> float | None:
    """Return how long the machine's processors have worked since it started, whoever for; None if it is not told."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _idle, _iowait, irq, softirq = map(int, words[1:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def free_mib() -> int:
    """Return how much memory may still be taken: the machine's, or what its cgroup leaves, whichever is less."""
    return min(_available(), *_left_by_cgroup()) >> 20


def _available() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def _cgroups() -> Iterator[Path]:
    """This process's cgroup of version 2 and those above it, as far as they show."""
    top = Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        if line.startswith("0::"):
            own = top / line[3:].lstrip("/")
            yield from (own, *(path for path in own.parents if path.is_relative_to(top)))


def _quota() -> int:
    """Whole processors of the smallest quota, rounded up."""
    found = [(os.cpu_count() or 1)]
    for cgroup in _cgroups():
        with contextlib.suppress(OSError, ValueError):
            quota, period = map(int, (cgroup / "cpu.max").read_text(encoding="ascii").split())  # or: max 100000
            found.append(-(-quota // period))
    return min(found)


def _left_by_cgroup() -> Iterator[int]:
    yield 1 << 62
    for cgroup in _cgroups():
        with contextlib.suppress(OSError, ValueError):
            limit, used = (int((cgroup / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
            cache = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
            yield limit - used + int(cache.get("inactive_file", 0))  # the kernel takes that back
