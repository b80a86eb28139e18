"""Three workers on hosts of their own, under TLS, and all that may happen to a lab in one run."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvm import proc
from orchestrator import store
from orchestrator.request import Request
from tests import clusters, network
from tests.clusters import Cluster
from tests.conftest import processes
from tests.flow.test_cluster_faults import SLOW, builds_take, run_words, started
from tests.flow.test_scripted import FAILS, PASSES, changes, request_for, suite, verdict  # noqa: F401  (fixtures)
from tests.network import Network

pytestmark = pytest.mark.long

WORKERS = ("one", "two", "three")
MINUTE = 60.0
MISSED_SECONDS = 120.0  # who is cut off is missed after a minute at the latest, and its errand begun anew


@pytest.fixture
def lab() -> Iterator[Network]:
    with network.of("scheduler", "client", *WORKERS) as hosts:
        yield hosts


@pytest.fixture
def cluster(lab: Network, tmp_path: Path) -> Iterator[Cluster]:
    host = lab.address("scheduler")
    with clusters.running(tmp_path / "cluster", *WORKERS, scheme="tls", host=host, at=lab.at) as started:
        yield started


def killed(cluster: Cluster) -> None:
    """Kill the worker that is busy; nothing that it does goes on, and it is started again."""
    [name] = cluster.busy()
    cluster.end(name, signal.SIGKILL)
    cluster.until(lambda: not processes(str(cluster.top / name)), f"{name}'s errand outlived it")
    cluster.start(name)


def test_three_hosts_of_which_each_has_its_accident_come_to_the_verdict_of_an_undisturbed_run(
    cluster: Cluster,
    lab: Network,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    builds_take(SLOW, fakelinux)
    (cluster.top / "hold").touch()
    asked, run, said = request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "run", tmp_path / "said"

    at = lab.at("client")
    gone = started(*run_words(cluster, asked, fakelinux, suite, run), log=said, at=at)
    cluster.until(lambda: bool(processes(SLOW)), "no build")
    killed(cluster)
    cluster.until(lambda: len(cluster.boots()) == 2, "no guest")
    killed(cluster)
    cluster.until(lambda: len(cluster.boots()) == 4, "no guest again")

    gone.kill()
    gone.wait()
    back = started("--cache-dir", asked.cache, "attach", run, log=said, at=at)
    cluster.end("scheduler", signal.SIGKILL)
    cluster.start("scheduler")
    cluster.until(lambda: len(cluster.boots()) == 6, "no guest after the scheduler's restart")

    [name] = cluster.busy()
    log = cluster.log(name)
    before = log.read_text().count("works for")
    lab.cut(name)
    proc.wait_readable([], MINUTE)
    cluster.until(lambda: len(cluster.boots()) == 8, f"nobody misses {name}", MISSED_SECONDS)
    lab.join(name)
    cluster.until(lambda: log.read_text().count("works for") > before, f"{name} does not work again", MISSED_SECONDS)
    (cluster.top / "hold").unlink()

    assert back.wait(60) == 0, said.read_text()
    told = store.load(run)
    assert changes(told) == {"first": "same", "second": "fixed", "(exit)": "same"}
    assert len(told.tests) == 3
    assert [(guest.side, guest.outcome) for guest in told.guests] == [("base", "ok"), ("patched", "ok")]
    assert verdict(told)[0] == "clean"
    assert len(cluster.boots()) == 8
