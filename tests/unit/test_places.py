"""Who waits for whom, when there are more guests than the machine has room for."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import Interrupted
from orchestrator import places
from orchestrator.places import OVERHEAD_MIB, Need, Places


def all_at_once(room: Places, needs: dict[str, Need]) -> tuple[list[str], int, list[set[str]]]:
    """Let each want a place while one guest runs that ends when all wait; in which order they went, how many were in at
    most, and who was in together with whom.
    """
    went, inside, seen, guard = [], set[str](), [], threading.Lock()

    def want(name: str) -> None:
        with room.hold(needs[name]):
            with guard:
                went.append(name)
                inside.add(name)
                seen.append(set(inside))
            threading.Event().wait(0.002)  # for others to come in
            with guard:
                inside.remove(name)

    threads = [threading.Thread(target=want, args=[name]) for name in needs]
    with room.hold(Need(0, alone=True)):
        for thread in threads:
            thread.start()
        wait_for(lambda: len(room._tickets) == len(needs) + 1)
    for thread in threads:
        thread.join()
    return went, max(map(len, seen)), seen


def wait_for(what: Callable[[], bool]) -> None:
    while not what():
        threading.Event().wait(0.005)


def test_the_longest_goes_first_and_who_wants_to_be_alone_goes_last() -> None:
    needs = {
        "short": Need(1, 1),
        "bench": Need(1, 99, alone=True),
        "long": Need(1, 30),
        "middle": Need(1, 10),
    }
    went, most, _ = all_at_once(Places(1, lambda: 10_000), needs)
    assert went == ["long", "middle", "short", "bench"]
    assert most == 1


def test_there_are_never_more_than_there_are_places_for_and_nobody_is_beside_one_that_is_alone() -> None:
    needs = {str(number): Need(1, number, alone=number % 5 == 0) for number in range(40)}
    went, most, seen = all_at_once(Places(3, lambda: 100_000), needs)
    assert sorted(went) == sorted(needs)
    assert most <= 3
    assert all(len(together) == 1 for together in seen if any(needs[name].alone for name in together))


def test_memory_bounds_how_many_there_are_but_one_goes_in_any_case() -> None:
    each = 100 + OVERHEAD_MIB
    needs = {str(number): Need(100) for number in range(12)}
    assert all_at_once(Places(64, lambda: 2 * each), needs)[1] <= 2
    assert all_at_once(Places(64, lambda: 0), needs)[1] == 1


def test_where_there_are_two_places_two_meet() -> None:
    room, meet = Places(2, lambda: 10_000), threading.Barrier(2, timeout=30)

    def want() -> None:
        with room.hold(Need(1)):
            meet.wait()

    other = threading.Thread(target=want)
    other.start()
    want()
    other.join()


@pytest.mark.parametrize(
    ("most", "first", "second"),
    [(1, Need(1), Need(1)), (2, Need(1), Need(1, alone=True)), (2, Need(1, alone=True), Need(1))],
    ids=["one place", "who wants to be alone waits", "who is alone is waited for"],
)
def test_runs_that_have_the_same_cache_wait_for_each_other(
    tmp_path: Path, most: int, first: Need, second: Need
) -> None:
    one, other = (replace(places.of_machine(most, tmp_path), free_mib=lambda: 10_000) for _ in range(2))
    went = []

    def want() -> None:
        with other.hold(second):
            went.append("second")

    thread = threading.Thread(target=want)
    with one.hold(first):
        thread.start()
        threading.Event().wait(2 * places._WAIT_SECONDS)  # it looks more than once
        went.append("first")
    thread.join()
    assert went == ["first", "second"]
    assert not list((tmp_path / "locks").iterdir())


def test_who_wants_to_be_alone_among_processes_is_not_overtaken(tmp_path: Path) -> None:
    one, other = (Places(2, lambda: 10_000, tmp_path / "ours") for _ in range(2))
    went = []

    def want(room: Places, need: Need) -> None:
        with room.hold(need):
            went.append(need)

    alone, late = Need(1, alone=True), Need(1)
    threads = [threading.Thread(target=want, args=args) for args in ((other, alone), (one, late))]
    with one.hold(Need(1)):
        threads[0].start()
        wait_for(lambda: bool(other._tickets) and "gate" in other._tickets[0].held)
        threads[1].start()
        threading.Event().wait(2 * places._WAIT_SECONDS)  # it looks more than once
        assert not went
    for thread in threads:
        thread.join()
    assert went == [alone, late]
    assert not list(tmp_path.iterdir())


def test_who_waits_to_be_alone_among_processes_goes_before_those_that_come_to_its_own(tmp_path: Path) -> None:
    one, other = (Places(2, lambda: 10_000, tmp_path / "ours") for _ in range(2))
    went = []

    def want(need: Need) -> None:
        with other.hold(need):
            went.append(need)

    alone, late = Need(1, alone=True), Need(1, 99)
    threads = [threading.Thread(target=want, args=[need], daemon=True) for need in (alone, late)]
    with one.hold(Need(1)):
        threads[0].start()
        wait_for(lambda: bool(other._tickets) and "gate" in other._tickets[0].held)
        threads[1].start()
        wait_for(lambda: len(other._tickets) == 2)
    for thread in threads:
        thread.join(20)
    assert went == [alone, late]


def test_processes_that_have_the_same_locks_meet_where_there_is_room(tmp_path: Path) -> None:
    one, other = (Places(2, lambda: 10_000, tmp_path / "ours") for _ in range(2))
    with one.hold(Need(1)), other.hold(Need(1)):
        assert len(list(tmp_path.iterdir())) == 3


def test_memory_bounds_the_guests_of_all_processes_and_none_that_was_killed_counts(tmp_path: Path) -> None:
    (tmp_path / "ours-place-1").write_text("9999")  # nobody holds it
    one, other = (Places(9, lambda: 2 * (100 + OVERHEAD_MIB), tmp_path / "ours") for _ in range(2))
    large, went = Need(101), []

    def want() -> None:
        with other.hold(large):
            went.append(large)

    thread = threading.Thread(target=want)
    with one.hold(Need(100)), other.hold(Need(100)):
        pass
    with one.hold(Need(100)):
        thread.start()
        threading.Event().wait(2 * places._WAIT_SECONDS)  # it looks more than once
        assert not went
    thread.join()
    assert went == [large]
    assert not list(tmp_path.iterdir())


def test_who_waits_is_told_to_stop_and_leaves_no_trace() -> None:
    room = Places(1, lambda: 10_000)
    with room.hold(Need(1)):
        proc.stop.set()
        with pytest.raises(Interrupted), room.hold(Need(1)):
            pass
        assert len(room._tickets) == 1
    proc.stop.clear()
    with room.hold(Need(1)):
        pass


def test_this_machine_has_a_processor_and_some_memory() -> None:
    assert places.processors() >= 1
    assert places.free_mib() > 0
