"""Parts of a run done by workers, real processes on this machine: the story, and what it says, stay the same."""

import json
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from kvm import proc
from kvm.errors import InfraError
from orchestrator import engine, job, pipeline, plan, store
from orchestrator.cluster import errand, tls
from orchestrator.cluster.ability import Ability
from orchestrator.cluster.blobs import Blobs
from orchestrator.cluster.engine import Cluster as Distributed
from orchestrator.cluster.line import Line
from orchestrator.job import MakeEngine
from orchestrator.model import Run
from orchestrator.request import Request
from tests import clusters, s3, scripted
from tests.clusters import Cluster
from tests.flow.test_scripted import FAILS, PASSES, request_for, suite  # noqa: F401  (fixtures)

pytestmark = pytest.mark.long

Validate = Callable[..., Run]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3.bucket() as url:
        yield url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[Cluster]:
    with clusters.running(tmp_path_factory.mktemp("cluster"), "one", "two", scheme="tls") as started:
        yield started


@pytest.fixture
def on(tmp_path: Path) -> Validate:
    """Validate on an engine, each with a cache of its own."""

    def run(make: MakeEngine, name: str, asked: Request) -> Run:
        cache = shutil.copytree(Path(asked.cache), tmp_path / f"cache-{name}", symlinks=True)
        todo = plan.make(asked.model_copy(update={"cache": str(cache)}))
        directory = store.given_directory(tmp_path / name)
        with job.start(todo, directory, lambda *_: None, scripted.take, make) as started:
            return pipeline.validate(started)

    return run


def told(run: Run) -> object:
    """What both engines must say alike."""
    assert run.verdict
    return (
        (run.verdict.value, run.verdict.reasons, run.verdict.strength),
        [(one.side, one.arch, one.image_sha256, one.noop, one.error) for one in run.builds],
        [(one.side, one.arch, one.outcome, one.accel) for one in run.guests],
        [(one.name, one.arch, one.change, one.evidence) for one in run.tests],
    )


def files(directory: Path) -> set[str]:
    """What a run leaves."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("base", "patched", "arches", "in_s3"),
    [
        (FAILS, PASSES, ["x86_64", "arm64"], False),
        (PASSES, "program:\nsay 1..2\nsay ok 1 first\npanic\n", ["arm64"], True),
    ],
    ids=["fixed", "panics, by way of S3"],
)
def test_a_cluster_says_what_this_machine_says(  # noqa: PLR0917
    cluster: Cluster,
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
    base: str,
    patched: str,
    arches: list[str],
    in_s3: bool,
    bucket: str,
) -> None:
    other = shutil.copytree(tmp_path / "example", tmp_path / "other")
    (other / "suite.yaml").write_text("name: other\nkind: ktap\nsources: [main.c]\nargs: one\n")
    where = replace(cluster.where(), store=bucket) if in_s3 else cluster.where()
    asked = request_for(base, patched, arches=arches, suites=[str(tmp_path / "example"), str(other)])
    away, here = on(where.engine, "away", asked), on(engine.Engine, "here", asked)
    assert told(away) == told(here)
    assert files(tmp_path / "away") == files(tmp_path / "here")


class Near:
    """A line to one worker in this process, which keeps its files in `top`."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def do(self, args: tuple[str, ...], *_: object) -> str:
        url, digest, name = args
        here, directory = errand.Here(self._top / "worker", scripted.take), Path(tempfile.mkdtemp(dir=self._top))
        told = errand.do(digest, Blobs(url), here, directory, lambda *_: None)
        Blobs(url).name(f"told/{name}", told)
        return told

    def best(self, abilities: list[Ability], _mib: float) -> Ability:
        return abilities[-1]

    def close(self) -> None:
        pass

    def to(self, store: Path) -> MakeEngine:
        """An engine with this line, and that store."""
        return lambda room: Distributed(room, cast(Line, self), Blobs(str(store)))


def test_what_a_worker_has_built_before_is_stored_as_well_where_the_store_has_it_not(
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
) -> None:
    asked = request_for(FAILS, PASSES, arches=["arm64"])
    first, again = (on(Near(tmp_path).to(tmp_path / f"store-{name}"), name, asked) for name in ("first", "again"))
    assert told(first) == told(again)
    assert [one.cached for one in again.builds] == [True, True]


def named(top: Path, kind: str) -> list[Path]:
    """What the names of a kind lead to in a store."""
    digests = [path.read_text() for path in (top / "names" / kind).iterdir()]
    return [top / "sha256" / digest[:2] / digest for digest in digests]


