"""Guests of a cell side by side: who goes first, who meets whom, and that the record does not tell."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.arch import get
from kvm.errors import RefusedError, UserError
from kvm.guest import CommandResult, Guest
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator.model import Cell, GuestRun, Side
from orchestrator.places import Need, Places
from orchestrator.trial import durations, stints
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.runner import run
from orchestrator.trial.stints import Stint
from orchestrator.trial.suites.suite import Isolation, Suite, load
from orchestrator.trial.trial import Trial, Yard
from tests import scripted

SCRIPT = "program:\nsay 1..3\nsay ok 1 a\nsay ok 2 b\nsay ok 3 c\n"


def trial(where: Path, *suites: Suite) -> Trial:
    where.mkdir(exist_ok=True)
    (where / "image").write_text(SCRIPT)
    (where / "program").write_bytes(b"\x7fELF")
    machine = Machine(get("arm64"), where / "image", where / "initrd", "tcg")
    payloads = tuple(scripted.payload(suite, where / "program", where / "cache") for suite in suites)
    return Trial(Cell(Side.BASE, "arm64", "fast"), machine, Limits(), payloads, 1, where)


def suite(name: str, kind: str = "ktap", isolation: Isolation = Isolation.TEST) -> Suite:
    return Suite(Path(), name, SuiteKind(kind), isolation=isolation)


def gave(found: GuestRun, where: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Results, and the guests on the console, in order."""
    lines = (where / "console.log").read_text().splitlines()
    restored = [line.split()[1].rstrip(":") for line in lines if line.startswith("--- ")]
    return [(result.suite, result.name) for result in found.results], restored


def test_the_longest_starts_first_and_the_record_stays_in_order(tmp_path: Path) -> None:
    def ran(where: str, places: int) -> tuple[list[str], tuple[list[tuple[str, str]], list[str]]]:
        past = durations.of(tmp_path, "arm64")
        for name, seconds in (("one/a", 1), ("one/b", 3), ("one/c", 2), ("whole", 9)):
            past.note(name, seconds)
        past.save()
        stages: list[str] = []
        todo = trial(tmp_path / where, suite("one"), suite("whole", isolation=Isolation.SUITE))
        yard = Yard(Places(places, lambda: 9999), durations.of(tmp_path, "arm64"))
        found = run(todo, scripted.take, yard, stages.append)
        return stages, gave(found, tmp_path / where)

    stages, recorded = ran("alone", 1)
    assert stages == ["boot", "one/--list", "whole", "one/b", "one/c", "one/a"]
    results = [("whole", "a"), ("whole", "b"), ("whole", "c"), ("one", "a"), ("one", "b"), ("one", "c")]
    assert recorded == (results, ["one/--list", "whole", "one/a", "one/b", "one/c"])
    for number in range(5):
        assert ran(f"together-{number}", 3)[1] == recorded


def test_guests_of_one_cell_live_at_the_same_time_but_a_benchmark_has_the_machine_to_itself(tmp_path: Path) -> None:
    inside, seen, guard = set[str](), list[set[str]](), threading.Lock()
    meet = threading.Barrier(3, timeout=30)

    class Meeting(scripted.ScriptedSnapshot):
        @contextmanager
        def restore(self, *, workdir: Path, limits: Limits) -> Iterator[scripted.ScriptedGuest]:
            with super().restore(workdir=workdir, limits=limits) as guest:
                with guard:
                    inside.add(workdir.name)
                    seen.append(set(inside))
                if workdir.parent.name == "one" and workdir.name != "--list":
                    meet.wait()
                yield guest
                with guard:
                    inside.remove(workdir.name)

    @contextmanager
    def take(machine: Machine, **given: object) -> Iterator[Meeting]:
        with scripted.take(machine, **given) as kept:
            yield Meeting(kept._booted)

    todo = trial(tmp_path / "run", suite("speed", "bench", Isolation.SUITE), suite("one"))
    run(todo, take, Yard(Places(3, lambda: 9999), durations.of(tmp_path, "arm64")))
    assert {"a", "b", "c"} in seen
    assert [together for together in seen if "speed" in together] == [{"speed"}]


def test_what_is_given_back_is_in_order_whoever_ends_first() -> None:
    last = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last.wait(30)
        if number == 3:
            last.set()
        return number

    todo = [Stint(Need(1), lambda number=number: work(number)) for number in range(4)]
    assert stints.run(todo, Places(2, lambda: 9999)) == [0, 1, 2, 3]


def test_durations_of_two_runs_are_put_together_and_a_damaged_note_is_none(tmp_path: Path) -> None:
    one, other = durations.of(tmp_path, "arm64"), durations.of(tmp_path, "arm64")
    one.note("a", 1)
    other.note("b", 2)
    one.save()
    other.save()
    found = durations.of(tmp_path, "arm64")
    assert [found.expect(name, 60) for name in "abc"] == [1, 2, 60]
    found.path.write_text('{"a": ')
    assert durations.of(tmp_path, "arm64").expect("a", 60) == 60


