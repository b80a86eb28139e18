"""What a guest promises, on real QEMU and real kernels of both architectures."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from kvm import cpio, proc, snapshot, ssh
from kvm.agent import Agent
from kvm.errors import BootError, GuestLost, InfraError, Interrupted
from kvm.qemu import Machine
from tests.conftest import ROOT
from tests.vm.conftest import LIMITS, booted

pytestmark = pytest.mark.vm


def qemu_pids(where: Path) -> list[int]:
    """The QEMU processes that have this directory's console open."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "fd" / "1").readlink() == where / "console.log":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_command_gives_status_stdout_and_stderr_apart(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        done = alive.run("echo out; echo err >&2; exit 37", timeout=30)
        assert (done.exit_status, done.stdout, done.stderr) == (37, b"out\n", b"err\n")
        killed = alive.run("kill -9 $$", timeout=30)
        assert killed.exit_status == 137
        alive.log_line("a mark")
    assert "kdelta: a mark" in (tmp_path / "console.log").read_text(errors="replace")
    assert qemu_pids(tmp_path) == []


def test_a_pushed_file_arrives_whole_and_executable(machine: Machine, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(4_000_000))
    with booted(machine, tmp_path) as alive:
        alive.push(blob, "/tmp/it's here")
        done = alive.run('sha256sum <"/tmp/it\'s here"; test -x /tmp/it* && echo x', timeout=60)
    digest = subprocess.run(["sha256sum"], input=blob.read_bytes(), capture_output=True, check=True).stdout
    assert done.stdout == digest + b"x\n"


