"""What is known of each changed line, and the sentence that is made of it."""

from dataclasses import replace

import pytest

from orchestrator.judge import coverage, hunks, strength
from orchestrator.judge.coverage import Scene
from orchestrator.model import (
    BuildRecord,
    Cell,
    GuestOutcome,
    GuestRecord,
    LineCoverage,
    LineState,
    Side,
    Uncompiled,
)
from orchestrator.model.coverage import BOOT, Compiled, Hits, Reading

TEXT = """\
int f(int what)
{
	int how = 0;
	/* a comment */
	if (what == DROP)
		how = 1;
	else
		how = 2;
#ifdef CONFIG_NEVER
	never();
#endif
	if (what < 0)
		return g(what);
	return h(what,
			how);
}
"""
CELL = Cell(Side.PATCHED, "arm64", "coverage")
COUNTERS = {1: Hits(0), 5: Hits(0, (0, 0)), 12: Hits(0, (0, 0)), 13: Hits(0), 14: Hits(0)}
LEFT = tuple(line for line in range(1, 17) if line not in (9, 10, 11))


def scene(*readings: Reading, file: str = "mm/a.c", text: str = TEXT) -> Scene:
    compiled = Compiled({file: LEFT}, {file: COUNTERS})
    return Scene(CELL, {file: text}, {"mm/a.o": compiled}, readings)


def reading(program: str, counts: dict[int, Hits], file: str = "mm/a.c") -> Reading:
    return Reading(program, {file: COUNTERS | counts})


def states(told: list[LineCoverage]) -> dict[int, LineState]:
    return {line.line: line.state for line in told}


BOTH = {1: Hits(4), 5: Hits(4, (3, 1)), 12: Hits(4, (0, 4)), 14: Hits(4)}
EVERY = {"mm/a.c": list(range(1, 17))}


def test_a_line_ran_never_ran_was_left_out_or_is_no_code() -> None:
    told = states(coverage.judge(scene(reading("s/one", BOTH)), EVERY))
    of_state = {state: [line for line, found in told.items() if found is state] for state in LineState}
    assert of_state == {
        LineState.RAN: [1, 3, 5, 6, 8, 12, 14, 15],
        LineState.IDLE: [13],
        LineState.UNCOUNTED: [],
        LineState.ABSENT: [10],
        LineState.PLAIN: [2, 4, 7, 9, 11, 16],
    }


def test_a_line_without_a_counter_whose_condition_went_one_way_alone_may_have_run() -> None:
    told = states(coverage.judge(scene(reading("s/one", BOTH | {5: Hits(4, (4, 0))})), EVERY))
    assert (told[6], told[8]) == (LineState.UNCOUNTED, LineState.UNCOUNTED)


def test_what_hangs_on_a_condition_that_never_ran_never_ran() -> None:
    told = states(coverage.judge(scene(), EVERY))
    assert {told[line] for line in (3, 5, 6, 8, 12, 13, 14, 15)} == {LineState.IDLE}


def test_where_a_guest_died_before_it_told_nothing_is_said_never_to_have_run() -> None:
    told = states(coverage.judge(replace(scene(reading("s/one", BOTH)), lost=True), EVERY))
    assert told[13] is LineState.UNCOUNTED
    assert told[5] is LineState.RAN


def test_programs_are_named_with_how_often_they_ran_a_line_and_branches_are_counted() -> None:
    more = reading("s/two", {1: Hits(9), 5: Hits(9, (9, 0)), 14: Hits(9)})
    told = coverage.judge(scene(reading(BOOT, BOTH), more, reading("s/none", {})), {"mm/a.c": [5, 14, 15]})
    assert [(line.times, line.by, line.programs, line.taken, line.branches) for line in told] == [
        (13, {"s/two": 9, BOOT: 4}, 2, 2, 2),
        (13, {"s/two": 9, BOOT: 4}, 2, 0, 0),
        (13, {"s/two": 9, BOOT: 4}, 2, 0, 0),
    ]


