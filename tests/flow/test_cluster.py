"""Parts of a run done by workers, real processes on this machine: the story, and what it says, stay the same."""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

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


def test_what_a_worker_has_built_before_is_stored_as_well_where_the_store_has_it_not(
    on: Validate,
    request_for: Callable[..., Request],  # noqa: F811
    tmp_path: Path,
) -> None:
    class Near:
        """A line to one worker in this process."""

        def do(self, args: tuple[str, ...], *_: object) -> str:
            url, digest, name = args
            (tmp_path / name).mkdir()
            here = errand.Here(tmp_path / "worker", scripted.take)
            return errand.do(digest, Blobs(url), here, tmp_path / name, lambda *_: None)

        def best(self, abilities: list[Ability], _mib: float) -> Ability:
            return abilities[-1]

        def close(self) -> None:
            pass

    def away(name: str) -> Run:
        return on(
            lambda room: Distributed(room, cast(Line, Near()), Blobs(str(tmp_path / f"store-{name}"))), name, asked
        )

    asked = request_for(FAILS, PASSES, arches=["arm64"])
    first, again = away("first"), away("again")
    assert told(first) == told(again)
    assert [one.cached for one in again.builds] == [True, True]


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
