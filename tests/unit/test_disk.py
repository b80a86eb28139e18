"""Files that several runs share."""

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