def test_what_is_compiled_into_objects_that_do_not_count_is_not_called_uncompiled() -> None:
    other = replace(scene(), objects={}, elsewhere=frozenset({"mm/a.c"}))
    assert states(coverage.judge(other, EVERY))[6] is LineState.UNCOUNTED
    assert states(coverage.judge(replace(other, elsewhere=frozenset()), EVERY))[6] is LineState.ABSENT


def test_an_inline_function_that_counts_nowhere_may_have_run_in_objects_that_do_not_count() -> None:
    header = replace(scene(file="mm/a.h"), objects={"mm/b.o": Compiled({"mm/a.h": LEFT})})
    lines = {"mm/a.h": list(range(1, 17))}
    assert states(coverage.judge(replace(header, elsewhere=frozenset(lines)), lines))[6] is LineState.UNCOUNTED


def test_a_header_s_line_that_did_not_run_where_it_counts_may_have_run_where_it_does_not() -> None:
    header, lines = scene(file="mm/a.h"), {"mm/a.h": [5]}
    assert states(coverage.judge(header, lines))[5] is LineState.IDLE
    assert states(coverage.judge(replace(header, elsewhere=frozenset(lines)), lines))[5] is LineState.UNCOUNTED


def test_documents_and_programs_of_the_host_are_no_code() -> None:
    told = coverage.judge(Scene(CELL, {"tools/a.c": TEXT}), {"tools/a.c": [5, 6]})
    assert {line.state for line in told} == {LineState.PLAIN}


def test_changed_lines_are_those_that_the_series_wrote_or_took_away() -> None:
    diff = "diff --git a/mm/a.c b/mm/a.c\n--- a/mm/a.c\n+++ b/mm/a.c\n@@ -2 +2,2 @@\n-x\n+y\n+z\n"
    lines = hunks.parse(diff)
    assert coverage.changed(lines, Side.PATCHED, {"mm/a.c": "a\ny\nz\n"}) == {"mm/a.c": [2, 3]}
    assert coverage.changed(lines, Side.BASE, {"mm/a.c": "a\nx\n"}) == {"mm/a.c": [2]}


RECORD = BuildRecord(Side.PATCHED, "arm64", "coverage", 1.0, 1.0, False, "aa", False, "log")
FILES = ("mm/a.c",)


def line(number: int, state: LineState, arch: str = "arm64", side: Side = Side.PATCHED) -> LineCoverage:
    return LineCoverage(side, arch, "coverage", "mm/a.c", number, state)


def said(*lines: LineCoverage, uncompiled: tuple[Uncompiled, ...] = (), arches: tuple[str, ...] = ()) -> str:
    builds = [replace(RECORD, arch=arch) for arch in arches or sorted({line.arch for line in lines})]
    return strength.sentence(builds, uncompiled, lines, FILES)


def test_the_sentence_counts_what_ran_on_every_architecture() -> None:
    both = [line(number, LineState.RAN, arch) for number in range(38) for arch in ("x86_64", "arm64")]
    assert said(*both) == "38 of 38 changed lines ran on both architectures"
    more = (
        line(50, LineState.RAN),
        line(50, LineState.IDLE, "x86_64"),
        line(51, LineState.IDLE),
        line(60, LineState.PLAIN),
    )
    assert said(*both, *more) == (
        "38 of 40 changed lines ran on both architectures; 1 on arm64 alone; 1 never ran (mm/a.c:51)"
    )


@pytest.mark.parametrize("state", [LineState.UNCOUNTED, LineState.ABSENT])
def test_where_nobody_counted_a_line_is_not_said_to_have_run_on_the_other_alone(state: LineState) -> None:
    words = said(line(1, LineState.RAN), line(1, state, "x86_64"))
    other = " alone" if state is LineState.ABSENT else ", not counted on x86_64"
    assert words == f"0 of 1 changed line ran on both architectures; 1 on arm64{other}"