def test_a_command_that_runs_out_of_time_is_killed_with_all_its_processes(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        done = alive.run("sleep 4321 & sleep 4321", timeout=1)
        assert done.timed_out
        assert alive.run("ps | grep -c '[s]leep 4321'", timeout=30).stdout == b"0\n"


def test_the_agent_outlives_a_command_that_is_killed_right_after_its_start(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        for timeout in (0.01, 0.1, 0.5) * 5:
            assert alive.run("sleep 60", timeout=timeout).timed_out
            assert alive.run("true", timeout=30).exit_status == 0


def test_the_agent_outlives_a_command_that_kills_all_and_one_that_takes_all_memory(
    machine: Machine, tmp_path: Path
) -> None:
    with booted(machine, tmp_path) as alive:
        assert alive.run("kill -9 -1; echo x", timeout=60).exit_status in (0, 137)
        alive.run("tail /dev/zero", timeout=60)
        assert alive.run("echo here", timeout=60).stdout == b"here\n"


def test_a_guest_whose_port_for_commands_is_gone_is_lost_at_once(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive, pytest.raises(GuestLost, match="closed its port") as caught:
        unbind = "echo early; cd /sys/bus/virtio/drivers/virtio_console; for d in virtio*; do echo $d >unbind; done"
        alive.run(f"{unbind}; sleep 60", timeout=60)
    assert (caught.value.kind, caught.value.stdout) == ("lost", b"early\n")


def test_people_and_tools_get_in_over_ssh_with_the_guests_own_keys(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        access = alive.open_ssh()
        assert alive.open_ssh() is access
        with access.log_in(60) as transport:
            channel = transport.open_session()
            channel.exec_command("echo over ssh; exit 3")
            assert (channel.makefile().read(), channel.recv_exit_status()) == (b"over ssh\n", 3)
        stranger = replace(access, keys=replace(access.keys, client=ssh.make_keys().client))
        with pytest.raises(ssh.FAULTS, match="Authentication failed"), stranger.log_in(60):
            pass
        assert alive.run("echo x", timeout=30).stdout == b"x\n"


def test_stdin_that_nobody_reads_is_no_fault(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        assert alive.run("exit 4", timeout=30, stdin=b"x" * (4 << 20)).exit_status == 4


def test_a_guest_whose_processors_qemu_does_not_run_is_no_hang_of_the_kernel(machine: Machine, tmp_path: Path) -> None:
    limits = replace(LIMITS, command_seconds=2)
    with booted(machine, tmp_path, limits) as alive:
        alive._vm.monitor.execute("stop")  # as an accelerator does that is at its wits' end
        words = r"not run the guest: paused; no answer for 2 s \(limits\.boot of 0\.5 s x 4\)"
        with pytest.raises(GuestLost, match=words) as caught:
            alive.run("true", timeout=1)
    assert caught.value.kind == "lost"


def test_a_qemu_that_crashes_is_told_from_one_that_was_killed(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        [pid] = qemu_pids(tmp_path)
        threading.Timer(0.5, os.kill, (pid, signal.SIGSEGV)).start()
        with pytest.raises(GuestLost, match="QEMU itself ended by SIGSEGV") as caught:
            alive.run("sleep 60", timeout=60)
    assert caught.value.kind == "lost"


def test_a_qemu_that_answers_no_more_is_no_hang_of_the_kernel(machine: Machine, tmp_path: Path) -> None:
    limits = replace(LIMITS, command_seconds=2)
    with booted(machine, tmp_path, limits) as alive:
        [pid] = qemu_pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(GuestLost, match="monitor did not answer for 5 s; no answer for 2 s") as caught:
            alive.run("true", timeout=1)
    assert caught.value.kind == "lost"
    assert time.monotonic() - started < 20  # it is not waited for like one that is busy


def test_a_program_under_which_the_guest_falls_silent_is_not_waited_for(machine: Machine, tmp_path: Path) -> None:
    limits = replace(LIMITS, silence_seconds=6)
    with booted(machine, tmp_path, limits) as alive:
        assert alive.run("sleep 9", timeout=60).exit_status == 0  # a silent program in a guest that lives
        [pid] = qemu_pids(tmp_path)
        threading.Timer(1, os.kill, (pid, signal.SIGSTOP)).start()
        with pytest.raises(GuestLost, match=r"silent for 6 s \(limits\.silence of 1\.5 s x 4\)") as caught:
            alive.run("echo before; sleep 600", timeout=600)
    assert (caught.value.kind, caught.value.stdout) == ("lost", b"before\n")


def test_a_guest_that_says_again_and_again_that_it_is_stuck_is_not_waited_for(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Agent, "ask", lambda _: None)  # one that gets no processor any more
    stuck = "echo '<0>watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cat:9]' >/dev/kmsg"
    limits, words = replace(LIMITS, silence_seconds=6), r"soft lockup - CPU#0 .*; silent for 6 s"
    with booted(machine, tmp_path, limits) as alive, pytest.raises(GuestLost, match=words) as caught:
        alive.run(f"while {stuck}; do sleep 1; done", timeout=600)
    assert caught.value.kind == "soft-lockup"


def test_a_stop_request_ends_the_wait_for_a_guest_that_does_not_answer(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        [pid] = qemu_pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, proc.stop.set).start()
        started = time.monotonic()
        with pytest.raises(Interrupted):
            alive.run("true", timeout=60)
        assert time.monotonic() - started < 2


def test_output_beyond_the_limit_is_cut_and_said(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:
        done = alive.run("head -c 3000000 /dev/zero", timeout=60, output_limit=1000)
    assert (len(done.stdout), done.truncated) == (1000, True)


def test_a_panic_under_a_command_is_reported_within_two_seconds_with_what_was_said(
    machine: Machine, tmp_path: Path
) -> None:
    with booted(machine, tmp_path) as alive, pytest.raises(GuestLost) as caught:
        alive.run("echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 60", timeout=60)
    assert time.time() - (tmp_path / "console.log").stat().st_mtime < 2
    assert caught.value.kind == "panic"
    assert "sysrq triggered crash" in caught.value.message
    assert caught.value.stdout == b"before\n"
    assert caught.value.log == tmp_path / "console.log"


def test_a_qemu_that_is_killed_says_so_at_once(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive, pytest.raises(GuestLost) as caught:
        [pid] = qemu_pids(tmp_path)
        threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
        started = time.monotonic()
        alive.run("sleep 60", timeout=60)
    assert time.monotonic() - started < 4
    assert caught.value.kind == "killed"


def test_a_kernel_that_panics_at_boot_says_so_at_once(machine: Machine, tmp_path: Path) -> None:
    nothing = tmp_path / "not-an-archive"
    nothing.write_bytes(b"x" * 512)
    with pytest.raises(BootError) as caught, booted(replace(machine, initrd=nothing), tmp_path):
        pass
    assert caught.value.kind == "panic"
    assert "panic: VFS: Unable to mount root fs" in caught.value.message
    assert str(tmp_path / "boot" / "qemu.sh") in (caught.value.hint or "")


def test_a_kernel_that_is_never_ready_is_a_hang_at_its_deadline(machine: Machine, tmp_path: Path) -> None:
    mute = tmp_path / "mute.cpio"
    sleeper = cpio.file("init", b"#!/bin/busybox sh\nexec /bin/busybox sleep 3600\n", 0o755)
    mute.write_bytes(machine.initrd.read_bytes() + cpio.archive([sleeper]))
    machine, limits = replace(machine, initrd=mute), replace(LIMITS, boot_seconds=8)
    late = pytest.raises(BootError, match=r"not ready after 8 s \(limits\.boot of 2 s x 4\)")
    with late as caught, snapshot.take(machine, workdir=tmp_path, limits=limits):
        pass
    assert caught.value.kind == "hang"
    assert qemu_pids(tmp_path) == []


def test_a_qemu_that_does_not_start_is_no_fault_of_the_kernel(machine: Machine, tmp_path: Path) -> None:
    machine = replace(machine, image=tmp_path / "none")
    with pytest.raises(InfraError, match="QEMU did not start"), booted(machine, tmp_path):
        pass


def test_two_guests_at_once_do_not_disturb_each_other(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path / "a") as one, booted(machine, tmp_path / "b") as other:
        one.run("touch /tmp/mine", timeout=30)
        assert other.run("test -e /tmp/mine", timeout=30).exit_status == 1


def test_a_stop_request_ends_a_command_and_leaves_no_process(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(Interrupted), booted(machine, tmp_path) as alive:
        threading.Timer(0.5, proc.stop.set).start()
        alive.run("sleep 60", timeout=60)
    assert qemu_pids(tmp_path) == []


def test_a_guest_dies_with_the_process_that_booted_it(machine: Machine, tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom kvm import snapshot\nfrom kvm.arch import get\n"
        "from kvm.qemu import Machine\nfrom kvm.vm import Limits\n"
        f"m = Machine(get({machine.arch.name!r}), Path({str(machine.image)!r}), Path({str(machine.initrd)!r}), 'tcg')\n"
        f"w, l = Path({str(tmp_path)!r}), Limits(120, 60, 60)\n"
        "with snapshot.take(m, workdir=w / 'boot', limits=l) as kept, kept.restore(workdir=w, limits=l) as g:\n"
        "    print('up', flush=True); g.run('sleep 60', timeout=60)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        assert qemu_pids(tmp_path)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 5
    while qemu_pids(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert qemu_pids(tmp_path) == []


def test_qemu_sh_boots_the_same_kernel_by_hand(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path):
        pass
    by_hand = pexpect.spawn(str(tmp_path / "qemu.sh"), timeout=120)
    try:
        by_hand.expect("/ # ")
        by_hand.send("cat /sys/block/vda/size\r")
        by_hand.expect(f"{machine.disk_mib << 11}\r")
        by_hand.send("exit\r")
        by_hand.expect(pexpect.EOF)
    finally:
        by_hand.close(force=True)


@pytest.mark.parametrize("full", ["results", "scratch"])
def test_a_host_whose_disk_is_full_is_not_taken_for_a_kernel_that_hangs(
    machine: Machine, tmp_path: Path, full: str
) -> None:
    small, where = tmp_path / "small", tmp_path / "run"
    small.mkdir()
    if full == "results":  # QEMU drops the kernel's words: the ready line never comes
        size, where, scratch = 8192, small / "run", tmp_path
    else:  # QEMU stops a guest whose disk it cannot write
        size, scratch = machine.initrd.stat().st_size + (1 << 20), small
    script = (
        "import sys\nfrom pathlib import Path\nfrom kvm import snapshot\nfrom kvm.arch import get\n"
        "from kvm.errors import InfraError\nfrom kvm.qemu import Machine\nfrom kvm.vm import Limits\n"
        f"m = Machine(get({machine.arch.name!r}), Path({str(machine.image)!r}), Path({str(machine.initrd)!r}), 'tcg',\n"
        "    memory_mib=256, disk_mib=16)\n"
        "try:\n"
        f"    w, l = Path({str(where)!r}), Limits(20, 20, 5)\n"
        "    with snapshot.take(m, workdir=w / 'boot', limits=l) as kept, kept.restore(workdir=w, limits=l) as g:\n"
        "        g.run('dd if=/dev/zero of=/dev/vda bs=1M count=16', timeout=5)\n"
        "except InfraError as fault:\n"
        "    sys.exit(fault.message)\n"
    )
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", small, sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the disk that holds {small}" in done.stderr
    assert "is full" in done.stderr


def test_a_guest_that_sleeps_is_not_taken_for_one_that_hears_nothing(machine: Machine, tmp_path: Path) -> None:
    with booted(machine, tmp_path) as alive:  # its idle loop has interrupts off, on arm64, and wakes up now and then
        said = {alive._vm.hang("no answer").fate for _ in range(20)}
    assert said == {"hang"}
