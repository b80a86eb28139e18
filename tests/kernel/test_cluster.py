"""The main job by way of a cluster, with real kernels and real guests: workers are killed, the client interrupted."""

import collections
import json
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvm import arch
from tests import clusters
from tests.clusters import Cluster, below
from tests.conftest import processes
from tests.flow.test_cluster_faults import started
from tests.kernel.conftest import BUNDLED, append_patch, base_file
from tests.kernel.test_series import changes

pytestmark = pytest.mark.kernel
MOST_SECONDS = 3000.0  # where the cache has no base kernel yet
IN_A_GUEST = "arm64-fast: madvise_locked"
QEMU = arch.get("arm64").qemu


def on_host(name: str) -> list[str]:
    """What is put before a command so that its machine has this name; its files and its network are those of here."""
    return ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # what is killed leaves its directory
    with clusters.running(tmp_path / "cluster", scheme="tls", scripted=False, at=on_host) as lent:
        yield lent
    clusters.until(lambda: not processes(str(tmp_path)), "something is left")


def killed(cluster: Cluster, name: str) -> set[str]:
    """Kill a worker, and wait for the end of what it has started; returns the programs of that."""
    had = below(cluster.processes[name].pid)
    cluster.end(name, signal.SIGKILL)
    cluster.until(lambda: not any(Path("/proc", pid).exists() for pid in had), f"{had} outlived {name}")
    return set(had.values())


@dataclass
class Away:
    """A run of a series on a cluster, by a client that is a process of its own."""

    cluster: Cluster
    series: Path
    directory: Path
    said: Path

    def begin(self) -> None:
        self.go_on(
            *("run", self.series, "--arch", "arm64", "--suite", "madvise_locked", "--out", self.directory),
            *("--scheduler", self.cluster.url, "--store", self.cluster.top / "store"),
            *("--tls", self.cluster.top / "tls"),
        )

    def go_on(self, *words: object) -> None:
        self.cluster.processes["client"] = started(*words, log=self.said)

    @property
    def client(self) -> "subprocess.Popen[bytes]":
        return self.cluster.processes["client"]

    def heard(self, words: str, file: Path, times: int = 1) -> None:
        """Wait for words that the client has heard from a worker."""
        self.cluster.until(
            lambda: self.client.poll() is not None or (file.exists() and file.read_text().count(words) >= times),
            f"no {words!r}",
            MOST_SECONDS,
        )
        assert self.client.poll() is None, self.said.read_text()

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.directory / "run.json").read_text())
        return record

    def comes_to_what_is_declared(self) -> None:
        """Wait for its end: the verdict is the series', and no test is counted twice."""
        assert self.client.wait(600) == 0, self.said.read_text()
        record = self.record
        assert (record["verdict"]["value"], record["status"]) == ("validated", "done")
        declared = yaml.safe_load((self.series / "expect.yaml").read_text())["suites"]["madvise_locked"]
        assert changes(record, "fixed", "arm64") == set(declared["fixed"])
        assert changes(record, "same", "arm64") == {*declared["same"], "(exit)"}
        assert set(collections.Counter(test["name"] for test in record["tests"]).values()) == {1}
        assert {test["change"] for test in record["tests"]} == {"fixed", "same"}
        assert [(guest["side"], guest["outcome"]) for guest in record["guests"]] == [("base", "ok"), ("patched", "ok")]
        assert not list(self.directory.rglob(".waiting-*"))


def test_two_workers_killed_in_a_build_and_with_their_guests_leave_the_verdict_that_the_series_declares(
    cluster: Cluster, copied: Path, tmp_path: Path
) -> None:
    before = base_file("mm/mincore.c")
    append_patch(copied, "mm: say", "mm/mincore.c", before, f"{before}/* {uuid.uuid4()} */\n")  # nobody has built it
    away = Away(cluster, copied, tmp_path / "run", tmp_path / "said")
    away.begin()
    log = away.directory / "patched" / "arm64-fast" / "build.log"
    cluster.start("one")
    away.heard("  CC  ", log)
    assert "make" in killed(cluster, "one")
    cluster.start("two")
    away.heard(IN_A_GUEST, away.said, 2)
    assert QEMU in killed(cluster, "two")
    cluster.start("three")
    away.comes_to_what_is_declared()
    tasks = [entry["task"] for entry in away.record["timeline"] if " on " in entry["task"]]
    assert tasks == ["build arm64-fast on two", "guests arm64-fast on three"]
    assert log.read_text().count("mm/madvise.o") == 1


def test_with_an_interrupted_client_its_guests_end_on_the_worker_and_attached_to_it_comes_to_the_declared_verdict(
    cluster: Cluster, tmp_path: Path
) -> None:
    away = Away(cluster, BUNDLED, tmp_path / "run", tmp_path / "said")
    cluster.start("one")
    away.begin()
    away.heard(IN_A_GUEST, away.said, 2)
    guests = [pid for pid, program in below(cluster.processes["one"].pid).items() if program == QEMU]
    assert len(guests) >= 2
    away.client.send_signal(signal.SIGINT)
    assert away.client.wait(60) == 130, away.said.read_text()
    cluster.until(lambda: QEMU not in below(cluster.processes["one"].pid).values(), "QEMU outlived the run")
    assert not [pid for pid in guests if Path("/proc", pid).exists()]
    assert (away.record["status"], away.record["verdict"]) == ("interrupted", None)
    away.go_on("attach", away.directory)
    away.comes_to_what_is_declared()
