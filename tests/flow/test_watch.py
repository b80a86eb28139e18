"""A series whose Makefile tries to get out, and hides that it failed: contained, and reported all the same."""

import concurrent.futures
import errno
import json
import multiprocessing
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kvm.errors import BuildError
from orchestrator.build import kbuild, sandbox, seccomp, watch
from orchestrator.build.sandbox import Sandbox
from orchestrator.intake import source
from tests.conftest import Kdelta
from tests.flow.conftest import QUOTA, git
from tests.flow.test_intake_and_build import misbehave, order
from tests.flow.test_sandbox import NOBODY, become_user, places  # noqa: F401  (a fixture)

SOCKET = 'import socket; socket.create_connection(("10.0.0.1", 80), 1)'
DEEDS = {
    "echo evil >/etc/cron.d/evil": "sh tried to write /etc/cron.d/evil",
    "cd / && mkdir usr/evil": "mkdir tried to make /usr/evil",
    "touch /src/mm/evil.c": "touch tried to write /src/mm/evil.c",
    "touch /build/evil; mv /build/evil /usr/bin/evil; rm /build/evil": "mv tried to replace /usr/bin/evil",
    "cat ~/.ssh/id_ed25519": "something read ~/.ssh/id_ed25519",
    f"cat {Path.home()}/.ssh/id_rsa": "something read ~/.ssh/id_rsa",
    f"python3 -c '{SOCKET}'": "python3 opened a socket (IPv4)",
    "python3 -c 'import socket; socket.socket(40)'": "python3 opened a socket (AF_VSOCK)",
    "bash -c 'exec 3<>/dev/udp/10.0.0.1/53'": "bash opened a socket (IPv4)",
}

Tried = Callable[[str], list[str]]


@pytest.fixture(params=["root", "user"])
def tried(request: pytest.FixtureRequest, places: dict[str, Path]) -> Tried:  # noqa: F811
    """Run a line of shell as root's build or an ordinary user's, and return what was noted."""
    if request.param == "root" and os.geteuid():
        pytest.skip("needs root")
    box = Sandbox(**places, quota=QUOTA)
    if request.param == "root" or os.geteuid():
        return lambda line: told(box, line)
    for path in places.values():
        os.chown(path, NOBODY, NOBODY)
    fork = multiprocessing.get_context("fork")

    def as_user(line: str) -> list[str]:
        with concurrent.futures.ProcessPoolExecutor(1, fork, initializer=become_user, initargs=(NOBODY,)) as pool:
            return pool.submit(told, box, line).result()

    return as_user


def told(box: Sandbox, line: str) -> list[str]:
    done = box.run(["sh", "-c", f"{{ {line}; }} 2>/dev/null || true"])
    assert done.returncode == 0
    return box.tried


def test_this_machine_can_watch_what_a_build_tries() -> None:
    assert sandbox.watches()


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_tried_is_noted_though_the_build_swallows_the_error(tried: Tried, deed: str) -> None:
    assert tried(deed) == [DEEDS[deed]]


def test_a_name_at_no_address_is_none() -> None:
    assert watch._path(os.getpid(), 1, [0, (1 << 64) - 1], at=True) == ""


def test_what_an_honest_build_does_is_not_noted(tried: Tried) -> None:
    line = "echo x >/build/x; mkdir -p /build/a /tmp/b; cd /build; echo y >>a/y; mv a/y z; echo >/dev/null; ls ~ /src"
    more = "id; python3 -c 'import socket; socket.socket(socket.AF_UNIX)'; git --version"
    assert tried(f"{line}; {more}") == []


def test_each_deed_is_told_once_and_a_million_are_cut(places: dict[str, Path]) -> None:  # noqa: F811
    box = Sandbox(**places, quota=QUOTA)
    box.run(["sh", "-c", "for n in 1 2 3; do true >/etc/same; done; for n in $(seq 50); do true >/etc/$n; done; true"])
    assert box.tried[:2] == ["sh tried to write /etc/same", "sh tried to write /etc/1"]
    assert box.tried[-1] == "and more"
    assert len(box.tried) == watch.MOST + 1


def test_calls_that_are_refused_are_told_and_still_refused(places: dict[str, Path]) -> None:  # noqa: F811
    box = Sandbox(**places, quota=QUOTA)
    keyctl = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    code = (
        f"import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.syscall({keyctl}, 6, -3), ctypes.get_errno())"
    )
    assert box.run(["python3", "-c", code]).output == f"-1 {errno.EPERM}\n"
    assert box.tried == ["python3 called keyctl"]


def test_every_call_of_the_filter_that_asks_has_a_meaning() -> None:
    for machine, arches in {"x86_64": (0xC000003E, 0x40000003), "aarch64": (0xC00000B7, 0x40000028)}.items():
        words = list(struct.iter_unpack("<HBBI", seccomp.program(machine, watched=True)))
        assert any(word[3] == 0x7FC00000 for word in words)
        for arch in arches:
            assert seccomp.meaning(arch, {0xC000003E: 41, 0x40000003: 359, 0xC00000B7: 198, 0x40000028: 281}[arch])


@pytest.mark.parametrize("deed", ["echo >/etc/x", "cat ~/.ssh/id_rsa", f"python3 -c '{SOCKET}'"])
def test_a_build_that_goes_on_carries_what_it_tried_and_so_does_the_cached_one(
    fakelinux: Path, tmp_path: Path, deed: str
) -> None:
    (fakelinux / "deed.sh").write_text(f"{deed}\n")
    misbehave(fakelinux, "@sh /src/deed.sh >/dev/null 2>&1 || true")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    for _ in range(2):
        made = kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
        assert len(made.tried) == 1
        assert made.record(noop=False).tried == made.tried
    assert made.cached


def test_a_fork_bomb_whose_end_is_swallowed_fails_the_build(fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "deed.sh").write_text("echo >/etc/x; f() { f | f & }; f; sleep 60\n")
    misbehave(fakelinux, "@bash /src/deed.sh >/dev/null 2>&1 || true")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(BuildError, match="more than 50 processes at once") as caught:
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    assert caught.value.tried == ("bash tried to write /etc/x",)


def test_a_series_that_tries_to_get_out_is_told_of_and_no_run_of_it_is_clean(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    git(fakelinux, "checkout", "-q", "-b", "topic")
    misbehave(fakelinux, "@cat ~/.ssh/id_rsa >/dev/null 2>&1; echo x >/etc/x || true")
    git(fakelinux, "checkout", "-q", "main")
    args = ["--kernel", f"git:{fakelinux}", "--base", "main", "--arch", "arm64", "--out", tmp_path / "out"]
    done = kdelta("run", "topic", *args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 125, done.stderr
    assert "INCONCLUSIVE" in done.stdout
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [len(build["tried"]) for build in record["builds"]] == [0, 2]
    [reason] = (reason for reason in record["verdict"]["reasons"] if "denied" in reason)
    assert "patched/arm64-fast" in reason
    words = " ".join(done.stdout.split())
    page = (tmp_path / "out" / "report.html").read_text()
    for deed in ("sh tried to write /etc/x", "something read ~/.ssh/id_rsa"):
        assert deed in reason
        assert deed in words
        assert deed in page
