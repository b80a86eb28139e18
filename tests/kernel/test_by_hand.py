"""Kernels in people's hands: what the commands print is given to the tools that it is for."""

import json
import shlex
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from kvm.arch import DEFAULT
from tests import suites
from tests.conftest import run_kdelta
from tests.kernel.conftest import on_a_terminal

pytestmark = pytest.mark.kernel

QUESTIONS = ("hbreak start_kernel", "continue", "x/s &linux_banner", "break do_madvise", "list do_madvise")


@pytest.fixture(params=DEFAULT)
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_debug_prints_the_line_with_which_gdb_stops_where_the_kernel_starts(arch: str, built: Path) -> None:
    with on_a_terminal("debug", "--arch", arch, "--side", "base", built) as halted:
        halted.expect(r"(gdb[^\r\n]*'target remote (/[^']*)')\r")
        assert halted.match
        line, socket = halted.match[1], Path(halted.match[2])
        halted.expect("--flavour gdb")  # what was not built
        while not socket.exists() and halted.isalive():
            time.sleep(0.05)
        asked = [word for question in QUESTIONS for word in ("-ex", question)]
        gdb = [*shlex.split(line), "--batch", "-nx", *asked]
        said = subprocess.run(gdb, capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
        assert "start_kernel ()" in said.stdout, said
        assert "Linux version 5.10" in said.stdout
        assert "file /src/mm/madvise.c, line " in said.stdout  # the touched file has lines
        assert "int do_madvise(struct mm_struct *mm" in said.stdout  # and these are read
        halted.expect("/ # ")  # gdb has let go of it, and it goes on
        assert "CPU Reset" not in str(halted.before)  # of which qemu.log tells in a run
        halted.send("exit\r")
        halted.expect(pexpect.EOF)
    assert not socket.exists()


def test_shell_at_a_test_is_a_shell_in_the_guest_in_which_it_has_just_run(arch: str, built: Path) -> None:
    with on_a_terminal("shell", "--arch", arch, "--side", "base", "--at", "madvise_locked/drops_mlock", built) as shell:
        shell.expect("not ok 1 drops_mlock")  # base has no MADV_DONTNEED_LOCKED
        shell.expect("ended with status 1")
        shell.expect("~ # ")
        shell.send("dmesg | grep -c 'madvise_locked/drops_mlock starts'; ls /tmp/suites\r")
        shell.expect("1\r\n.*madvise_locked")
        shell.send("tty; exit\r")
        shell.expect("/dev/tty")
        shell.expect(pexpect.EOF)
    assert shell.exitstatus == 0


def test_shell_lets_ssh_in_beside_the_console(arch: str, built: Path) -> None:
    with on_a_terminal("shell", "--arch", arch, "--side", "base", "--ssh", built) as shell:
        shell.expect("note: (ssh .*?)\r")
        assert shell.match
        line = shlex.split(shell.match[1])
        shell.expect("has booted")
        done = subprocess.run(
            [*line, "uname -r; ls /tmp/suites"], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stdout.startswith("5.10.") and "madvise_locked" in done.stdout, done
        shell.expect("~ # ")
        shell.send("exit\r")
        shell.expect(pexpect.EOF)
    assert shell.exitstatus == 0


def test_a_guest_that_is_kept_can_be_looked_at_over_ssh_and_the_run_ends_after_it(arch: str, tmp_path: Path) -> None:
    kept = f"patched/{arch}-fast: a test failed in refuses, which stays until `poweroff -f` in it: "
    refuses = suites.refuses(tmp_path)
    out, words = (
        tmp_path / "out",
        ("madv-dontneed-locked", "--arch", arch, "--suite", refuses, "--no-rerun", "--no-bisect"),
    )
    with on_a_terminal("run", *words, "--keep-guest", "--out", out) as run:
        run.expect(f"{kept}(ssh .*?)\r")
        assert run.match
        ssh = pexpect.spawn(run.match[1], encoding="utf-8")
        ssh.expect("# ")
        ssh.send("ls /tmp; dmesg | grep -c 'refuses starts'\r")
        ssh.expect("dropped.*\\b1\r")
        ssh.send("echo c >/proc/sysrq-trigger\r")
        run.expect(pexpect.EOF)
    assert run.exitstatus == 1
    record = json.loads((out / "run.json").read_text())
    assert [test["change"] for test in record["tests"] if test["name"] == "refuses"] == ["regressed"], record["tests"]
    guests = {guest["side"]: guest["outcome"] for guest in record["guests"]}
    assert guests == {"base": "ok", "patched": "ok"}  # a person who crashes it is no fault of the kernel
    assert not [line["words"] for line in record["lines"] if "sysrq" in line["words"]]
    assert not any(guest["splats"] for guest in record["guests"])


def test_a_guest_in_which_a_test_failed_is_kept_and_shell_goes_on_in_it(arch: str, tmp_path: Path) -> None:
    words = ("madv-dontneed-locked", "--arch", arch, "--suite", suites.refuses(tmp_path), "--no-rerun", "--no-bisect")
    run = run_kdelta("run", *words, "--keep-state", "--out", tmp_path / "out")
    assert run.returncode == 1, run.stderr
    with on_a_terminal("shell", "--arch", arch, "--at", "refuses", tmp_path / "out") as shell:
        shell.expect(f"patched/{arch}-fast is as refuses left it in the run")
        shell.expect("~ # ")
        shell.send("ls /tmp; dmesg | grep -c 'refuses starts'; exit\r")
        shell.expect("dropped.*\\b1\r")
        shell.expect(pexpect.EOF)
    assert shell.exitstatus == 0
