"""Files that several runs share."""

import os
import threading
import time
from pathlib import Path

import pytest

from kvm import disk, proc
from kvm.errors import Interrupted


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
        dig = "for n in $(seq 1200); do mkdir d; cd d; done; mkdir e; touch e/x; chmod 0 e"
        proc.run(["sh", "-c", dig], cwd=top)
        assert (top / "d" / "d").is_dir()
    assert not top.exists()
