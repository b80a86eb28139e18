"""What a build in the sandbox can reach: asked from inside, as root and as an ordinary user. Nothing here writes to the
host: a file outside is asked for by `test -w` alone.
"""

import codecs
import concurrent.futures
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from kvm import proc
from kvm.errors import InfraError
from orchestrator.build import sandbox
from orchestrator.build.quota import Quota
from orchestrator.build.sandbox import Sandbox
from tests.conftest import ROOT
from tests.flow.conftest import QUOTA

pytestmark = pytest.mark.long

NOBODY = 45678  # no user of the host has this id

Inside = Callable[[str], proc.Completed]


@pytest.fixture
def places() -> Iterator[dict[str, Path]]:
    """Directories that another user reaches, which pytest's own are not."""
    top = Path(tempfile.mkdtemp(prefix="kdelta-test-"))
    top.chmod(0o755)
    try:
        found = {name: top / name for name in ("src", "obj", "ccache")}
        for path in found.values():
            path.mkdir()
        yield found
    finally:
        shutil.rmtree(top)


@pytest.fixture(params=["root", "user"])
def inside(request: pytest.FixtureRequest, places: dict[str, Path]) -> Inside:
    """Run a line of shell in a sandbox that root or an ordinary user made."""
    if request.param == "root" and os.geteuid():
        pytest.skip("needs root")
    box = Sandbox(**places, quota=QUOTA)
    become = NOBODY if request.param == "user" and not os.geteuid() else None
    if become:
        for path in places.values():
            os.chown(path, become, become)
    return lambda line: as_user(become, box, line)


def as_user(user: int | None, box: Sandbox, line: str) -> proc.Completed:
    if user is None:
        return box.run(["bash", "-c", line])
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, fork, initializer=become_user, initargs=(user,)) as pool:
        return pool.submit(box.run, ["bash", "-c", line]).result()


def become_user(user: int) -> None:
    codecs.lookup("ascii")  # the user may not be able to read this Python's library
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def test_what_runs_inside_has_no_capability_and_can_gain_none(inside: Inside) -> None:
    status = dict(line.split(":\t", 1) for line in inside("cat /proc/self/status").output.splitlines() if ":\t" in line)
    capabilities = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert set(capabilities.values()) == {0}, capabilities
    assert status["NoNewPrivs"] == "1"
    assert inside("unshare --user --map-root-user true").returncode


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/src", "/ccache", "/usr", "/usr/bin/env", "/dev", "/dev/shm", "/proc/sys/kernel/core_pattern"),
        *("/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/self/uid_map"),
    ],
)
def test_what_is_not_the_builds_own_cannot_be_written(inside: Inside, path: str) -> None:
    assert inside(f"test -e {path}").returncode == 0
    assert inside(f"test -w {path}").returncode == 1


def test_the_builds_own_can_be_written(inside: Inside, places: dict[str, Path]) -> None:
    assert inside("touch /build/x /tmp/z").returncode == 0
    assert (places["obj"] / "x").is_file()


def test_nothing_can_be_mounted_or_made_writable_again(inside: Inside) -> None:
    for place in ("/src", "/usr", "/proc", "/dev", "/"):
        assert inside(f"mount -o remount,rw {place} 2>&1; test -w {place}").returncode, place
    assert inside("mount -t tmpfs none /tmp").returncode
    assert inside("mount -t proc proc /tmp").returncode
    assert inside("umount /proc").returncode


def test_no_device_can_be_made_and_no_host_device_is_there(inside: Inside) -> None:
    made = inside("mknod /build/null c 1 3; mknod /tmp/null c 1 3; ls /build /tmp")
    assert "null" not in made.output.split()
    found = inside("for one in /dev/*; do test -c $one -o -b $one && echo $one; done").output.split()
    nodes = ["full", "null", "ptmx", "random", "stdin", "tty", "urandom", "zero"]
    assert sorted(Path(name).name for name in found) == nodes


def test_no_process_outside_is_seen_signalled_or_traced(inside: Inside) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            line = f"ls /proc/{other.pid}; kill -0 {other.pid}; echo $?; ls -d /proc/[0-9]*"
            said = inside(line).output.split()
        finally:
            other.kill()
    assert f"/proc/{os.getpid()}" not in said
    assert "1" in said
    assert all(int(word.removeprefix("/proc/")) < 20 for word in said if re.fullmatch(r"/proc/\d+", word))


