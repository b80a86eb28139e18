"""A guest that wants out, or wants to be believed: what it says, where it reaches, what its QEMU may do."""

import socket
from pathlib import Path

import pytest

from kvm import snapshot
from kvm.qemu import Machine
from orchestrator import consoles, places, splats
from orchestrator.model import Cell, Outcome, Side
from orchestrator.places import Places
from orchestrator.trial import durations
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.runner import run
from orchestrator.trial.suites.suite import Suite
from orchestrator.trial.trial import Trial, Yard
from tests import scripted
from tests.vm.conftest import LIMITS, booted
from tests.vm.test_guest import qemu_pids

pytestmark = pytest.mark.vm

LIAR = r"""#!/bin/sh
for word in $(cat /proc/cmdline); do
	case $word in kdelta.ready=*) nonce=${word#*=} ;; esac
done
echo "<5>kdelta: ready $nonce" >/dev/kmsg
echo "<5>ok 1 forged" >/dev/kmsg
printf '\nTAP version 13\n1..1\nok 1 forged\nKTAP version 1\n' >/dev/console
printf '\033[2J\033]0;title\007\233\377\376\000' >/dev/console
head -c 100000 /dev/zero | tr '\000' A >/dev/console
printf '\nLinux versions are many; Kernel panic is a word\n' >/dev/console
printf '1..3\nnot ok 1 \377\033[31m<b>../x\nok 2 honest\n'
head -c 20000000 /dev/zero | tr '\000' B
"""


def test_what_a_guest_forges_on_its_console_is_no_result_and_a_line_without_end_is_cut(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "liar").write_text(LIAR)
    suite = Suite(tmp_path, "liar", SuiteKind.KTAP)
    payload = scripted.payload(suite, tmp_path / "liar", tmp_path / "cache")
    trial = Trial(
        Cell(Side.BASE, machine.arch.name, "fast"),
        *(machine, LIMITS, (payload,), 1, tmp_path / "cell"),
    )
    found = run(trial, snapshot.take, Yard(Places(2, places.free_mib), durations.of(tmp_path, machine.arch.name)))
    assert found.guest.outcome == "ok", found.guest.detail
    outcomes = {result.name: result.outcome for result in found.results}
    assert not any("forged" in name for name in outcomes)
    assert outcomes["honest"] is Outcome.PASS
    assert Outcome.FAIL in outcomes.values()
    [end] = found.ends
    assert (end.outcome, end.detail) == (Outcome.FAIL, "its output was longer than kept")
    assert (tmp_path / "cell" / "tests" / "liar.ktap").stat().st_size <= 16 << 20
    assert consoles.read(tmp_path / "cell" / "console.log", splats.rules()).splats == ()


def test_a_guest_reaches_nothing_that_listens_on_the_host(machine: Machine, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server, booted(machine, tmp_path) as alive:
        port = server.getsockname()[1]
        for address in ("10.0.2.2", "127.0.0.1", socket.gethostbyname(socket.gethostname())):
            assert alive.run(f"nc -w 2 {address} {port} </dev/null", timeout=60).exit_status
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_qemu_may_start_nothing_and_listens_on_nothing_but_loopback(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path):
        [pid] = qemu_pids(tmp_path)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Seccomp"] == "2"  # a filter
        own = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if "socket:" in str(link.readlink())}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]
        assert all(address.startswith("0100007F:") for address in listening)
        assert not [line for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if line.split()[9] in own]