@pytest.mark.parametrize("kind", ["trees", "builds"])
def test_what_was_tidied_up_in_the_store_is_stored_again(
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
    kind: str,
) -> None:
    asked, top = request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "store"
    first = on(Near(tmp_path).to(top), "first", asked)
    for path in named(top, kind):
        path.unlink()
    (tmp_path / "worker").rename(tmp_path / "another worker")
    again = on(Near(tmp_path).to(top), "again", asked)
    assert told(first) == told(again)
    assert all(path.is_file() for path in named(top, kind))
    assert [one.cached for one in again.builds] == [kind == "trees"] * 2


def test_what_is_used_from_the_store_is_not_old_there(
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
) -> None:
    asked, top = request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "store"
    on(Near(tmp_path).to(top), "first", asked)
    for path in filter(Path.is_file, top.rglob("*")):
        os.utime(path, (0, 0))
    again = on(Near(tmp_path).to(top), "again", asked)
    assert [one.cached for one in again.builds] == [True, True]
    assert all(path.stat().st_mtime > 0 for kind in ("trees", "builds") for path in named(top, kind))


class Twice(Near):
    """A line to a worker after one that had told of a guest, and died."""

    def do(self, args: tuple[str, ...], *more: object) -> str:
        cast(Callable[[object], None], more[-1])(
            {"log": "patched/arm64-fast/again/9/console.log", "at": 0, "text": "[    1.0] half a li"}
        )
        return super().do(args)


def test_what_a_worker_that_died_had_told_of_its_guests_is_not_in_the_run(
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
) -> None:
    asked = request_for(FAILS, PASSES, arches=["arm64"])
    runs = [on(one(tmp_path).to(tmp_path / one.__name__), f"by {one.__name__}", asked) for one in (Near, Twice)]
    assert [run.lines for run in runs] == [(), ()]
    assert files(tmp_path / "by Near") == files(tmp_path / "by Twice")


class Cut(Near):
    """A line that is cut when an errand is done, before what came of it is taken."""

    def do(self, args: tuple[str, ...], *_: object) -> str:
        super().do(args)
        raise InfraError("the client was killed")


@pytest.mark.parametrize("gone", ["told", "files", "builds"])
def test_an_errand_of_which_something_was_tidied_up_is_done_again_for_a_run_that_goes_on(
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
    gone: str,
) -> None:
    asked, top, run = request_for(FAILS, PASSES, arches=["arm64"]), tmp_path / "store", tmp_path / "run"
    begun = job.start(
        plan.make(asked), store.given_directory(run), lambda *_: None, scripted.take, Cut(tmp_path).to(top)
    )
    with pytest.raises(InfraError, match="was killed"), begun as of:
        pipeline.validate(of)
    proc.stop.clear()
    [told_] = named(top, "told")
    files = json.loads(told_.read_bytes())["files"]
    away = {"told": [told_], "files": [top / "sha256" / files[:2] / files], "builds": named(top, "builds")}
    for path in away[gone]:
        path.unlink()
    with job.resume(run, lambda *_: None, scripted.take, Near(tmp_path).to(top)) as of:
        ended = pipeline.go_on(of)
    assert ended.verdict and ended.verdict.value == "clean"
    assert all(path.is_file() for kind in ("told", "builds") for path in named(top, kind))


def answered(address: tuple[str, int], security: ssl.SSLContext | None) -> bool:
    """Does a server of the cluster talk to us?"""
    with socket.create_connection(address, timeout=30) as plain:
        try:
            with security.wrap_socket(plain) if security else plain as line:
                line.sendall(bytes(64))
                return bool(line.recv(1))
        except OSError:
            return False


def knowing(directory: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """A peer that trusts the cluster's authority, with a certificate of its own."""
    context = ssl.create_default_context(cafile=str(directory / tls.AUTHORITY))
    context.check_hostname = False
    if certificate:
        context.load_cert_chain(certificate / tls.CERTIFICATE, certificate / tls.KEY)
    return context


def test_who_has_no_certificate_of_the_cluster_is_answered_neither_by_scheduler_nor_worker(
    cluster: Cluster, tmp_path: Path
) -> None:
    ours = cluster.top / "tls"
    tls.make(tmp_path / "theirs")
    servers = [(cluster.host, cluster.port), *cluster.addresses("one", "two")]
    assert len(servers) == 3
    for server in servers:
        assert answered(server, knowing(ours, ours))
        assert not answered(server, None)
        assert not answered(server, knowing(ours))
        assert not answered(server, knowing(ours, tmp_path / "theirs"))
