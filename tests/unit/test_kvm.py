"""The parts of kvm that need no QEMU."""

import errno
import itertools
import platform
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from inotify_simple import INotify

from kvm import cpio, fate, proc, qemu, root, ssh, state
from kvm.arch import ARCHES
from kvm.console import Console, Event
from kvm.errors import InfraError, Interrupted, UserError
from kvm.fate import Fate, Trouble
from kvm.qemu import Machine
from kvm.qmp import Monitor
from kvm.root import Form, Root
from kvm.vm import Limits
from orchestrator import config
from orchestrator.model import GuestOutcome

CHANNELS = ("-serial chardev:console",)


@pytest.mark.parametrize("accel", ["tcg", "kvm", "icount"])
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_whole_command_line_of_each_architecture_under_each_accelerator(arch: str, accel: str) -> None:
    program, machine, console = {
        "x86_64": (
            "qemu-system-x86_64",
            ("-machine", "q35", "-bios", "qboot.rom"),
            "console=ttyS0 earlyprintk=serial,ttyS0,115200 no_timer_check",
        ),
        "arm64": ("qemu-system-aarch64", ("-machine", "virt,gic-version=max"), "console=ttyAMA0 earlycon"),
    }[arch]
    chosen = {
        "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max"),
        "kvm": ("-accel", "kvm", "-cpu", "host"),
        "icount": ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max"),
    }[accel]
    described = Machine(ARCHES[arch], Path("/r/image"), Path("/r/initrd"), accel, memory_mib=512, cpus=2, disk_mib=64)
    assert qemu.argv(described, words="x=1", channels=CHANNELS, disk=Path("/t/a,b")) == [
        program,
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        "-no-reboot",
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"),
        *machine,
        *chosen,
        *("-smp", "2"),
        *("-m", "512"),
        *("-netdev", "user,id=net,restrict=on"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *("-serial", "chardev:console"),
        *("-drive", "if=none,id=disk,format=raw,cache=unsafe,file=/t/a,,b"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-kernel", "/r/image"),
        *("-initrd", "/r/initrd"),
        *("-append", f"{console} panic=-1 printk.devkmsg=on x=1"),
    ]


@pytest.mark.parametrize(
    ("form", "devices"),
    [
        (
            Form.DIRECTORY,
            [
                *("-fsdev", "local,id=root,security_model=none,readonly=on,path=/a,,b"),
                *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
            ],
        ),
        (
            Form.QCOW2,
            [
                *("-drive", "if=none,id=root,format=qcow2,snapshot=on,file=/a,,b"),
                *("-device", "virtio-blk-pci,drive=root,serial=kdelta-root"),
            ],
        ),
    ],
)
def test_a_root_is_a_device_that_is_never_written_and_with_vmcore_a_panic_ends_nothing(
    form: Form, devices: list[str]
) -> None:
    plain = Machine(ARCHES["arm64"], Path("/i"), Path("/r"), "tcg")
    rooted = replace(plain, root=Root(Path("/a,b"), form), vmcore=True)
    before, after = (qemu.argv(machine, words="", channels=CHANNELS) for machine in (plain, rooted))
    at = before.index("-kernel")
    assert after == [*before[:at], *devices, *before[at:-1], before[-1].replace("panic=-1", "panic=0")]


def test_a_root_is_what_is_found_there_and_what_can_be_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(b"QFI\xfb")
    (tmp_path / "r").write_bytes(b"\0" * 512)
    arm64, x86_64 = ARCHES["arm64"], ARCHES["x86_64"]
    assert [root.find(str(path), arm64).form for path in (tmp_path, tmp_path / "q", tmp_path / "r")] == [
        *("directory", "qcow2", "raw")
    ]
    own, foreign = (x86_64, arm64) if platform.machine() == x86_64.host else (arm64, x86_64)
    assert root.find("host", own) == Root(Path("/"), Form.DIRECTORY)
    with pytest.raises(UserError, match="cannot run programs of this host"):
        root.find("host", foreign)
    with pytest.raises(UserError, match="No such file"):
        root.find(str(tmp_path / "gone"), arm64)


@pytest.mark.parametrize("name", ARCHES)
def test_an_architecture_is_a_row_and_a_fragment(name: str) -> None:
    assert config.fragments(name, "fast")[1].is_file()
    machine = Machine(ARCHES[name], Path("/i"), Path("/r"), "tcg")
    assert qemu.argv(machine, words="", channels=CHANNELS)[0] == f"qemu-system-{ARCHES[name].host}"


def test_two_disks_are_parts_of_one_file_that_neither_locks_out_for_the_other() -> None:
    machine = Machine(ARCHES["arm64"], Path("/r/image"), Path("/r/initrd"), "tcg", disk_mib=64, more_mib=16)
    words = qemu.argv(machine, words="", channels=CHANNELS, disk=Path("/t/d"))
    drives = [word for flag, word in itertools.pairwise(words) if flag == "-drive"]
    assert drives == [
        f"if=none,id={name},format=raw,offset={start << 20},size={size << 20},file.locking=off,cache=unsafe,file=/t/d"
        for name, start, size in (("disk", 0, 64), ("more", 64, 16))
    ]


def test_qemu_sh_names_its_own_directory_relatively_and_is_a_shell_script(tmp_path: Path) -> None:
    machine = Machine(ARCHES["x86_64"], tmp_path / "image", tmp_path / "initramfs.cpio", "tcg")
    text = qemu.script(machine, tmp_path)
    assert "-kernel image -initrd initramfs.cpio" in text
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_the_cpio_archive_is_read_by_cpio() -> None:
    entries = [
        cpio.directory("d"),
        cpio.file("d/f", b"abc", 0o755),
        cpio.link("l", "/d"),
        cpio.character_device("c", 5, 1),
    ]
    packed = cpio.archive(entries)
    listing = subprocess.run(["cpio", "-tv", "--quiet"], input=packed, capture_output=True, check=True).stdout.decode()
    assert [line.split()[0] for line in listing.splitlines()] == [
        "drwxr-xr-x",
        "-rwxr-xr-x",
        "lrwxrwxrwx",
        "crw-------",
    ]
    assert "l -> /d" in listing
    assert packed == cpio.archive(entries)


def test_keys_are_fresh_and_in_dropbears_format() -> None:
    one, other = ssh.make_keys(), ssh.make_keys()
    assert one.dropbear != other.dropbear
    assert one.dropbear.startswith(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x40")
    assert one.authorized.startswith("ssh-ed25519 AAAA")


def follow(
    tmp_path: Path, script: str, timeout: float = 10.0, *, lent: bool = False, boots: bool = True
) -> tuple[Event, Console]:
    """Let a process write a console in its own time and follow it to the first event."""
    log = tmp_path / "console.log"
    with log.open("wb") as out, proc.spawn([sys.executable, "-c", script], stdout=out.fileno()) as process:
        console = Console(log, process, "n0")
        console.lent, console.boots = lent, boots
        try:
            return console.wait(timeout), console
        finally:
            console.close()


SAY = "import sys, time\ndef say(b, s=0): sys.stdout.buffer.write(b); sys.stdout.flush(); time.sleep(s)\n"


def test_the_ready_line_counts_only_with_the_nonce(tmp_path: Path) -> None:
    event, _ = follow(tmp_path, SAY + "say(b'[ 1.0] kdelta: ready n1\\nkdelta.ready=n0\\n')\n")
    assert event is Event.END
    event, _ = follow(tmp_path, SAY + "say(b'[    1.0] kdelta: rea', .2); say(b'dy n0\\r\\n', 5)\n")
    assert event is Event.READY


@pytest.mark.parametrize("what", ["INotify", "INotify.add_watch"])
def test_where_no_more_files_can_be_watched_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def none_left(*_: object) -> INotify:
        raise OSError(errno.EMFILE, "so many and no more")

    monkeypatch.setattr(f"kvm.growth.{what}", none_left)
    event, _ = follow(tmp_path, SAY + "say(b'[    1.0] kdelta: rea', .2); say(b'dy n0\\r\\n', 5)\n")
    assert event is Event.READY
    event, _ = follow(tmp_path, SAY + "say(b'nothing\\n', 5)\n", timeout=0.2)
    assert event is Event.QUIET


def test_a_panic_is_seen_at_once_and_only_at_the_start_of_a_line(tmp_path: Path) -> None:
    started = time.monotonic()
    event, console = follow(tmp_path, SAY + "say(b'a\\n[    2.5] Kernel panic - not syncing: VFS: no root\\n', 30)\n")
    assert (event, console.trouble) == (Event.TROUBLE, Trouble(Fate.PANIC, "VFS: no root"))
    assert time.monotonic() - started < 25
    event, _ = follow(tmp_path, SAY + "say(b'test says Kernel panic - not syncing: no\\n')\n")
    assert event is Event.END


def test_a_panic_in_the_middle_of_a_line_is_seen_and_one_that_is_quoted_is_none(tmp_path: Path) -> None:
    said = r"[ 12.3] usb\nlogin: [ 13.0] Kernel panic - not syncing: oh\n"
    event, console = follow(tmp_path, SAY + f"say(b'{said}', 30)\n")
    assert (event, console.trouble) == (Event.TROUBLE, Trouble(Fate.PANIC, "oh"))
    said = r"it said [ 1.0] Kernel panic - not syncing: oh\n"
    event, _ = follow(tmp_path, SAY + rf"say(b'[ 12.3] usb\n', .2); say(b'{said}')")
    assert event is Event.END


def test_a_panic_at_the_front_of_a_long_report_is_not_overlooked(tmp_path: Path) -> None:
    event, console = follow(
        tmp_path, SAY + "say(b'\\nKernel panic - not syncing: early\\n' + b'Call Trace: and so on\\n' * 20000)\n"
    )
    assert (event, console.trouble) == (Event.TROUBLE, Trouble(Fate.PANIC, "early"))


def test_a_flood_without_a_line_end_is_followed_and_not_kept(tmp_path: Path) -> None:
    event, console = follow(tmp_path, SAY + "say(b'\\xff' * 20_000_000); say(b'\\nlast\\n')\n", timeout=60)
    assert event is Event.END
    assert console.last_line == "last"


def test_a_quiet_console_ends_the_wait_at_its_deadline(tmp_path: Path) -> None:
    event, _ = follow(tmp_path, SAY + "say(b'', 30)\n", timeout=0.3)
    assert event is Event.QUIET


def test_a_stop_request_ends_every_wait() -> None:
    proc.stop.set()
    with pytest.raises(Interrupted):
        proc.run(["sleep", "30"])


def test_a_monitor_that_says_nothing_says_how_long_it_was_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b'{"QMP": {}}\n{"return": {}}\n')
        with Monitor(ours, timeout=0.1) as monitor:
            with pytest.raises(InfraError, match=r"did not answer for 0\.1 s$"):
                monitor.execute("query-status")
            with pytest.raises(InfraError, match=r"did not answer for 0\.2 s$"):
                monitor.await_event("STOP", 0.2)
            limits = Limits(boot_seconds=1, scale=4)
            with pytest.raises(InfraError, match=r"did not answer for twice 1 s \(limits\.boot of 0\.25 s x 4\)$"):
                state._finish(monitor, limits)


def test_a_timeout_ends_the_whole_group_and_says_so() -> None:
    done = proc.run(["sh", "-c", "sleep 31.7 & sleep 31.7"], timeout=0.2)
    assert done.timed_out
    assert subprocess.run(["pgrep", "-f", "sleep 31.7"], check=False).returncode == 1


def test_a_missing_program_is_the_users_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-program is not installed"):
        proc.run(["no-such-program"])
    (tmp_path / "no-such-program").write_text("nothing that runs")
    with pytest.raises(UserError, match="no-such-program is not installed"):  # what exec says is EACCES
        proc.run(["no-such-program"], env={"PATH": str(tmp_path)})


def test_a_lockup_is_an_alarm_that_ends_no_wait_and_is_said_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lockup = "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:88]"
    event, console = follow(tmp_path, SAY + f"say(b'[ 48.1] {lockup}\\n[ 49.0] INFO: task a:7 blocked for more than')")
    assert (event, console.trouble) == (Event.END, None)
    assert console.alarm == Trouble(Fate.SOFT_LOCKUP, "soft lockup - CPU#1 stuck for 22s! [x:88]")
    assert "soft-lockup: soft lockup - CPU#1" in caplog.text


def test_a_triple_fault_is_told_from_a_reboot_where_qemu_tells() -> None:
    assert fate.of_end("guest-reset", 0).fate is Fate.REBOOT
    assert fate.of_end("guest-reset", 0, b"CPU Reset (CPU 0)\nTriple fault\n").fate is Fate.TRIPLE_FAULT
    assert fate.of_end("guest-shutdown", 0, b"Triple fault\n").fate is Fate.POWEROFF


def test_a_qemu_that_ends_without_a_reason_was_killed_or_says_why() -> None:
    assert fate.of_end(None, -9, b"Triple fault\n") == Trouble(Fate.KILLED, "QEMU was killed")
    assert fate.of_end("host-signal", 0).fate is Fate.KILLED
    assert fate.of_end(None, -6, b"kvm_run failed\n") == Trouble(
        Fate.LOST, "QEMU itself ended by SIGABRT: kvm_run failed"
    )
    assert fate.of_end(None, 1).words == "QEMU itself ended with exit status 1"


LINES = {
    "[   31.0] Kernel panic - not syncing: System is deadlocked on memory": Trouble(
        Fate.PANIC, "out of memory: System is deadlocked on memory"
    ),
    "[   31.0] Out of memory (oom_kill_allocating_task): Killed process 91 (tail) total-vm:1kB": Trouble(
        Fate.OUT_OF_MEMORY, "Out of memory (oom_kill_allocating_task): Killed process 91 (tail) total-vm:1kB"
    ),
    "[   12.3] Kernel panic - not syncing: Fatal exception": Trouble(Fate.PANIC, "Fatal exception"),
    "[   12.3][  T123] Kernel panic - not syncing: VFS: no root": Trouble(Fate.PANIC, "VFS: no root"),
    "Kernel panic - not syncing": Trouble(Fate.PANIC, "no reason given"),
    "[   48.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:88]": Trouble(
        Fate.SOFT_LOCKUP, "soft lockup - CPU#1 stuck for 22s! [x:88]"
    ),
    "[   10.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0": Trouble(
        Fate.HARD_LOCKUP, "Watchdog detected hard LOCKUP on cpu 0"
    ),
    "[   10.0] watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1": Trouble(
        Fate.HARD_LOCKUP, "Watchdog detected hard LOCKUP on cpu 1"
    ),
    "[   25.0] rcu: INFO: rcu_sched self-detected stall on CPU": Trouble(
        Fate.RCU_STALL, "rcu_sched self-detected stall on CPU"
    ),
    "[   25.0] rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }": Trouble(
        Fate.RCU_STALL, "rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }"
    ),
    "[  243.5] INFO: task sh:77 blocked for more than 120 seconds.": Trouble(
        Fate.HUNG_TASK, "task sh:77 blocked for more than 120 seconds."
    ),
    "[   31.0] Out of memory: Killed process 91 (tail) total-vm:1kB": Trouble(
        Fate.OUT_OF_MEMORY, "Out of memory: Killed process 91 (tail) total-vm:1kB"
    ),
    "[   31.0] Memory cgroup out of memory: Killed process 91 (tail)": None,
    "[    1.0] test: soft lockup - nothing of the kind": None,
    "[    1.0] rcu: \tOffload RCU callbacks, no stalls on CPUs": None,
    "command line: x=Kernel panic - not syncing": None,
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_console_tells_of_its_trouble_or_of_none(line: str) -> None:
    assert fate.of_line(line.encode()) == LINES[line]


def test_a_second_banner_is_a_reboot(tmp_path: Path) -> None:
    banner = "[    0.000000] Linux version 6.1.0 (x@y) #1\\n"
    event, _ = follow(tmp_path, SAY + f"say(b'{banner}some words, and Linux version 6 named\\n')\n")
    assert event is Event.END
    event, console = follow(tmp_path, SAY + f"say(b'{banner}...\\n{banner}', 30)\n")
    assert console.trouble
    assert (event, console.trouble.fate) == (Event.TROUBLE, Fate.REBOOT)


def test_in_a_guest_that_was_restored_the_first_banner_is_a_reboot_and_one_that_was_written_later_is_none(
    tmp_path: Path,
) -> None:
    for stamp, wanted in (("    0.000000", Event.TROUBLE), ("   12.500000", Event.END)):
        banner = f"[{stamp}] Linux version 6.1.0 (x@y) #1\\n"
        event, _ = follow(tmp_path, SAY + f"say(b'[   12.000000] words\\n{banner}')\n", boots=False)
        assert event is wanted, stamp


def test_a_person_may_have_the_banner_said_again(tmp_path: Path) -> None:
    banner = r"[    0.000000] Linux version 6.1.0 (x@y) #1\n"
    event, _ = follow(tmp_path, SAY + f"say(b'{banner}{banner}')\n", lent=True)
    assert event is Event.END


def test_a_flood_ends_the_wait(tmp_path: Path) -> None:
    event, console = follow(tmp_path, SAY + "while True: say((b'x' * 99 + b'\\n') * 10000)\n", 60)
    assert console.trouble
    assert (event, console.trouble.fate) == (Event.TROUBLE, Fate.FLOOD)
    assert console.path.stat().st_size > 100_000_000


def test_the_last_words_count_even_if_they_were_cut_off(tmp_path: Path) -> None:
    event, console = follow(tmp_path, SAY + "say(b'[ 1.0] Kernel panic - not syncing: cut')\n")
    assert (event, console.trouble) == (Event.TROUBLE, Trouble(Fate.PANIC, "cut"))


def test_every_fate_is_an_outcome_of_a_guest() -> None:
    assert {*map(str, Fate)} | {"ok", "console-cut", "disk-full"} == {*map(str, GuestOutcome)}


X86 = "RIP={0:016x} RFL={1:08x} [--S--P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
X86_32 = "EIP={0:08x} EFL={1:08x} [--S--P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
ARM64 = " PC={0:016x} X00=0000000000000000\nPSTATE={1:08x} N--C EL1h\n"
RISCV64 = " pc       {0:016x}\n mhartid  0000000000000002\n mstatus  {1:016x}\n vsstatus 0000000a00000000\n"


@pytest.mark.parametrize(
    ("form", "off", "on"),
    [
        (X86, 0x86, 0x286),
        (X86_32, 0x46, 0x246),
        (ARM64, 0xA00000C5, 0x5),
        (RISCV64, 0x8000000A00006180, 0x8000000A00006182),
    ],
)
def test_a_guest_hears_nothing_when_every_cpu_has_interrupts_off(form: str, off: int, on: int) -> None:
    assert fate.interrupts_off(form.format(1, off) + form.format(2, off))
    assert not fate.interrupts_off(form.format(1, off) + form.format(2, on))
    assert not fate.interrupts_off("unknown command\n")


def test_what_is_to_end_with_us_is_not_started_by_a_parent_that_has_ended(tmp_path: Path) -> None:
    words = proc.ended_with_us(["touch", str(tmp_path / "mark")])
    other = ["sh", "-c", '"$@"; exit 0', "sh"]  # whose parent we are, as init is that of one whose parent has ended
    assert proc.run([*other, *words], timeout=30).returncode == 0
    assert not list(tmp_path.iterdir())
    assert proc.run(words, timeout=30).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
