"""A cluster of real processes on this machine: kdelta's commands, or this very module, whose guests follow a script."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from kvm import proc
from kvm.arch import DEFAULT
from kvm.qemu import Machine
from orchestrator import scratch
from orchestrator.cluster import ability, task, worker
from orchestrator.cluster.errand import Here
from orchestrator.cluster.where import Where
from orchestrator.cluster.worker import Offer
from tests import scripted
from tests.conftest import kdelta_argv, processes, run_kdelta

START_SECONDS = 60.0
READY_SECONDS = 600.0  # where a kernel is fetched first, to see whether KVM can be believed
SERVE = "from orchestrator.cluster import forks; from tests.clusters import errand; forks.serve(errand)"
ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(happened: Callable[[], bool], what: str = "", seconds: float = START_SECONDS) -> None:
    """Wait for what happens in other processes."""
    for _ in range(int(seconds / 0.05)):
        if happened():
            return
        proc.wait_readable([], 0.05)
    raise TimeoutError(what)


def below(pid: int) -> dict[str, str]:
    """The processes that a process has started, and those that they have: their programs by their ids."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            found[str(child.pid)] = child.name()
    return found


@dataclass
class Cluster:
    """A scheduler, and workers that come and go."""

    top: Path
    scheme: str = "tcp"
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    at: Callable[[str], Sequence[str]] = lambda _: ()  # what is put before the command of each, to run it on a host
    scripted: bool = True  # else guests are real
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def where(self, patience: float = 60.0) -> Where:
        return Where(self.url, str(self.top / "store"), str(self.top / "tls"), patience)

    def log(self, name: str) -> Path:
        return self.top / f"{name}.log"

    def start(self, name: str, *words: str) -> None:
        """Start the process `name`, and wait until it says that it works."""
        role = "scheduler" if name == "scheduler" else "worker"
        self.log(name).touch()
        before = self.log(name).stat().st_size
        with self.log(name).open("ab") as said:
            self.processes[name] = subprocess.Popen(
                [*self.at(name), *self._command(role, name), *words],
                cwd=ROOT,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        ready = "schedules at" if role == "scheduler" else "works for"
        process, log = self.processes[name], self.log(name)
        self.until(lambda: ready in log.read_text()[before:] or process.poll() is not None, name, READY_SECONDS)
        assert process.poll() is None, log.read_text()

    def _command(self, role: str, name: str) -> list[str]:
        if self.scripted:
            return [sys.executable, "-m", "tests.clusters", role, self.url, str(self.top), name]
        return kdelta_argv(role, self.url, "--tls", self.top / "tls")

    def addresses(self, *workers: str) -> list[tuple[str, int]]:
        """Where workers listen."""
        found = re.findall(
            r"Listening to: *\w+://([\d.]+):(\d+)", "".join(self.log(name).read_text() for name in workers)
        )
        return [(host, int(port)) for host, port in found]

    def busy(self) -> list[str]:
        """The workers that do an errand now."""
        forks = {name: processes(f" errand {self.top / name}") for name in self.processes}
        return [name for name, found in forks.items() if len(found) > 1]  # the first is what they were forked from

    def boots(self) -> list[str]:
        """The architecture of each kernel that came up."""
        return (self.top / "boots").read_text().split() if (self.top / "boots").exists() else []

    def end(self, name: str, signum: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        try:
            process.send_signal(signum)
            process.wait(30)
        finally:
            process.kill()
            process.wait()

    until = staticmethod(until)


@contextlib.contextmanager
def running(top: Path, *workers: str, scheme: str = "tcp", **more: Any) -> Iterator[Cluster]:
    """Lend a cluster with these workers; nothing of it is left."""
    top.mkdir(exist_ok=True)
    cluster = Cluster(top, scheme, **more)
    if scheme == "tls":
        made = run_kdelta("cluster", "init", "--tls", top / "tls")
        assert made.returncode == 0, made.stderr
    try:
        for name in ("scheduler", *workers):
            cluster.start(name)
        yield cluster
    finally:
        with contextlib.ExitStack() as all_of_them:
            for name in cluster.processes:
                all_of_them.callback(cluster.end, name)


@contextlib.contextmanager
def _held(top: Path, machine: Machine, **asked: object) -> Iterator[object]:
    """Boot when the test lets it: while there is a file `hold`, and a line in `boots` says that it came to that."""
    with (top / "boots").open("a") as boots:
        boots.write(f"{machine.arch.name}\n")
    while (top / "hold").exists():
        proc.wait_readable([], 0.05)
    with scripted.take(machine, **asked) as kept:  # type: ignore[arg-type]
        yield kept


def _be_told_to_stop() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: proc.stop.set())


def errand() -> None:
    """What is forked: `errand CACHE STORE DIGEST NAME`."""
    _be_told_to_stop()
    _, cache, *rest = sys.argv[1:]
    take = functools.partial(_held, Path(cache).parent)
    with scratch.own():
        sys.exit(task.run(*rest, Here(Path(cache), take)))  # type: ignore[arg-type]


def _main(role: str, *words: str) -> int:
    _be_told_to_stop()
    url, top, name, *versions = words
    certificates = Path(top) / "tls"
    if role == "scheduler":
        worker.schedule(url, certificates)
        return 0
    can = [one for arch in DEFAULT for one in (ability.building(arch, "gcc"), ability.running(arch, "tcg"))]
    if versions:
        can = [replace(one, versions=tuple(versions)) for one in can]
    cache = Path(top) / name
    os.environ["PYTHONPATH"] = str(ROOT)
    worker.work(
        url,
        certificates,
        Offer(tuple(can)),
        [sys.executable, "-c", SERVE, "errand", str(cache)],
        name,
    )
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
