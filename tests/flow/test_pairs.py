"""What differs is run again in pairs, on guests that follow a script: chance is no finding, and a break is one."""

import contextlib
import functools
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.accuracy import entry, play
from benchmarks.accuracy.entry import Entry
from kvm.errors import BootError, GuestLost
from kvm.guest import CommandResult
from kvm.qemu import Machine
from orchestrator import culprits, job, pairs, pipeline, plan, store
from orchestrator.model import Change, Run, Side
from orchestrator.publish import html, text
from orchestrator.request import Request
from tests import scripted
from tests.flow.test_scripted import (  # noqa: F401  (fixtures)
    FAILS,
    PASSES,
    WARNING,
    Validate,
    changes,
    request_for,
    suite,
    validate,
    verdict,
)

pytestmark = pytest.mark.long

FLAKY = "program:\nsay 1..2\nsay ok 1 first\nmostly ok 2 second\n"


def one_in_five(start: int) -> Iterator[bool]:
    """Failures that come one time in five, from the `start`th run on, counted from 0."""
    number = 0
    while True:
        yield number % 5 == start
        number += 1


def guests(**failures: Iterator[bool]) -> Callable[..., object]:
    """Boot guests in which what mostly works fails when its side says so."""

    def take(machine: Machine, **asked: object) -> object:
        side = next(side for side in Side if side in machine.image.parts)
        return scripted.take(machine, draw=functools.partial(next, failures[side]), **asked)  # type: ignore[arg-type]

    return take


def second(run: Run) -> Change:
    [found] = [change for change in run.tests if change.name == "second"]
    return found


def test_a_break_is_regressed_after_six_pairs_on_both_architectures(validate: Validate) -> None:  # noqa: F811
    run = validate(PASSES, FAILS)
    assert verdict(run)[0] == "regressed"
    for found in (change for change in run.tests if change.name == "second"):
        assert found.change == "regressed"
        assert found.evidence
        assert [(rate.came, rate.of) for rate in (found.evidence.base, found.evidence.patched)] == [(0, 6), (6, 6)]


def test_a_test_that_fails_one_time_in_five_is_flaky_and_the_verdict_is_good(
    validate: Validate,  # noqa: F811
    tmp_path: Path,
) -> None:
    take = guests(base=one_in_five(3), patched=one_in_five(0))
    run = validate(FLAKY, f"# patched\n{FLAKY}", take=take, arches=["arm64"])
    found = second(run)
    assert (found.base.outcome, found.patched.outcome) == ("pass", "fail")  # what the first pass would have blamed
    assert found.change == "flaky-on-both"
    assert verdict(run)[0] == "clean"
    assert "flaky on both sides: example/second" in verdict(run)[1]
    assert found.evidence and found.evidence.base.came == 1
    said = text.summary(run, None)
    assert f"  failed 1 of {found.evidence.base.of} (" in said
    assert " of 5 (" in html.render(run, tmp_path / "run")


def test_what_a_boot_decides_is_not_taken_for_the_series(validate: Validate) -> None:  # noqa: F811
    lucky = {side: itertools.cycle(luck) for side, luck in ((Side.BASE, (0, 0, 1)), (Side.PATCHED, (1, 1, 0)))}

    def take(machine: Machine, **asked: object) -> object:
        side = next(side for side in Side if side in machine.image.parts)
        fails = bool(next(lucky[side]))
        return scripted.take(machine, draw=lambda: fails, **asked)  # type: ignore[arg-type]

    run = validate(FLAKY, f"# patched\n{FLAKY}", take=take, arches=["arm64"])
    assert second(run).change in ("flaky-on-both", "exposed")
    assert verdict(run)[0] != "regressed"


def test_a_test_that_only_patched_fails_now_and_then_is_no_verdict(validate: Validate) -> None:  # noqa: F811
    take = guests(base=iter(lambda: False, None), patched=one_in_five(0))
    run = validate(FLAKY, f"# patched\n{FLAKY}", take=take, arches=["arm64"], rerun={"pairs": 9})
    assert second(run).change == "flaky-on-patched"
    assert verdict(run)[0] == "inconclusive"


