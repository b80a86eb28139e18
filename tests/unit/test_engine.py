"""Tasks on the record: when they ran, and what they waited for."""

from orchestrator.engine import Engine
from orchestrator.places import Places, worked_seconds


def test_a_task_waited_for_the_one_before_it_in_its_chain_and_for_the_last_of_those_gathered() -> None:
    engine = Engine(Places(1, lambda: 1000))

    def one(name: str) -> None:
        with engine.task(name) as placed:
            placed()

    one("first")
    engine.gather([engine.start(one, "left")])
    engine.gather([engine.start(one, "right")])
    one("last")
    engine.close()
    assert {entry.task: entry.after for entry in engine.timeline} == {
        "first": "",
        "left": "first",
        "right": "left",
        "last": "right",
    }
    assert all(0 <= entry.waited <= entry.end - entry.start for entry in engine.timeline)


def test_what_runs_side_by_side_does_not_wait_for_each_other() -> None:
    engine = Engine(Places(1, lambda: 1000))

    def chain(name: str) -> None:
        for number in range(2):
            with engine.task(f"{name} {number}"):
                pass

    engine.gather([engine.start(chain, name) for name in ("a", "b")])
    engine.close()
    after = {entry.task: entry.after for entry in engine.timeline}
    assert after == {"a 0": "", "a 1": "a 0", "b 0": "", "b 1": "b 0"}


def test_the_machine_s_processors_work_and_never_less() -> None:
    before, after = worked_seconds(), worked_seconds()
    assert before and after and 0 < before <= after
