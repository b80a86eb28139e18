"""Guests restored from a snapshot: pristine, of now, and each for itself; on real QEMU and real kernels."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import snapshot, ssh
from kvm.arch import ACCELS
from kvm.errors import GuestLost
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.snapshot import Snapshot
from tests.vm.conftest import LIMITS

pytestmark = pytest.mark.vm


def prepare(alive: Guest) -> None:
    done = alive.run("mkswap /dev/vda && swapon /dev/vda && echo kept >/tmp/kept", timeout=60)
    assert done.exit_status == 0, done.stderr


@pytest.fixture
def taken(proven: Machine, tmp_path: Path) -> Iterator[Snapshot]:
    with snapshot.take(proven, workdir=tmp_path / "boot", limits=LIMITS, prepare=prepare) as found:
        yield found


def said(alive: Guest, command: str) -> str:
    done = alive.run(command, timeout=60)
    assert done.exit_status == 0, done.stderr
    return done.stdout.decode().strip()


def children() -> set[str]:
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_restored_guest_has_what_was_prepared_and_nothing_of_another_one(taken: Snapshot, tmp_path: Path) -> None:
    with taken.restore(workdir=tmp_path / "one", limits=LIMITS) as one:
        assert said(one, "cat /tmp/kept; grep -c vda /proc/swaps") == "kept\n1"
        said(one, "echo spoiled >/tmp/kept; echo 3 >/proc/sys/vm/swappiness")
        said(one, "swapoff /dev/vda; dd if=/dev/zero of=/dev/vda bs=64k count=4")
    with taken.restore(workdir=tmp_path / "two", limits=LIMITS) as two:
        assert said(two, "cat /tmp/kept; grep -c vda /proc/swaps; cat /proc/sys/vm/swappiness") == "kept\n1\n60"
        assert said(two, "swapoff /dev/vda && swapon /dev/vda && echo whole") == "whole"


def test_a_guest_that_is_kept_goes_on_and_can_be_had_again_as_it_was(taken: Snapshot, tmp_path: Path) -> None:
    kept = tmp_path / "failed"
    with taken.restore(workdir=tmp_path / "one", limits=LIMITS) as one:
        said(one, "swapoff /dev/vda; echo on disk | dd of=/dev/vda; echo first >/tmp/first")
        one.keep(kept)
        said(one, "echo later >/tmp/later")
    for name in ("two", "three"):
        (tmp_path / name).mkdir()
        with snapshot.reopen(taken.machine, kept, workdir=tmp_path / name, limits=LIMITS) as again:
            assert (
                said(again, "cat /tmp/kept /tmp/first; head -n 1 /dev/vda; ls /tmp")
                == "kept\nfirst\non disk\nfirst\nkept"
            )
            assert abs(int(said(again, "date +%s")) - time.time()) < 5
            said(again, "echo spoiled >/tmp/first; dd if=/dev/zero of=/dev/vda bs=64k count=4")


def test_guests_restored_at_once_do_not_see_each_other(taken: Snapshot, tmp_path: Path) -> None:
    with (
        taken.restore(workdir=tmp_path / "one", limits=LIMITS) as one,
        taken.restore(workdir=tmp_path / "two", limits=LIMITS) as two,
    ):
        said(one, "echo one >/tmp/kept")
        assert said(two, "cat /tmp/kept") == "kept"
        assert said(one, "cat /tmp/kept") == "one"


def test_a_restored_guest_lives_now_and_draws_random_numbers_of_its_own(taken: Snapshot, tmp_path: Path) -> None:
    drawn, device = set(), list[str]()
    for number in range(3):
        time.sleep(2)  # the moment that was kept grows old, and that at which the next guest was made ready
        with taken.restore(workdir=tmp_path / str(number), limits=LIMITS) as alive:
            random, now = said(alive, "head -c 16 /dev/urandom | od -An -tx1; date +%s").splitlines()
            device += said(alive, "head -c 256 /dev/hwrng | od -An -v -tx4").split()  # the kernel keeps some of it
        assert abs(int(now) - time.time()) < 2
        drawn.add(random)
    assert len(drawn) == 3
    assert len(set(device)) == len(device) == 3 * 64


def test_what_runs_in_the_background_goes_on_in_every_restored_guest(machine: Machine, tmp_path: Path) -> None:
    def leave(alive: Guest) -> None:
        said(alive, "(while :; do date >/tmp/beat; sleep 0.1; done) >/dev/null 2>&1 &")

    with snapshot.take(machine, workdir=tmp_path / "boot", limits=LIMITS, prepare=leave) as kept:
        for name in ("one", "two"):
            with kept.restore(workdir=tmp_path / name, limits=LIMITS) as alive:
                said(alive, "rm -f /tmp/beat; until [ -s /tmp/beat ]; do sleep 0.05; done")


def test_each_restored_guest_has_ssh_keys_of_its_own(taken: Snapshot, tmp_path: Path) -> None:
    with (
        taken.restore(workdir=tmp_path / "one", limits=LIMITS) as one,
        taken.restore(workdir=tmp_path / "two", limits=LIMITS) as two,
    ):
        mine, other = one.open_ssh(), two.open_ssh()
        assert mine.keys.host != other.keys.host
        assert mine.port != other.port
        with other.log_in(60), pytest.raises(ssh.FAULTS), replace(mine, port=other.port).log_in(60):
            pass


def test_a_guest_that_dies_costs_one_restore(taken: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(GuestLost, match="panic"), taken.restore(workdir=tmp_path / "one", limits=LIMITS) as one:
        one.run("echo c >/proc/sysrq-trigger; sleep 60", timeout=60)
    with taken.restore(workdir=tmp_path / "two", limits=LIMITS) as two:
        assert said(two, "cat /tmp/kept") == "kept"
    assert "sysrq" in (tmp_path / "one" / "console.log").read_text(errors="replace")


def test_a_guest_that_dies_as_soon_as_it_is_restored_is_lost_with_its_console(machine: Machine, tmp_path: Path) -> None:
    def spoil(alive: Guest) -> None:
        said(alive, "printf '#!/bin/busybox ash\\necho c >/proc/sysrq-trigger\\n' >/tmp/sh && chmod 755 /tmp/sh")
        said(alive, "ln -sf /tmp/sh /bin/sh")

    dumped = replace(machine, vmcore=True)
    with (
        snapshot.take(dumped, workdir=tmp_path / "boot", limits=LIMITS, prepare=spoil) as kept,
        pytest.raises(GuestLost, match="panic") as fault,
        kept.restore(workdir=tmp_path / "one", limits=LIMITS),
    ):
        pass
    assert fault.value.kind == "panic"
    assert fault.value.log == tmp_path / "one" / "console.log"
    assert "sysrq" in fault.value.log.read_text(errors="replace")
    assert (tmp_path / "one" / "vmcore").stat().st_size


def test_a_guest_that_is_killed_while_it_waits_is_lost_and_the_next_one_is_not(
    machine: Machine, tmp_path: Path
) -> None:
    before = children()
    with snapshot.take(machine, workdir=tmp_path / "boot", limits=LIMITS) as kept:
        while not halted(children() - before):
            time.sleep(0.1)
        for pid in children() - before:
            os.kill(int(pid), signal.SIGKILL)
        with pytest.raises(GuestLost) as fault, kept.restore(workdir=tmp_path / "one", limits=LIMITS):
            pass
        assert fault.value.kind == "killed"
        with kept.restore(workdir=tmp_path / "two", limits=LIMITS) as two:
            assert said(two, "echo here") == "here"
    assert children() == before


def halted(pids: set[str]) -> bool:
    """Have these, if there are any, used no processor for a while?"""

    def ran() -> list[str]:
        return [" ".join(Path(f"/proc/{pid}/stat").read_text().split()[13:15]) for pid in pids]

    spent = ran()
    time.sleep(1)
    return bool(pids) and spent == ran()


def test_where_a_guests_clock_goes_on_while_it_waits_it_is_restored_when_it_is_wanted(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCELS, "tcg", replace(ACCELS["tcg"], halts=False))
    with snapshot.take(machine, workdir=tmp_path / "boot", limits=LIMITS, prepare=prepare) as kept:
        for name in ("one", "two"):
            with kept.restore(workdir=tmp_path / name, limits=LIMITS) as alive:
                assert said(alive, "cat /tmp/kept") == "kept"


def test_the_guest_that_waits_to_be_the_next_ends_with_the_snapshot(machine: Machine, tmp_path: Path) -> None:
    before = children()
    (tmp_path / "boot" / ".waiting-killed").mkdir(parents=True)
    with snapshot.take(machine, workdir=tmp_path / "boot", limits=LIMITS) as kept:
        for name in ("one", "two"):
            with kept.restore(workdir=tmp_path / name, limits=LIMITS) as alive:
                assert alive.console == tmp_path / name / "console.log"
                said(alive, "echo '<5>seen' >/dev/kmsg")
            assert "seen" in alive.console.read_text(errors="replace")
            assert (tmp_path / name / "qemu.log").exists()
    assert {path.name for path in (tmp_path / "boot").iterdir()} == {"console.log", "qemu.log", "qemu.sh"}
    assert children() == before


def test_a_steady_machine_measures_the_same_whatever_else_the_host_does(machine: Machine, tmp_path: Path) -> None:
    work = "cat /proc/uptime; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; cat /proc/uptime"
    spent, taken = [], 0.0
    with snapshot.take(machine.steady, workdir=tmp_path / "boot", limits=LIMITS) as kept:
        for name in ("one", "two", "three"):
            with kept.restore(workdir=tmp_path / name, limits=LIMITS) as alive, busy(name != "one"):
                before, after = said(alive, work).splitlines()
                spent.append(float(after.split()[0]) - float(before.split()[0]))
                began = time.monotonic()
                said(alive, "sleep 600")  # nobody waits for a clock that only instructions move
                taken = max(taken, time.monotonic() - began)
    assert max(spent) - min(spent) <= 0.02, spent  # its steps are of 0.01 s
    assert min(spent) > 0.02
    assert taken < 300


@contextlib.contextmanager
def busy(really: bool) -> Iterator[None]:
    """Give every processor of the host something else to do, too."""
    todo = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count() or 1) if really]
    try:
        yield
    finally:
        for one in todo:
            one.kill()
            one.wait()