@pytest.mark.parametrize("name", ["..", ".hidden", "-rf", "a/../../b", "$(reboot)", "a;b", "<b>", "x" * 101])
def test_what_a_guest_lists_as_a_test_becomes_no_path_and_no_command(name: str, tmp_path: Path) -> None:
    todo = trial(tmp_path / "run", suite("one"))
    todo.machine.image.write_text(f"program:\nsay ok 1 fine\nsay ok 2 {name}\n")
    with pytest.raises(UserError, match=r"one does not list its tests: .* is no plain name"):
        run(todo, scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))
    proc.stop.clear()
    assert sorted(path.name for path in (tmp_path / "run" / "guests" / "one").iterdir()) == ["--list"]


def test_a_patched_kernel_on_which_a_suite_does_not_list_its_tests_is_a_result(tmp_path: Path) -> None:
    todo = trial(tmp_path / "run", suite("one"))
    todo = replace(todo, cell=replace(todo.cell, side=Side.PATCHED))
    todo.machine.image.write_text("program:\n")
    found = run(todo, scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))
    assert (found.guest.outcome, found.guest.detail[:30]) == ("lost", "suite one does not list its te")


def test_a_list_that_takes_too_long_says_how_long_and_which_limit_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = scripted.ScriptedGuest.run

    def slow(guest: scripted.ScriptedGuest, command: str, *, timeout: float, **given: bytes) -> CommandResult:
        if "--list" in command:
            return CommandResult(-1, b"one\n", b"", timed_out=True, truncated=False, seconds=timeout)
        return usual(guest, command, timeout=timeout, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(scripted.ScriptedGuest, "run", slow)
    todo = replace(trial(tmp_path / "run", suite("one")), limits=Limits(command_seconds=90, scale=3))
    with pytest.raises(UserError, match=r"no end after 90 s \(limits\.boot of 30 s x 3\)"):
        run(todo, scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(
    ("done", "why"),
    [
        (CommandResult(1, b"", b"no space", False, False, 0.1), "no space"),
        (CommandResult(-1, b"", b"", True, False, 90.0), r"no end after 90 s \(limits\.boot of 30 s x 3\)"),
    ],
)
def test_a_guest_that_cannot_be_set_up_is_the_patched_kernels_fault_and_of_base_the_hosts(
    tmp_path: Path, side: Side, done: CommandResult, why: str
) -> None:
    todo = replace(trial(tmp_path / "run", suite("one")), limits=Limits(command_seconds=90, scale=3))
    todo = replace(todo, cell=replace(todo.cell, side=side))

    def take(machine: Machine, *, prepare: Callable[[Guest], None], **asked: object) -> object:
        def fails(guest: Guest) -> None:
            guest.run = lambda *_, **__: done  # type: ignore[method-assign]
            prepare(guest)

        return scripted.take(machine, prepare=fails, **asked)  # type: ignore[arg-type]

    def ran() -> GuestRun:
        return run(todo, take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))  # type: ignore[arg-type]

    if side is Side.BASE:
        with pytest.raises(RefusedError, match=f"no place for suites in the guest: {why}"):
            ran()
        proc.stop.clear()
    else:
        assert ran().guest.outcome == "no-boot"


def test_a_test_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    todo = trial(tmp_path / "run", suite("one"))
    todo.machine.image.write_text("program:\nsay ok 1 a\nsay ok 2 a\n")
    with pytest.raises(UserError, match="a name comes twice"):
        run(todo, scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))


def test_a_test_whose_name_ends_like_a_number_of_a_repeat_shares_no_file_with_one(tmp_path: Path) -> None:
    todo = trial(tmp_path / "run", replace(suite("one"), repeats=2))
    todo.machine.image.write_text("program:\nsay ok 1 x\nsay ok 2 x.1\n")
    found = run(todo, scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64")))
    assert [(one.name, one.repeat, str(one.outcome)) for one in found.results] == [
        (name, repeat, "pass") for repeat in (0, 1) for name in ("x", "x.1")
    ]
    guests = sorted(path.name for path in (tmp_path / "run" / "guests" / "one").iterdir())
    assert guests == ["--list", "x", "x.1", "x.1@1", "x@1"]


def test_a_guest_for_more_suites_than_a_name_can_hold_has_a_name(tmp_path: Path) -> None:
    suites = [suite(f"a-suite-{number:04d}", isolation=Isolation.BOOT) for number in range(40)]
    found = run(
        trial(tmp_path / "run", *suites), scripted.take, Yard(Places(2, lambda: 9999), durations.of(tmp_path, "arm64"))
    )
    assert {str(one.outcome) for one in found.results} == {"pass"}
    assert [path.name for path in (tmp_path / "run" / "guests").iterdir()] == ["a-suite-0000 and 39 more"]


@pytest.mark.parametrize("name", ["..", ".git", "-x", "a/b", ""])
def test_a_suite_whose_name_is_no_plain_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(f"name: '{name}'\nkind: ktap\nsources: []\n")
    with pytest.raises(UserError, match="name"):
        load(tmp_path)
