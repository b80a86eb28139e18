"""Who may take part in a cluster, and what is asked of a worker."""

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from distributed import Client, Scheduler, Worker, get_worker

from kvm.errors import InfraError, UserError
from orchestrator.cluster import preload, tls
from orchestrator.cluster.ability import BUILD, GUESTS, MEMORY, Ability
from orchestrator.cluster.line import Line
from orchestrator.cluster.stealing import EXTENSIONS
from orchestrator.cluster.worker import Offer

KVM, TCG = (Ability(GUESTS, "x86_64", means, ("1",)) for means in ("kvm", "tcg"))
HERE: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


@pytest.mark.parametrize(
    "url", ["tcp://10.0.0.1:8786", "tcp://builder:8786", "tcp://0.0.0.0:8786", "10.0.0.1:8786", "ucx://h:1"]
)
def test_plaintext_that_leaves_this_machine_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without TLS"):
        tls.security(url, tmp_path)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_plaintext_within_this_machine_is_not(url: str, tmp_path: Path) -> None:
    assert tls.security(url, tmp_path) is None


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tcp://builder:8786"])
def test_a_worker_that_something_else_starts_is_not_made_ours_where_plaintext_leaves_its_machine(address: str) -> None:
    theirs: Any = SimpleNamespace(scheduler=SimpleNamespace(address=address))
    with pytest.raises(UserError, match="without TLS"):
        asyncio.run(preload.dask_setup(theirs))
    assert vars(theirs).keys() == {"scheduler"}


def test_tls_without_certificates_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file: .*ca\.pem") as fault:
        tls.security("tls://10.0.0.1:8786", tmp_path)
    assert "kdelta cluster init" in str(fault.value.hint)


def test_certificates_are_for_their_owner_and_signed_by_an_authority_whose_key_is_gone(tmp_path: Path) -> None:
    tls.make(tmp_path / "tls")
    assert {path.name for path in (tmp_path / "tls").iterdir()} == {tls.AUTHORITY, tls.CERTIFICATE, tls.KEY}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()} == {0o600}
    authority, one = (
        x509.load_pem_x509_certificate((tmp_path / "tls" / name).read_bytes())
        for name in (tls.AUTHORITY, tls.CERTIFICATE)
    )
    one.verify_directly_issued_by(authority)
    assert tls.security("tls://10.0.0.1:8786", tmp_path / "tls").require_encryption  # type: ignore[union-attr]
    with pytest.raises(UserError, match="holds certificates already"):
        tls.make(tmp_path / "tls")


def test_two_architectures_share_what_a_worker_does_at_once() -> None:
    offer = Offer((Ability(BUILD, "arm64", "gcc", ("1",)), Ability(BUILD, "x86_64", "gcc", ("1",))), builds=1, lanes=0)
    assert offer.resources[BUILD] == 1
    assert {value for name, value in offer.resources.items() if name.startswith(f"{BUILD}-")} == {1}
    assert offer.resources[GUESTS] == 0


def test_a_scheduler_that_is_not_there_is_waited_for_aloud_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    line = Line("tcp://127.0.0.1:1", None, patience=0.5)
    with pytest.raises(InfraError, match=r"no scheduler at tcp://127\.0\.0\.1:1 in 0\.5 s"):
        line.best([Ability(BUILD, "arm64", "gcc", ("1",))], 1)
    line.close()
    assert [one.message for one in caplog.records if one.name.startswith("orchestrator")] == [
        "no scheduler at tcp://127.0.0.1:1: it is waited for, 0.5 s at most"
    ]


def worker(url: str, name: str, able: Ability, mib: float) -> Worker:
    """A worker with so much memory, for the guests of two lanes at once."""
    offer = Offer((able,), builds=0, lanes=2)
    resources = {**offer.resources, MEMORY: mib}
    return Worker(url, name=name, nthreads=offer.threads, resources=resources, memory_limit=0, **HERE)


@contextlib.asynccontextmanager
async def lab() -> AsyncIterator[str]:
    """Lend the URL of a scheduler, a worker that has KVM, one that has not, and one with four times the memory."""
    async with (
        Scheduler(port=0, extensions=EXTENSIONS, **HERE) as scheduler,
        worker(scheduler.address, "kvm", KVM, 4096.0),
        worker(scheduler.address, "tcg", TCG, 4096.0),
        worker(scheduler.address, "large", TCG, 16384.0),
    ):
        yield scheduler.address


@pytest.mark.parametrize(("mib", "best"), [(4096.0, KVM), (4097.0, TCG)])
def test_guests_run_under_kvm_where_a_worker_with_kvm_has_the_memory(mib: float, best: Ability) -> None:
    async def found() -> Ability:
        async with lab() as url:
            with contextlib.closing(Line(url, None, patience=30.0)) as line:
                return await asyncio.to_thread(line.best, [KVM, TCG], mib)

    assert asyncio.run(found()) == best


@pytest.mark.parametrize(("wanted", "mib", "name"), [(KVM, 4096.0, "kvm"), (TCG, 4097.0, "large")])
def test_lanes_go_to_the_worker_that_has_all_they_take_however_many_wait_there(
    wanted: Ability, mib: float, name: str
) -> None:
    async def went() -> set[str]:
        async with lab() as url, Client(url, asynchronous=True) as client:
            lanes = [client.submit(where, lane, resources=wanted.takes(mib)) for lane in range(8)]
            return set(await client.gather(lanes))

    assert asyncio.run(went()) == {name}


def where(_lane: int) -> str:
    """On which worker this runs."""
    return str(get_worker().name)


def test_a_lane_that_waits_for_memory_goes_to_a_worker_that_joins() -> None:
    async def begun() -> list[int]:
        async with (
            Scheduler(port=0, extensions=EXTENSIONS, **HERE) as scheduler,
            worker(scheduler.address, "first", KVM, 4096.0) as first,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            lanes = [client.submit(asyncio.sleep, 60 + lane, resources=KVM.takes(3000.0)) for lane in range(2)]
            while len(first.state.tasks) < len(lanes):
                await asyncio.sleep(0.01)
            async with worker(scheduler.address, "second", KVM, 4096.0) as second:
                while not second.state.executing:
                    await asyncio.sleep(0.01)
                return [len(one.state.executing) for one in (first, second)]

    assert asyncio.run(asyncio.wait_for(begun(), 30)) == [1, 1]