def test_a_race_of_one_in_five_that_the_series_brings_is_found_at_last(validate: Validate) -> None:  # noqa: F811
    take = guests(base=iter(lambda: False, None), patched=one_in_five(0))
    run = validate(FLAKY, f"# patched\n{FLAKY}", take=take, arches=["arm64"])
    assert second(run).change == "regressed"
    assert second(run).evidence.patched.of == 25  # type: ignore[union-attr]


def test_without_pairs_the_first_pass_is_all_there_is(validate: Validate, tmp_path: Path) -> None:  # noqa: F811
    run = validate(PASSES, FAILS, arches=["arm64"], rerun={"pairs": 0})
    assert second(run).change == "regressed"
    assert second(run).evidence is None
    assert not (tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json").exists()


def test_a_budget_that_ends_too_early_is_no_guess(validate: Validate) -> None:  # noqa: F811
    run = validate(PASSES, FAILS, arches=["arm64"], rerun={"pairs": 3})
    assert second(run).change == "undecided"
    assert verdict(run)[0] == "inconclusive"


def test_seconds_leave_room_for_what_shows_in_each_pair(validate: Validate) -> None:  # noqa: F811
    run = validate(PASSES, FAILS, arches=["arm64"], rerun={"seconds": 0.001})
    found = second(run)
    assert found.change == "regressed"
    assert found.evidence and found.evidence.patched.of == 5


def test_a_declared_change_is_run_again_until_it_is_no_chance(validate: Validate, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "expect.yaml").write_text("suites: {example: {fixed: [second], same: [first]}}\n")
    run = validate(FAILS, PASSES, arches=["arm64"])
    assert verdict(run)[0] == "validated"
    kept = json.loads((tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json").read_text())
    assert [pair["suite"] for pair in kept] == ["(boot)", "example"] * 4


def test_a_kernel_that_dies_each_time_is_regressed_and_one_that_died_once_is_not(validate: Validate) -> None:  # noqa: F811
    dies = "program:\nsay 1..2\nsay ok 1 first\npanic\n"
    run = validate(PASSES, dies, arches=["arm64"])
    assert changes(run)["(exit)"] == changes(run)["second"] == "regressed"


def test_each_test_of_its_own_is_run_again_alone(validate: Validate, suite: Path, tmp_path: Path) -> None:  # noqa: F811
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    run = validate(PASSES, FAILS.replace("exit 1\n", ""), arches=["arm64"])
    assert changes(run) == {"first": "same", "second": "regressed", "(exit)": "same"}
    kept = json.loads((tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json").read_text())
    assert {pair["program"] for pair in kept if pair["suite"] != "(boot)"} == {"second"}


def test_a_test_of_its_own_that_patched_does_not_list_is_not_asked_for_there(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    booted = []

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        booted.append(workdir)
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    run = validate(PASSES, PASSES.replace("say ok 2 second\n", ""), take=take, arches=["arm64"])
    assert changes(run)["second"] == "removed"
    assert len(booted) == 2


def test_both_sides_are_run_in_turn_and_the_order_is_swapped(validate: Validate, tmp_path: Path) -> None:  # noqa: F811
    ran = []

    def take(machine: Machine, **asked: object) -> object:
        side = next(side for side in Side if side in machine.image.parts)
        return scripted.take(machine, draw=lambda: bool(ran.append(side)), **asked)  # type: ignore[arg-type, func-returns-value]

    validate(FLAKY.replace("say ok 1 first", "say not ok 1 first"), f"{FLAKY}# patched\n", take=take, arches=["arm64"])
    again = ran[2:]
    assert again[:4] == [Side.BASE, Side.PATCHED, Side.PATCHED, Side.BASE]
    assert again.count(Side.BASE) == again.count(Side.PATCHED)


def test_a_guest_that_the_host_killed_is_run_again(validate: Validate) -> None:  # noqa: F811
    def kill() -> bool:
        raise GuestLost("QEMU ended", kind="killed")

    lucky = {Side.BASE: itertools.repeat(bool), Side.PATCHED: itertools.chain([kill], itertools.repeat(bool))}

    def take(machine: Machine, **asked: object) -> object:
        side = next(side for side in Side if side in machine.image.parts)
        return scripted.take(machine, draw=next(lucky[side]), **asked)  # type: ignore[arg-type]

    run = validate(FLAKY, f"# patched\n{FLAKY}", take=take, arches=["arm64"])
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": "killed"}
    assert changes(run) == {"first": "same", "second": "same", "(exit)": "same"}
    words = "patched/arm64-fast: killed: QEMU ended; what it took along was seen when run again"
    assert verdict(run) == ("clean", words)


def booting(which: Callable[[Side, bool], bool]) -> Callable[..., object]:
    """Boot guests, but not where `which` says so of a side, and of whether it is one of a pair."""

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        side = next(side for side in Side if side in machine.image.parts)
        if which(side, workdir.parent.name == "again"):
            workdir.mkdir(parents=True, exist_ok=True)
            (workdir / "console.log").touch()
            raise BootError("panic: VFS", kind="panic")
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    return take


def boots(run: Run) -> Change:
    [found] = [change for change in run.tests if change.suite == "(boot)"]
    return found


def test_where_base_boots_no_more_nothing_is_decided(validate: Validate) -> None:  # noqa: F811
    run = validate(PASSES, FAILS, take=booting(lambda side, again: again and side is Side.BASE), arches=["arm64"])
    assert "arm64-fast: pair 3 did not boot: base: panic: VFS" in run.notes
    assert second(run).change == "undecided"
    assert verdict(run)[0] == "inconclusive"


def test_a_patched_kernel_that_boots_once_and_never_again_is_not_validated(
    validate: Validate,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "expect.yaml").write_text("suites: {example: {fixed: [second]}}\n")
    take = booting(lambda side, again: again and side is Side.PATCHED)
    run = validate(FAILS, PASSES, take=take, arches=["arm64"])
    assert boots(run).change == "regressed"
    assert verdict(run)[0] == "regressed"


def test_a_patched_kernel_that_does_not_boot_once_accuses_nobody(validate: Validate) -> None:  # noqa: F811
    take = booting(lambda side, again: not again and side is Side.PATCHED)
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    assert boots(run).change == second(run).change == "flaky-on-patched"
    value, words = verdict(run)
    assert value == "inconclusive"
    assert words.startswith("patched/arm64-fast: panic: VFS; not against chance when run again ")


def test_boots_that_come_up_are_counted_whatever_else_is_run_in_them(validate: Validate) -> None:  # noqa: F811
    many = "program:\nsay 1..25\n" + "".join(f"say ok {number} t{number}\n" for number in range(1, 26))
    fails = itertools.chain((True,), itertools.cycle((True, False)))  # the first pass, and every other pair
    take = booting(lambda side, _: side is Side.PATCHED and next(fails))
    run = validate(many, f"# patched\n{many}", take=take, arches=["arm64"], rerun={"pairs": 8})
    assert boots(run).change == "flaky-on-patched"
    evidence = boots(run).evidence
    assert evidence and (evidence.patched.came, evidence.patched.of, evidence.base.came) == (6, 11, 0)
    assert verdict(run)[0] == "inconclusive"


def test_benchmarks_in_boots_of_which_patched_makes_none_are_not_clean(validate: Validate, suite: Path) -> None:  # noqa: F811
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text().replace("kind: ktap", "kind: bench"))
    measures = "program:\nsay speed 1 ns\n"

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        if "patched" in machine.image.parts and workdir.parent.name == "boots" and workdir.name != "1":
            raise BootError("panic: VFS", kind="panic")
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    run = validate(measures, f"# patched\n{measures}", take=take, arches=["arm64"], boots=3)
    assert boots(run).change == "flaky-on-patched"
    assert verdict(run)[0] == "inconclusive"


@pytest.mark.parametrize(
    ("happens", "name"),
    [
        (["panic"], "(exit)"),
        (["exit 1"], "(exit)"),
        ([f"kmsg '{line}'" for line in WARNING.splitlines()], "(report) WARNING in do_madvise"),
    ],
)
def test_what_goes_wrong_in_boots_for_benchmarks_alone_is_not_clean(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    happens: list[str],
    name: str,
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text().replace("kind: ktap", "kind: bench"))
    measures = "program:\nsay speed 1 ns\n" + "".join(f"rarely {one}\n" for one in happens)

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        now = "patched" in machine.image.parts and workdir.parent.name == "boots"
        return scripted.take(machine, workdir=workdir, draw=lambda: now, **asked)  # type: ignore[arg-type]

    run = validate(measures, f"# patched\n{measures}", take=take, arches=["arm64"], boots=4)
    [found] = [change for change in run.tests if change.name == name]
    assert found.change == "flaky-on-patched"
    assert found.evidence and (found.evidence.patched.came, found.evidence.base.came) == (4, 0)
    assert verdict(run)[0] == "inconclusive"


def test_without_pairs_boots_for_benchmarks_leave_the_first_pass_of_other_suites_as_it_is(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    more = suite.with_name("more")
    shutil.copytree(suite, more)
    (more / "suite.yaml").write_text("name: more\nkind: bench\nsources: [main.c]\n")
    both = [str(suite), str(more)]
    run = validate(PASSES, FAILS, arches=["arm64"], boots=2, rerun={"pairs": 0}, suites=both)
    assert second(run).change == "regressed"


@pytest.mark.parametrize("name", ["again", "boots"])
def test_of_boots_that_nobody_is_told_of_no_line_is_compared(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    """As a run leaves them that was killed in them, and has fewer when it goes on."""
    more = {"boots": 2} if name == "boots" else {}
    if more:
        (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text().replace("kind: ktap", "kind: bench"))
    stray = tmp_path / "run" / "patched" / "arm64-fast" / name / "9"

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        if workdir == stray.parent.parent:  # the first pass
            stray.mkdir(parents=True)
            (stray / "console.log").write_text("[    1.000000] left by another boot\n")
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    run = validate(PASSES, FAILS, take=take, arches=["arm64"], **more)
    assert stray.parent.exists()
    assert not stray.exists()
    assert not [one for one in run.lines if "left by" in one.words]


WARNS = "".join(f"kmsg '{line}'\n" for line in WARNING.splitlines())
RARELY = [f"rarely {line}" for line in WARNS.splitlines()]


def test_a_report_under_a_suite_is_run_again_as_a_test_is(validate: Validate) -> None:  # noqa: F811
    run = validate(PASSES, f"{PASSES}{WARNS}", arches=["arm64"])
    [found] = [change for change in run.tests if change.name.startswith("(report)")]
    assert (found.suite, found.name, found.change) == ("example", "(report) WARNING in do_madvise", "regressed")
    assert found.evidence and (found.evidence.patched.came, found.evidence.patched.of) == (5, 5)
    assert verdict(run) == ("regressed", "arm64: 1 regressed: example/(report) WARNING in do_madvise")


def test_a_report_that_base_gives_now_and_then_accuses_nobody(validate: Validate) -> None:  # noqa: F811
    rarely = PASSES + "".join(f"{line}\n" for line in RARELY)  # asks once for each of five lines
    take = guests(base=itertools.chain([False] * 5, itertools.repeat(True)), patched=itertools.repeat(True))
    run = validate(rarely, f"# patched\n{rarely}", take=take, arches=["arm64"])
    [found] = [change for change in run.tests if change.name.startswith("(report)")]
    assert found.change == "flaky-on-both"
    assert verdict(run)[0] == "clean"


def several(suite: Path, quiet: str, loud: str, *lines: str) -> None:  # noqa: F811
    """Make it a suite of two programs, of which one does what `lines` say."""
    (suite / "suite.yaml").write_text(f"{{name: example, kind: exit, binaries: [{quiet}, {loud}]}}\n")
    (suite / quiet).write_text(scripted.program("say fine"))
    (suite / loud).write_text(scripted.program(*lines))


def test_many_flaky_tests_of_a_program_leave_room_for_what_another_one_breaks(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    """All in the first pass, then every other time, in the five pairs that the seconds leave room for."""
    (suite / "suite.yaml").write_text("{name: example, kind: ktap, binaries: [early, late]}\n")
    (suite / "early").write_text(scripted.program("say 1..30", *(f"mostly ok {one} t{one}" for one in range(1, 31))))
    (suite / "late").write_text(scripted.program("say 1..1", "mostly ok 1 last"))

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        first, patched = workdir.parent.name != "again", "patched" in machine.image.parts
        order = itertools.chain([patched] * 30 if first else itertools.repeat(False, 30), itertools.repeat(patched))
        return scripted.take(machine, workdir=workdir, draw=functools.partial(next, order), **asked)  # type: ignore[arg-type]

    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"], rerun={"seconds": 0.001})
    rates = {one.name: one.evidence.patched for one in run.tests if one.evidence}
    assert (rates["late/last"].came, rates["late/last"].of) == (5, 5)
    assert (rates["early/t30"].came, rates["early/t30"].of) == (0, 5)


def test_what_has_had_its_pairs_gives_way_to_what_has_not() -> None:
    wanted = [("s", f"t{number}") for number in range(30)]
    runs = {name: 5 if number < 25 else 4 for number, name in enumerate(wanted)}
    assert pairs.chosen(wanted, runs.__getitem__, lambda name: name, 5) == [*wanted[25:], *wanted[:15]]
    assert pairs.chosen(wanted, lambda _: 4, lambda name: name, 5) == wanted[:20]  # the gravest first
    assert pairs.chosen(wanted, lambda _: 4, lambda _: ("s", "program"), 5) == wanted  # which are one run


def report(run: Run) -> Change:
    [found] = [change for change in run.tests if "(report)" in change.name]
    return found


def test_a_report_under_one_of_several_programs_is_run_again_with_that_program(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    several(suite, "quiet it", "loud one", "say fine", *RARELY)
    take = guests(base=itertools.repeat(False), patched=itertools.repeat(True))
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    found = report(run)
    assert (found.suite, found.name) == ("example", "loud one/(report) WARNING in do_madvise")
    assert found.change == "regressed"
    assert found.evidence and (found.evidence.patched.came, found.evidence.patched.of) == (5, 5)
    kept = store.load_pairs(tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json") or []
    assert {pair.program for pair in kept if pair.suite != "(boot)"} == {"loud one"}
    assert verdict(run) == ("regressed", "arm64: 1 regressed: example/loud one/(report) WARNING in do_madvise")


def test_a_taint_under_one_of_several_programs_is_run_again_with_that_program(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    several(suite, "quiet", "loud", "rarely taint 512")
    take = guests(base=itertools.repeat(False), patched=itertools.repeat(True))
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    [found] = [change for change in run.tests if change.name.endswith("(taint)")]
    assert (found.name, found.change) == ("loud/(taint)", "regressed")
    assert found.evidence and (found.evidence.patched.came, found.evidence.patched.of) == (5, 5)
    assert verdict(run) == ("regressed", "arm64: 1 regressed: example/loud/(taint)")


def test_a_report_that_comes_once_under_one_of_several_programs_accuses_nobody(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    several(suite, "quiet", "loud", *RARELY)
    once = itertools.chain([True] * 5, itertools.repeat(False))
    run = validate(
        *(PASSES, f"# patched\n{PASSES}"),
        take=guests(base=itertools.repeat(False), patched=once),
        arches=["arm64"],
    )
    found = report(run)
    assert (found.name, found.change) == ("loud/(report) WARNING in do_madvise", "flaky-on-patched")
    assert verdict(run)[0] == "inconclusive"


def test_a_report_under_several_programs_is_that_of_the_first(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    several(suite, "quiet", "loud", *RARELY)
    (suite / "suite.yaml").write_text("{name: example, kind: exit, binaries: [quiet, loud, echo]}\n")
    shutil.copy(suite / "loud", suite / "echo")
    take = guests(base=itertools.repeat(False), patched=itertools.repeat(True))
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    assert report(run).name == "loud/(report) WARNING in do_madvise"


LEAKS = "rarely kmsg 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug)'"


def test_a_leak_which_is_looked_for_after_all_programs_is_blamed_on_none_of_them(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    several(suite, "quiet", "loud", LEAKS)
    take = guests(base=itertools.repeat(False), patched=itertools.repeat(True))
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    found = report(run)
    assert (found.name, found.change) == ("(report) kmemleak: suspected memory leaks", "regressed")
    assert found.evidence and (found.evidence.patched.came, found.evidence.patched.of) == (5, 5)
    assert verdict(run)[0] == "regressed"
    kept = store.load_pairs(tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json") or []
    [programs] = {tuple(one.name for one in pair.base.results) for pair in kept if pair.suite != "(boot)"}
    assert programs == ("quiet", "loud")


def test_a_leak_that_comes_once_under_several_programs_accuses_nobody(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    several(suite, "quiet", "loud", LEAKS)
    once = itertools.chain([True], itertools.repeat(False))
    take = guests(base=itertools.repeat(False), patched=once)
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"])
    assert report(run).change == "flaky-on-patched"
    assert verdict(run)[0] == "inconclusive"


@pytest.mark.parametrize(
    ("pairs", "kind", "answer"), [(60, "undecided", "inconclusive"), (0, "regressed", "regressed")]
)
def test_a_report_that_cannot_be_run_again_is_judged_by_the_first_pass_alone_where_that_is_asked_for(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    pairs: int,
    kind: str,
    answer: str,
) -> None:
    """Of a leak in a guest that several suites share nobody can say whose it is."""
    several(suite, "quiet", "loud", LEAKS)
    more = suite.with_name("more")
    shutil.copytree(suite, more)
    for one in (suite, more):
        words = (one / "suite.yaml").read_text().replace("example", one.name).replace("}", ", isolation: boot}")
        (one / "suite.yaml").write_text(words)
    run = validate(
        *(PASSES, f"# patched\n{PASSES}"),
        take=guests(base=itertools.repeat(False), patched=itertools.repeat(True)),
        arches=["arm64"],
        suites=[str(suite), str(more)],
        rerun={"pairs": pairs},
    )
    assert (report(run).suite, report(run).change) == (f"{suite.name}, more", kind)
    assert verdict(run)[0] == answer


def dying(*, once: bool, name: str = "") -> Callable[..., object]:
    """Boot guests of which patched's, `once` in the first pass alone, die as they are looked over at their end."""

    class Dying(scripted.ScriptedGuest):
        """Dies as the kernel looks for what leaked."""

        dies = False

        def copy(self, console: Path) -> scripted.ScriptedGuest:
            other = super().copy(console)
            again = "again" in console.parts
            other.__class__, other.dies = Dying, console.parent.name.startswith(name) and not (once and again)  # type: ignore[attr-defined]
            return other

        def run(self, command: str, **asked: object) -> CommandResult:
            if self.dies and "kmemleak" in command:
                self._follow(["panic"], 1, scripted._Said())
            return super().run(command, **asked)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def take(machine: Machine, **asked: object) -> Iterator[object]:
        with scripted.take(machine, **asked) as snapshot:  # type: ignore[arg-type]
            if "patched" in machine.image.parts:
                snapshot._booted.__class__ = Dying
            yield snapshot

    return take


@pytest.mark.parametrize("programs", [1, 2])
@pytest.mark.parametrize(
    ("once", "pairs", "kind", "answer"),
    [
        (False, 60, "regressed", "regressed"),
        (True, 60, "flaky-on-patched", "inconclusive"),
        (False, 2, "undecided", "inconclusive"),
        (False, 0, "regressed", "regressed"),
    ],
)
def test_a_guest_that_dies_after_its_last_test_is_run_again_with_all_of_its_suite(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    programs: int,
    once: bool,
    pairs: int,
    kind: str,
    answer: str,
) -> None:
    if programs == 2:
        several(suite, "quiet", "loud", "say fine")
    run = validate(PASSES, f"# patched\n{PASSES}", take=dying(once=once), arches=["arm64"], rerun={"pairs": pairs})
    found = changes(run)
    assert found.pop("(exit)") == kind
    assert {*found.values()} == {"same"}
    value, words = verdict(run)
    assert value == answer
    assert "panic: scripted" in words


@pytest.mark.parametrize(("once", "kind"), [(False, "regressed"), (True, "flaky-on-patched")])
def test_a_guest_of_one_test_that_dies_after_it_is_run_again_with_that_test(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    once: bool,
    kind: str,
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    run = validate(PASSES, f"# patched\n{PASSES}", take=dying(once=once, name="first"), arches=["arm64"])
    assert changes(run) == {"first": kind, "second": "same", "(exit)": "same"}


def test_a_leak_in_the_guest_of_one_test_is_looked_for_with_that_test(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    leaks = "kmsg 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug)'\n"
    found = report(validate(PASSES, f"{PASSES}{leaks}", arches=["arm64"]))
    assert (found.name, found.change) == ("first/(report) kmemleak: suspected memory leaks", "regressed")
    assert found.evidence


def test_a_report_is_that_of_the_suite_with_the_whole_of_its_name(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
) -> None:
    more = suite.with_name("more")
    shutil.copytree(suite, more)
    several(more, "quiet", "loud", *RARELY)
    (more / "suite.yaml").write_text((more / "suite.yaml").read_text().replace("example", "example.more"))
    take = guests(base=itertools.repeat(False), patched=itertools.repeat(True))
    run = validate(PASSES, f"# patched\n{PASSES}", take=take, arches=["arm64"], suites=[str(suite), str(more)])
    found = report(run)
    assert (found.suite, found.name) == ("example.more", "loud/(report) WARNING in do_madvise")


def test_a_report_in_the_guest_of_one_test_is_run_again_with_that_test(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    run = validate(PASSES, f"{PASSES}{WARNS}", arches=["arm64"])
    found = report(run)
    assert (found.name, found.change) == ("first/(report) WARNING in do_madvise", "regressed")
    kept = store.load_pairs(tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json") or []
    assert {pair.program for pair in kept if pair.suite != "(boot)"} == {"first"}


BOOT_WARNS = "".join(f"boot-kmsg: {line}\n" for line in WARNING.splitlines())


def test_a_report_as_the_kernel_boots_is_looked_for_in_more_boots(
    validate: Validate,  # noqa: F811
    tmp_path: Path,
) -> None:
    run = validate(PASSES, f"{BOOT_WARNS}{PASSES}", arches=["arm64"])
    [found] = [change for change in run.tests if change.name.startswith("(report)")]
    assert (found.suite, found.change) == ("(boot)", "regressed")
    assert found.evidence and (found.evidence.patched.came, found.evidence.patched.of) == (5, 5)
    assert verdict(run) == ("regressed", "arm64: 1 regressed: (boot)/(report) WARNING in do_madvise")
    [pair] = store.load_pairs(tmp_path / "run" / "patched" / "arm64-fast" / "pairs.json")[:1]
    assert (tmp_path / "run" / pair.patched.guest.console).read_text().count("WARNING") == 1


def test_a_report_of_some_boots_of_both_kernels_accuses_nobody(validate: Validate) -> None:  # noqa: F811
    warns = f"{BOOT_WARNS}{PASSES}"
    take = guests(base=itertools.cycle((True, False)), patched=itertools.cycle((False, True)))
    run = validate(warns, f"# patched\n{warns}", take=take, arches=["arm64"])
    [found] = [change for change in run.tests if change.name.startswith("(report)")]
    assert (found.suite, found.change) == ("(boot)", "flaky-on-both")
    assert verdict(run)[0] == "clean"


def test_what_failed_on_the_same_base_before_is_said_and_decides_nothing(
    validate: Validate,  # noqa: F811
    tmp_path: Path,
) -> None:
    take = guests(base=one_in_five(0), patched=iter(lambda: False, None))
    validate(FLAKY, f"# one\n{FLAKY}", take=take, name="earlier", arches=["arm64"])  # both may begin in one second
    (tmp_path / "series").rename(tmp_path / "series-1")
    again = guests(base=iter(lambda: False, None), patched=itertools.repeat(True))
    run = validate(None, f"# two\n{FLAKY}", take=again, arches=["arm64"], series=str(tmp_path / "series-1"))
    found = second(run)
    assert found.change == "regressed"  # it is said, and hides nothing
    assert found.earlier.startswith("failed ")
    assert found.earlier.endswith(" times on this base in earlier runs")
    assert "in earlier runs" in html.render(run, tmp_path / "run")


def test_a_benchmark_is_measured_in_as_many_boots_as_are_asked_for(
    validate: Validate,  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (suite / "suite.yaml").write_text("name: example\nkind: bench\nsources: [main.c]\n")
    booted = []

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        booted.append(str(workdir.relative_to(tmp_path / "run")))
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    slow = "program:\nsay t 1{} ns\nsay t 1{} ns\n"
    run = validate(slow.format("00", "01"), slow.format("30", "31"), take=take, arches=["arm64"], boots=3)
    more = [f"{side}/arm64-fast/boots/{number}" for number in (1, 2, 3) for side in Side]
    assert booted[2:] == more
    [pair] = run.metrics
    assert pair.effect and (pair.effect.boots, pair.effect.kind) == (3, "more")
    assert pair.base.samples == (100, 101) * 3
    assert pair.counted  # emulated: by a clock that no other work on this machine moves
    assert "over 3 boots" in html.render(run, tmp_path / "run")


@pytest.mark.parametrize("pairs", [-1, 1001])
def test_a_budget_is_a_number_of_pairs(pairs: int, request_for) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    with pytest.raises(ValueError, match="pairs"):
        request_for(PASSES, FAILS, rerun={"pairs": pairs})


def test_the_campaign_counts_every_kernel_that_a_run_booted(
    request_for: Callable[..., Request],  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    booted = list[Path]()

    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        booted.append(workdir)
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    bench = shutil.copytree(suite, tmp_path / "bench")
    (bench / "suite.yaml").write_text("name: bench\nkind: bench\nsources: [main.c]\n")
    texts = [f"{number}\n{FAILS if number == 3 else PASSES}" for number in range(4)]
    todo = plan.make(request_for(*texts, arches=["arm64"], suites=[str(suite), str(bench)], boots=2))
    seeded = Entry(tmp_path / "seeded", entry.load(entry.CORPUS / "null-shipped").answer)
    with job.start(todo, store.given_directory(tmp_path / "seeded@arm64" / "run"), lambda *_: None, take) as started:
        pipeline.validate(started)
        culprits.look(started)
    assert len(booted) > 2 + 2 * 6 + 2 * 2
    assert play.boots(seeded, ["arm64"], tmp_path) == len(booted)
