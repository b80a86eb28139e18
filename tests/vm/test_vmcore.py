"""What is left of a guest that panicked, when that was asked for."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.errors import GuestLost
from kvm.qemu import Machine
from tests.vm.conftest import booted
from tests.vm.test_guest import qemu_pids

pytestmark = pytest.mark.vm


def test_the_memory_of_a_guest_that_panics_is_a_core_that_readelf_and_gdb_read(
    machine: Machine, tmp_path: Path
) -> None:
    panics = pytest.raises(GuestLost, match="sysrq triggered crash")
    with booted(replace(machine, vmcore=True), tmp_path) as alive, panics as caught:
        alive.run("echo c >/proc/sysrq-trigger; sleep 60", timeout=60)
    assert caught.value.kind == "panic"
    assert qemu_pids(tmp_path) == []
    core = tmp_path / "vmcore"
    notes = subprocess.run(["readelf", "-hn", core], capture_output=True, text=True, check=True).stdout
    assert "CORE (Core file)" in notes
    assert notes.count("NT_PRSTATUS") == machine.cpus
    assert core.stat().st_blocks * 512 < machine.memory_mib << 20 < core.stat().st_size
    assert b"Kernel panic - not syncing: sysrq triggered crash" in core.read_bytes()
    said = subprocess.run(
        ["gdb-multiarch", "-nx", "--batch", "-ex", "info registers pc", "--core", core],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    assert "0xffff" in said  # in the kernel


def test_a_guest_that_reboots_leaves_no_core(machine: Machine, tmp_path: Path) -> None:
    with booted(replace(machine, vmcore=True), tmp_path) as alive, pytest.raises(GuestLost) as caught:
        alive.run("echo b >/proc/sysrq-trigger; sleep 60", timeout=60)
    assert caught.value.kind == "reboot"
    assert not (tmp_path / "vmcore").exists()
