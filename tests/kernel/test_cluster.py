"""The main job by way of a cluster, with real kernels and real guests, of whose workers two are killed."""

import collections
import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kvm import arch
from tests import clusters
from tests.clusters import Cluster, below
from tests.conftest import processes
from tests.flow.test_cluster_faults import started
from tests.kernel.conftest import append_patch, base_file
from tests.kernel.test_series import changes

pytestmark = pytest.mark.kernel
MOST_SECONDS = 3000.0  # where the cache has no base kernel yet


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


def test_two_workers_killed_in_a_build_and_with_their_guests_leave_the_verdict_that_the_series_declares(
    cluster: Cluster, copied: Path, tmp_path: Path
) -> None:
    before = base_file("mm/mincore.c")
    append_patch(copied, "mm: say", "mm/mincore.c", before, f"{before}/* {uuid.uuid4()} */\n")  # nobody has built it
    run, said = tmp_path / "run", tmp_path / "said"
    client = cluster.processes["client"] = started(
        *("run", copied, "--arch", "arm64", "--suite", "madvise_locked", "--out", run),
        *("--scheduler", cluster.url, "--store", cluster.top / "store", "--tls", cluster.top / "tls"),
        log=said,
    )

    def heard(words: str, file: Path, times: int = 1) -> None:
        cluster.until(
            lambda: client.poll() is not None or (file.exists() and file.read_text().count(words) >= times),
            f"no {words!r}",
            MOST_SECONDS,
        )
        assert client.poll() is None, said.read_text()

    log = run / "patched" / "arm64-fast" / "build.log"
    cluster.start("one")
    heard("  CC  ", log)
    assert "make" in killed(cluster, "one")
    cluster.start("two")
    heard("arm64-fast: madvise_locked", said, 2)
    assert arch.get("arm64").qemu in killed(cluster, "two")
    cluster.start("three")
    assert client.wait(600) == 0, said.read_text()

    record = json.loads((run / "run.json").read_text())
    assert (record["verdict"]["value"], record["status"]) == ("validated", "done")
    declared = yaml.safe_load((copied / "expect.yaml").read_text())["suites"]["madvise_locked"]
    assert changes(record, "fixed", "arm64") == set(declared["fixed"])
    assert changes(record, "same", "arm64") == {*declared["same"], "(exit)"}
    assert set(collections.Counter(test["name"] for test in record["tests"]).values()) == {1}
    assert {test["change"] for test in record["tests"]} == {"fixed", "same"}
    assert [(guest["side"], guest["outcome"]) for guest in record["guests"]] == [("base", "ok"), ("patched", "ok")]
    away = [entry["task"] for entry in record["timeline"] if " on " in entry["task"]]
    assert away == ["build arm64-fast on two", "guests arm64-fast on three"]
    assert log.read_text().count("mm/madvise.o") == 1
    assert not list(run.rglob(".waiting-*"))