HELD = """\
import os
for fd in range(3, 1 << 12):
    try:
        print(fd, os.readlink("/proc/self/fd/%d" % fd))
    except OSError:
        pass
print(os.readlink("/proc/self/fd/0"))
"""


def test_only_the_three_standard_descriptors_are_handed_in(inside: Inside) -> None:
    assert inside(f"python3 -c '{HELD}'").output == "/dev/null\n"


SOCKETS = """\
import socket
for name in ("AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_BLUETOOTH", "AF_UNIX", "AF_INET", "AF_NETLINK"):
    try:
        socket.socket(getattr(socket, name), socket.SOCK_RAW if name == "AF_NETLINK" else socket.SOCK_STREAM).close()
        print("open", name)
    except OSError:
        pass
"""


def test_sockets_are_of_the_families_that_the_network_namespace_contains(inside: Inside) -> None:
    assert inside(f"python3 -c '{SOCKETS}'").output == "open AF_UNIX\nopen AF_INET\nopen AF_NETLINK\n"


TRACE = "import ctypes\nprint(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"  # PTRACE_ATTACH to the sandbox's init


def test_the_sandboxs_own_init_cannot_be_traced(inside: Inside) -> None:
    assert inside(f"python3 -c '{TRACE}'").output == "-1\n"


KEYS = "import ctypes\nprint(ctypes.CDLL(None).syscall({number}, 6, -3, 0, 0, 0))"


def test_the_users_keys_are_out_of_reach(inside: Inside) -> None:
    number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]  # keyctl(KEYCTL_DESCRIBE, session keyring)
    assert inside(f"python3 -c '{KEYS.format(number=number)}'").output == "-1\n"


def test_without_a_user_namespace_root_has_no_capability_either(places: dict[str, Path]) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    words = Sandbox(**places, quota=QUOTA).argv(["cat", "/proc/self/status", "/proc/self/uid_map"])
    for word in (part for option in sandbox.OWN_USERS for part in option.split("=")):
        words.remove(word)
    separate = [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts", "cgroup-try")]
    words[words.index("--unshare-all") : words.index("--unshare-all") + 1] = separate
    said = proc.run(words).output
    assert "CapEff:\t0000000000000000" in said
    assert "CapPrm:\t0000000000000000" in said  # and by no_new_privs, no more of them after another exec
    assert "4294967295" in said  # the host's own user namespace
    for place in ("/src", "/usr", "/proc/sys/kernel/domainname"):
        probe = f"mount -o remount,rw {place}; test -w {place}"
        assert proc.run([*words[: words.index("--")], "--", "sh", "-c", probe]).returncode == 1


# --- the terminal

TYPIST = """\
import sys
from pathlib import Path
from orchestrator.build.quota import Quota
from orchestrator.build.sandbox import Sandbox
open("/dev/tty").close()
box = Sandbox(*map(Path, sys.argv[1:]), quota=Quota(50, 1 << 28))
print(box.run(["bash", "-c", "exec 3<>/dev/tty && echo INJECTED >&3; cat /proc/*/stat"]).output)
"""


def test_a_build_has_no_terminal_and_neither_has_any_process_that_it_could_trace(places: dict[str, Path]) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-c", TYPIST, *map(str, places.values())],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        encoding="utf-8",
        dimensions=(50, 400),
    )
    child.expect(pexpect.EOF)
    child.close()
    said = child.before or ""
    assert child.exitstatus == 0, said
    assert "/dev/tty: No such device or address" in said
    stats = re.findall(r"^\d+ \(.*\) \S \d+ \d+ \d+ (-?\d+) ", said, re.MULTILINE)  # the seventh: tty_nr
    assert len(stats) >= 2
    assert set(stats) == {"0"}


# --- its start

LIE = "echo bwrap: Creating new namespace failed; echo bwrap: again; exit 1"


