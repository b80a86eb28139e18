"""A run by way of a cluster, with real guests: their consoles are heard while they run, and they end with the run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import clusters
from tests.clusters import below
from tests.conftest import kdelta_argv
from tests.flow.test_cluster_faults import started

pytestmark = pytest.mark.vm

ENDLESS = "#!/bin/sh\nexec sleep 100000\n"
WORKERS = {
    "kdelta": kdelta_argv("worker", "--builds", 0, "--lanes", 1),
    "dask": [
        *(sys.executable, "-m", "distributed.cli.dask_worker", "--preload", "orchestrator.cluster.preload"),
        *("--no-nanny", "--no-dashboard", "--nthreads", "2"),
    ],
}


@pytest.mark.parametrize("which", WORKERS)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_guests_are_heard_while_they_run_and_end_with_the_run_that_is_given_up(
    which: str, signum: int, built: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDELTA_CACHE", str(shared_cache))
    (tmp_path / "endless").mkdir()
    (tmp_path / "endless" / "program").write_text(ENDLESS)
    (tmp_path / "endless" / "program").chmod(0o755)
    with clusters.running(tmp_path / "cluster") as cluster:
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [*WORKERS[which], cluster.url], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
            )
        cluster.processes["worker"] = worker
        client = started(
            *("run", "madv-dontneed-locked", "--arch", "arm64", "--suite", tmp_path / "endless", "--no-rerun"),
            *("--out", tmp_path / "run", "--scheduler", cluster.url, "--store", cluster.top / "store"),
            log=tmp_path / "said",
        )
        try:
            said = tmp_path / "said"
            cluster.until(lambda: said.read_text().count("arm64-fast: endless") == 2, "no guest", 300)
            consoles = [tmp_path / "run" / side / "arm64-fast" / "console.log" for side in ("base", "patched")]
            cluster.until(lambda: all("kdelta: ready" in one.read_text() for one in consoles), "no console is heard")
            guests = [pid for pid, program in below(worker.pid).items() if program.startswith("qemu-system")]
            assert len(guests) >= 2
            client.send_signal(signum)
            assert client.wait(60) == 130, said.read_text()
            cluster.until(lambda: not any(Path("/proc", pid).exists() for pid in guests), "a guest outlived the run")
            assert worker.poll() is None
        finally:
            client.kill()