def test_an_architecture_that_gave_no_counts_is_named() -> None:
    assert said(line(1, LineState.RAN)) == "1 of 1 changed line ran on arm64"
    builds = [replace(RECORD, arch=arch) for arch in ("x86_64", "arm64")]
    builds.append(replace(RECORD, arch="riscv64", flavour="fast"))
    words = strength.sentence(builds, (), [line(1, LineState.RAN)], FILES)
    assert words == "1 of 1 changed line ran on arm64; not measured on x86_64"


def test_what_ran_on_some_of_several_architectures_is_counted() -> None:
    arches = ("x86_64", "arm64", "riscv64")
    some = [line(1, LineState.RAN, "x86_64"), line(1, LineState.RAN, "arm64"), line(1, LineState.IDLE, "riscv64")]
    words = "0 of 1 changed line ran on x86_64 and arm64 and riscv64; 1 on x86_64 and arm64 alone"
    assert said(*some, arches=arches) == words


def test_lines_that_never_ran_are_named() -> None:
    assert said(*(line(number, LineState.IDLE) for number in range(1, 6))) == (
        "0 of 5 changed lines ran on arm64; 5 never ran (mm/a.c:1, 2, 3 and 2 more)"
    )
    assert said(line(1, LineState.RAN), line(2, LineState.UNCOUNTED)) == (
        "1 of 2 changed lines ran on arm64; 1 without a counter"
    )


def test_lines_that_are_not_compiled_are_said_with_the_option_that_they_wait_for() -> None:
    waits = (Uncompiled("arm64", "coverage", "mm/a.c", ("ZSWAP",)),)
    absent = [line(number, LineState.ABSENT) for number in range(12)]
    assert said(*absent, uncompiled=waits) == "0 of 12 changed lines are compiled by this config: enable CONFIG_ZSWAP"
    assert said(line(1, LineState.ABSENT)) == "0 of 1 changed line is compiled by this config"
    assert said(line(20, LineState.RAN), *absent, uncompiled=waits) == (
        "1 of 13 changed lines ran on arm64; 12 not compiled by this config: enable CONFIG_ZSWAP"
    )


def test_checkers_that_were_off_are_said_with_what_ran() -> None:
    off = GuestRecord(Side.BASE, "arm64", "debug", "tcg", 1.0, GuestOutcome.OK, "console.log", off=("lockdep",))
    lanes = [off, replace(off, side=Side.PATCHED), replace(off, arch="x86_64", off=("kmemleak", "lockdep"))]
    words = strength.sentence([RECORD], (), (), FILES, guests=lanes)
    assert words.removeprefix(strength.NOT_MEASURED) == (
        "; kmemleak was off before the end on x86_64-debug, and reports nothing more"
        "; lockdep was off before the end on arm64-debug, x86_64-debug, and reports nothing more"
    )


def test_a_series_that_only_takes_lines_away_is_judged_by_those_of_base() -> None:
    gone = line(7, LineState.RAN, side=Side.BASE)
    assert said(gone, line(3, LineState.PLAIN)) == "1 of 1 removed line ran on arm64"
    assert said(line(3, LineState.PLAIN)) == "no changed line is a statement that could be seen to run"


def test_what_was_not_measured_is_never_called_covered() -> None:
    assert said() == "not measured whether the changed lines ran (--flavour coverage says)"
    broken = replace(RECORD, error="SYNTAX", image_sha256=None)
    assert strength.sentence([broken], (), [line(7, LineState.RAN, side=Side.BASE)], FILES) == strength.NOT_MEASURED
    noop = replace(RECORD, noop=True)
    assert strength.sentence([noop], (), (), FILES) == "image identical, nothing tested"
    assert strength.sentence([], (), (), ()) == "the series changes no file: nothing was tested"
    assert "no source of the kernel" in strength.sentence([RECORD], (), (), ("Documentation/mm.rst",))
