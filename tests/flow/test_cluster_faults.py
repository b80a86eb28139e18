"""Workers, scheduler and client end in the middle of a run: it comes to the same, and nothing is left or done twice."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from distributed import Client

from kvm import proc
from kvm.errors import InfraError, UserError
from orchestrator import job, pipeline, plan, store
from orchestrator.model import Run
from orchestrator.request import Request
from tests import clusters, scripted
from tests.clusters import Cluster
from tests.conftest import kdelta_argv, processes
from tests.flow.test_scripted import FAILS, PASSES, changes, request_for, suite, verdict  # noqa: F401  (fixtures)

pytestmark = pytest.mark.long

SLOW = "sleep 2.71828"  # what a build takes, and no other process here
ENDLESS = "sleep 2718.28"
HELD = "until [ -e /ccache/go ]; do sleep 0.1; done"  # by the test


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with clusters.running(tmp_path / "cluster") as started:
        yield started


class Running(threading.Thread):
    """A run on a cluster, beside the test that disturbs it."""

    def __init__(self, cluster: Cluster, asked: Request, directory: Path) -> None:
        super().__init__()
        self.cluster, self.asked, self.directory = cluster, asked, directory
        self.run_: Run | None = None
        self.seen: list[str] = []
        self.fault: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            todo = plan.make(self.asked)
            make = self.cluster.where().engine
            told = store.given_directory(self.directory)
            with job.start(todo, told, self._watch, scripted.take, make) as started:
                self.run_ = pipeline.validate(started)
        except BaseException as fault:
            self.fault = fault

    def _watch(self, cell: object, stage: str) -> None:
        self.seen.append(f"{cell} {stage}")

    def result(self) -> Run:
        self.join(120)
        assert self.run_, self.fault or "it hangs"
        return self.run_


def builds_take(what: str, fakelinux: Path, said: str = "") -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("@echo COMPILED;", f"@echo {said}; {what}; echo COMPILED;"))


def test_workers_killed_in_a_build_and_in_a_guest_and_a_scheduler_restarted_change_nothing(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    tmp_path: Path,
) -> None:
    builds_take(SLOW, fakelinux)
    hold = cluster.top / "hold"
    hold.touch()
    cluster.start("one")
    run = Running(cluster, request_for(FAILS, PASSES, arches=["arm64"], rerun={"pairs": 0}), tmp_path / "run")
    cluster.until(lambda: bool(processes(SLOW)), "no build")
    cluster.end("one", signal.SIGKILL)
    cluster.until(lambda: not processes(SLOW) and not processes(str(cluster.top / "one")), "make outlived its worker")
    cluster.start("two")
    cluster.until(lambda: len(cluster.boots()) == 2, "no guest")
    cluster.end("two", signal.SIGKILL)
    cluster.until(lambda: not processes(str(cluster.top / "two")), "a guest outlived its worker")
    cluster.start("three")
    cluster.until(lambda: len(cluster.boots()) == 4, "no guest again")
    cluster.end("scheduler", signal.SIGKILL)
    cluster.start("scheduler")
    cluster.until(lambda: len(cluster.boots()) == 6, "no guest after the scheduler's restart")
    hold.unlink()
    told = run.result()
    assert changes(told) == {"first": "same", "second": "fixed", "(exit)": "same"}
    assert len(told.tests) == 3
    assert [(guest.side, guest.outcome) for guest in told.guests] == [("base", "ok"), ("patched", "ok")]
    assert verdict(told)[0] == "clean"
    assert (tmp_path / "run" / "base" / "arm64-fast" / "build.log").read_text().count("COMPILED") == 1
    assert any("base/arm64-fast build" in line for line in run.seen)
    assert any("boot" in line for line in run.seen)


def test_a_worker_that_waits_for_a_scheduler_ends_when_it_is_told_to(cluster: Cluster) -> None:
    cluster.start("one")
    cluster.end("scheduler", signal.SIGKILL)
    cluster.until(lambda: cluster.log("one").read_text().count("Start worker at") == 2, "it does not begin again")
    cluster.end("one")


def started(*words: object, log: Path, at: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """Start kdelta as a process of its own, `at` what is put before a command to run it on a host."""
    argv = [*at, *kdelta_argv(*words)]
    with log.open("wb") as said:
        return subprocess.Popen(argv, cwd=log.parent, stdout=said, stderr=said, start_new_session=True)


def run_words(cluster: Cluster, asked: Request, fakelinux: Path, suite: Path, out: Path) -> list[object]:  # noqa: F811
    """The words of kdelta that have the cluster do what is asked, on arm64."""
    return [
        *("--cache-dir", asked.cache, "run", asked.pipeline.series, "--kernel", f"git:{fakelinux}", "--no-rerun"),
        *("--arch", "arm64", "--suite", suite, "--out", out),
        *("--scheduler", cluster.url, "--store", cluster.top / "store", "--tls", cluster.top / "tls"),
    ]


def test_a_run_whose_client_was_killed_is_attached_to_and_ends_on_the_worker_when_it_is_interrupted(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (cluster.top / "hold").touch()
    cluster.start("one")
    asked, run = request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "run"
    client = started(*run_words(cluster, asked, fakelinux, suite, run), log=tmp_path / "said")
    cluster.until(lambda: len(cluster.boots()) == 2, "no guest")
    client.kill()
    client.wait()

    again = started("attach", run, log=tmp_path / "said")
    cluster.until(lambda: "boot" in (tmp_path / "said").read_text(), "it is not attached")
    assert cluster.busy() == ["one"]
    assert len(cluster.boots()) == 2
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 130, (tmp_path / "said").read_text()
    cluster.until(lambda: not cluster.busy(), "the errand goes on")
    assert store.load(run).status == "interrupted"

    (cluster.top / "hold").unlink()
    last = started("attach", run, log=tmp_path / "said")
    assert last.wait(60) == 0, (tmp_path / "said").read_text()
    told = store.load(run)
    assert changes(told) == {"first": "same", "second": "fixed", "(exit)": "same"}
    assert len(told.tests) == 3
    assert verdict(told)[0] == "clean"
    assert len(cluster.boots()) == 4


def parent(pid: str) -> str:
    return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_what_make_says_is_heard_while_it_runs_and_with_the_client_s_run_it_ends(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
    signum: int,
) -> None:
    builds_take(ENDLESS, fakelinux, "COMPILES")
    cluster.start("one")
    words = run_words(cluster, request_for(FAILS, PASSES), fakelinux, suite, tmp_path / "run")
    client = started(*words, log=tmp_path / "said")
    heard = tmp_path / "run" / "base" / "arm64-fast" / "build.log"
    cluster.until(lambda: heard.exists() and "COMPILES" in heard.read_text(), "nothing is heard of make")
    recipe = [line.split()[0] for line in processes(ENDLESS)]
    build = {*recipe, *map(parent, recipe)}
    assert "make" in {Path("/proc", pid, "comm").read_text().strip() for pid in build}
    assert cluster.busy() == ["one"]
    client.send_signal(signum)
    assert client.wait(60) == 130, (tmp_path / "said").read_text()
    cluster.until(lambda: not any(Path("/proc", pid).exists() for pid in build), "make outlived the run")
    cluster.until(lambda: not cluster.busy(), "the errand goes on")


def test_an_errand_with_which_three_workers_died_is_given_up(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    tmp_path: Path,
) -> None:
    builds_take(SLOW, fakelinux)
    run = Running(cluster, request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "run")
    for name in ("one", "two", "three"):
        cluster.start(name)
        cluster.until(lambda: bool(processes(SLOW)), f"no build on {name}")
        cluster.end(name, signal.SIGKILL)
    run.join(60)
    assert isinstance(run.fault, InfraError)
    assert run.fault.message.startswith("build arm64: 3 workers died with it")
    proc.stop.clear()
    cluster.until(lambda: not processes(SLOW), "make outlived its worker")


def test_a_build_that_waits_for_a_worker_is_done_by_one_that_joins_in_the_middle_of_the_run(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    fakelinux: Path,
    tmp_path: Path,
) -> None:
    builds_take(HELD, fakelinux)
    cluster.start("one")
    run = Running(cluster, request_for(FAILS, PASSES, rerun={"pairs": 0}), tmp_path / "run")
    with Client(cluster.url, set_as_default=False) as dask:
        cluster.until(lambda: [len(errands) for errands in dask.processing().values()] == [2], "no two errands")
    cluster.until(lambda: bool(processes(HELD)), "no build")
    cluster.start("two")
    cluster.until(
        lambda: len(processes(HELD)) == 2 and sorted(cluster.busy()) == ["one", "two"], "two has nothing to do"
    )
    for name in ("one", "two"):
        (cluster.top / name / "ccache" / "go").touch()
    told = run.result()
    assert verdict(told)[0] == "clean"
    assert (len(told.builds), len(told.guests), len(told.tests)) == (4, 4, 6)


def test_a_worker_of_other_versions_is_given_nothing_and_one_that_comes_later_does_it_all(
    cluster: Cluster,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
) -> None:
    cluster.start("other", "kdelta of yesterday", "gcc 1.0")
    asked = request_for(FAILS, PASSES, arches=["arm64"], rerun={"pairs": 0})
    with (
        pytest.raises(UserError, match=r"no worker for build arm64 gcc .*there is .*kdelta of yesterday, gcc 1\.0"),
        job.start(
            plan.make(asked),
            store.given_directory(tmp_path / "no"),
            lambda *_: None,
            scripted.take,
            cluster.where(patience=1.0).engine,
        ) as started,
    ):
        pipeline.validate(started)
    proc.stop.clear()
    run = Running(cluster, asked, tmp_path / "run")
    cluster.start("same")
    assert verdict(run.result())[0] == "clean"
    assert not (cluster.top / "other").exists()