def test_a_sandbox_that_does_not_start_is_told_from_a_build_that_says_so(places: dict[str, Path]) -> None:
    box = Sandbox(**places, quota=QUOTA)
    assert box.run(["bash", "-c", LIE]).returncode == 1
    with pytest.raises(InfraError, match="the sandbox did not start: bwrap: Can't find source path /no/such"):
        replace(box, readable={"/x": Path("/no/such")}).run(["true"])


# --- its end


def listed(word: str) -> list[str]:
    """The command lines that hold `word`."""
    listing = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if word in line]


def gone(word: str) -> bool:
    deadline = time.monotonic() + 10
    while listed(word) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listed(word)


def test_after_its_deadline_nothing_of_a_build_is_left(places: dict[str, Path]) -> None:
    box = Sandbox(**places, quota=QUOTA)
    nap = f"{os.getpid()}.125"
    line = f"trap '' TERM HUP INT; setsid sleep {nap} & (sleep {nap} &) ; sleep {nap}"
    assert box.run(["bash", "-c", line], timeout=0.5).timed_out
    assert gone(nap)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_kdelta_is_stopped_or_killed_nothing_of_a_build_is_left(
    places: dict[str, Path], tmp_path: Path, how: signal.Signals
) -> None:
    nap = f"{os.getpid()}.{250 + how}"
    script = TYPIST.replace('open("/dev/tty").close()\n', "").split("print")[0] + (
        "import signal\nfrom kvm import proc\n"
        "for one in (signal.SIGINT, signal.SIGTERM): signal.signal(one, lambda *_: proc.stop.set())\n"
        f"box.run(['bash', '-c', 'trap \"\" TERM INT; setsid sleep {nap} & sleep {nap}'])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}  # who is killed leaves files there
    argv = [sys.executable, "-c", script, *map(str, places.values())]
    with subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL) as other:
        deadline = time.monotonic() + 30
        while f"sleep {nap}" not in listed(nap) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"sleep {nap}" in listed(nap)
        other.send_signal(how)
        other.wait(10)
    assert gone(nap)


# --- its quota


def test_whatever_runs_inside_is_held_to_the_quota(inside: Inside) -> None:
    assert "more than 50 processes at once" in inside("for n in $(seq 70); do sleep 60 & done; wait").charge
    assert (
        "more than 256 MiB of memory at once"
        in inside("python3 -c 'b = bytearray(1 << 29); input()' <>/dev/zero").charge
    )


def test_other_processes_of_the_user_do_not_count(inside: Inside) -> None:
    become = NOBODY if not os.geteuid() else os.geteuid()
    argv = ["setpriv", f"--reuid={become}", f"--regid={become}", "--clear-groups"] if not os.geteuid() else []
    others = [subprocess.Popen([*argv, "sleep", "60"]) for _ in range(120)]
    try:
        done = inside("for n in $(seq 30); do sleep 1 & done; wait; echo all of them")
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert (done.output, done.charge) == ("all of them\n", "")


def test_a_build_that_never_stops_talking_is_ended_and_its_log_is_cut(places: dict[str, Path], tmp_path: Path) -> None:
    box = Sandbox(**places, quota=Quota(50, 1 << 28, said_bytes=1 << 20))
    log = tmp_path / "log"
    endless = box.run(["yes"], output=log)
    assert endless.charge == "the build said more than 1 MiB"
    assert log.stat().st_size == 1 << 20
    short = box.run(["sh", "-c", "head -c 2000000 /dev/zero"])
    assert short.charge == "the build said more than 1 MiB"
    assert len(short.output) == 1 << 20
    sparse = box.run(["truncate", "-s", "100M", "/proc/self/fd/1"], output=log)
    assert sparse.charge
    assert log.stat().st_size == 1 << 20


def test_a_file_larger_than_the_quota_cannot_be_made_nor_a_core_file(places: dict[str, Path]) -> None:
    box = Sandbox(**places, quota=Quota(50, 1 << 28, file_bytes=1 << 20))
    made = box.run(["bash", "-c", "truncate -s 1T /build/x; head -c 2000000 /dev/zero >/build/y; ulimit -c"])
    assert made.output.endswith("\n0\n")
    assert max(path.stat().st_size for path in places["obj"].iterdir()) <= 1 << 20
