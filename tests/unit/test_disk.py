"""Files that several runs share."""

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kvm import disk, proc
from kvm.errors import Interrupted
from tests.conftest import ROOT


def test_a_write_that_fails_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "below" / "file"
    disk.write(target, "old")
    with pytest.raises(UnicodeEncodeError):
        disk.write(target, "\udcff")
    disk.write(target.with_name("other"), b"\xff")
    assert target.read_text() == "old"
    assert sorted(path.name for path in target.parent.iterdir()) == ["file", "other"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with disk.lock(tmp_path / "lock"):
            order.append("other")

    with disk.lock(tmp_path / "lock"):
        waiting = threading.Thread(target=other)
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    waiting.join()
    assert order == ["first", "other"]


def test_waiting_for_a_lock_ends_with_a_stop_request(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def other() -> None:
        try:
            with disk.lock(tmp_path / "lock"):
                pass
        except Interrupted as fault:
            caught.append(fault)

    with disk.lock(tmp_path / "lock"):
        waiting = threading.Thread(target=other)
        waiting.start()
        proc.stop.set()
        waiting.join(5)
    assert len(caught) == 1


def test_a_file_that_is_not_trusted_is_read_if_it_is_plain_and_short(tmp_path: Path) -> None:
    plain, long = tmp_path / "plain", tmp_path / "long"
    plain.write_bytes(b"\xffword")
    assert disk.read(plain, 5) == b"\xffword"
    assert disk.read_text(plain, 1 << 20) == "\ufffdword"
    with pytest.raises(OSError, match="too large"):
        disk.read(plain, 4)
    with long.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that is not on the disk
    with pytest.raises(OSError, match="larger than 64 MiB"):
        disk.read(long, 64 << 20)


def test_a_link_a_pipe_and_a_directory_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError, match=r"symbolic links|no plain file|directory"):
            disk.read(tmp_path / name, 1 << 20)


def test_a_directory_in_which_somebody_dug_deep_is_removed(tmp_path: Path) -> None:
    with disk.scratch("kdelta-test-") as top:
        dig = "import os; [(os.mkdir('d'), os.chdir('d')) for _ in range(1200)]; open('x', 'w'); os.chmod('.', 0)"
        proc.run([sys.executable, "-c", dig], cwd=top)
        assert (top / "d" / "d").is_dir()
    assert not top.exists()


def test_an_entry_is_held_by_any_number_of_runs_and_nobody_has_it_alone_meanwhile(tmp_path: Path) -> None:
    entry = tmp_path / "trees" / "one"
    with disk.hold(entry), disk.hold(entry, tmp_path / "trees" / "other"), disk.try_alone(entry) as alone:
        assert not alone
    with disk.try_alone(entry) as alone:
        assert alone
        with disk.try_alone(entry) as both:
            assert not both
    assert list((tmp_path / "locks").iterdir()) == []


def test_who_wants_to_hold_an_entry_that_is_being_removed_waits_for_the_end_of_that(tmp_path: Path) -> None:
    entry, order = tmp_path / "trees" / "one", []  # type: Path, list[str]

    def other() -> None:
        with disk.hold(entry):
            order.append("held")

    with disk.try_alone(entry):
        waiting = threading.Thread(target=other)
        waiting.start()
        time.sleep(0.3)
        order.append("removed")
    waiting.join()
    assert order == ["removed", "held"]
    with disk.try_alone(entry) as alone:
        assert alone


def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    entry = tmp_path / "trees" / "one"
    code = (
        "import sys, pathlib; from kvm import disk\n"
        "with disk.hold(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, entry], cwd=ROOT, stdin=-1, stdout=-1) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with disk.try_alone(entry) as alone:
            assert not alone
        holder.kill()
        holder.wait()
    with disk.try_alone(entry) as alone:
        assert alone


def test_many_who_hold_and_let_go_at_once_never_share_with_one_who_is_alone(tmp_path: Path) -> None:
    entry, faults, inside = tmp_path / "trees" / "one", [], []  # type: Path, list[str], list[int]

    def holder() -> None:
        for _ in range(200):
            with disk.hold(entry):
                inside.append(1)
                inside.pop()

    def loner() -> None:
        for _ in range(200):
            with disk.try_alone(entry) as alone:
                if alone and inside:
                    faults.append("not alone")

    threads = [threading.Thread(target=what) for what in (holder, loner, holder, loner)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_file_that_holds_the_content_already_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    disk.write_if_other(target, "one")
    before = target.stat().st_ino
    disk.write_if_other(target, "one")
    assert target.stat().st_ino == before
    disk.write_if_other(target, "other")
    assert target.read_text() == "other"


def test_a_file_that_there_is_no_room_for_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "record"
    disk.write(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="record"):
            disk.write(path, "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
