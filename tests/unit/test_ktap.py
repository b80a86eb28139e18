"""KTAP parsing: what the files of test_output.py cannot show."""

import pytest

from orchestrator.model import Outcome
from orchestrator.trial.kinds import ktap, lines, names
from orchestrator.trial.kinds.lines import Words

KUNIT = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: example
    1..3
    ok 1 adds
    # add: expected 4
    not ok 2 subtracts
    ok 3 divides # SKIP no FPU
not ok 1 example
"""

KSELFTEST = """\
TAP version 13
1..2
# selftests: vm: locked
# KTAP version 1
# 1..2
# ok 1 first
# not ok 2 second
not ok 1 selftests: vm: locked # exit=1
ok 2 selftests: vm: other
"""


def outcomes(text: str) -> dict[str, Outcome]:
    return {result.name: result.outcome for result in ktap.parse(text, "s").results}


def test_a_flat_list_gives_each_test_its_outcome_and_its_own_output() -> None:
    parsed = ktap.parse("KTAP version 1\n1..3\n# why\nok 1 a\n# because\nnot ok 2 b\nok 3 c # SKIP none\n", "s")
    assert [(r.name, r.outcome, r.output) for r in parsed.results] == [
        ("a", Outcome.PASS, "why"),
        ("b", Outcome.FAIL, "because"),
        ("c", Outcome.SKIP, "SKIP none"),
    ]
    assert not parsed.faults


def test_a_parent_is_a_test_too_so_that_its_death_is_seen_where_its_subtests_never_came() -> None:
    assert outcomes(KUNIT) == {
        "example/adds": Outcome.PASS,
        "example/subtracts": Outcome.FAIL,
        "example/divides": Outcome.SKIP,
        "example": Outcome.FAIL,
    }


def test_what_is_said_beside_a_result_is_no_part_of_the_name() -> None:
    failed = outcomes(KSELFTEST)
    assert failed["selftests: vm: locked/second"] is Outcome.FAIL
    assert failed.keys() == outcomes(KSELFTEST.replace("not ok", "ok").replace(" # exit=1", "")).keys()


def test_planned_tests_without_a_result_are_counted_and_get_no_invented_names() -> None:
    parsed = ktap.parse("1..3\nok 1 a\n", "s")
    assert [r.name for r in parsed.results] == ["a"]
    assert parsed.unseen == 2
    assert parsed.faults


def test_the_running_test_is_a_crash() -> None:
    parsed = ktap.parse("1..3\n# run a\nok 1 a\n# run b\n# half way\n", "s")
    assert [(r.name, r.outcome, r.output) for r in parsed.results][1:] == [("b", Outcome.CRASH, "half way")]
    assert parsed.faults


def test_a_forged_plan_costs_nothing() -> None:
    assert ktap.parse("1..999999999999\n", "s").unseen == 999999999999
    assert ktap.parse(f"1..{'9' * 5000}\n", "s").planned is None


def test_a_thousand_levels_cost_nothing_and_lose_no_name() -> None:
    text = "".join(f"{' ' * depth}ok 1 at {depth}\n" for depth in range(1000))
    found = ktap.parse(text, "s").results
    assert any(result.name.endswith("/at 14") for result in found)
    assert sum(len(result.output) + len(result.name) for result in found) < 100_000


def test_a_line_of_a_megabyte_is_a_result_with_a_shorter_name_and_its_directive_counts() -> None:
    [result] = ktap.parse(f"1..1\nok 1 {'x' * (1 << 20)} # SKIP no device\n", "s").results
    assert result.outcome is Outcome.SKIP
    assert len(result.name) == names.MAX_CHARS + len("...")


def test_of_a_long_output_the_first_and_the_last_lines_are_kept() -> None:
    said = "".join(f"line {number}\n" for number in range(50_000))
    [result] = ktap.parse(f"1..1\n{said}not ok 1 a\n", "s").results
    assert result.output.startswith("line 0\nline 1\n")
    assert result.output.endswith("line 49998\nline 49999")
    assert "\n[...]\n" in result.output
    assert len(result.output) < 70_000


def test_a_single_long_line_leaves_room_for_the_next() -> None:
    words = Words("a", "b" * (1 << 20), "c")
    assert str(words).startswith("a\n[...]\nb")
    assert str(words).endswith("b\nc")


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20, 3 << 20])
def test_lines_are_the_same_wherever_the_text_is_taken_apart(size: int) -> None:
    text = "\r\n".join("x" * (number % 50) for number in range(max(3, size // 25))) + "\nlast"
    assert [*lines.whole(text), lines.cut(text)] == text.replace("\r\n", "\n").split("\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ok 3 selftests: mm: foo", "ok 4 selftests: mm: foo"),
        ("ok 3 - foo", "ok 4 foo"),
        ("ok 3 3. foo", "ok 4 4. foo"),
        ("ok 1 map at 0x7f0000001000", "ok 1 map at 0x7ffff7a0d000"),
        ("ok 1 kill pid 12", "ok 1 kill pid 4711"),
        ("ok 1 in /tmp/ksft.Ab3dE9/x", "ok 1 in /tmp/ksft.Zz9yX1/x"),
        ("ok 1 foo", "not ok 1 foo # exit=1"),
        ("ok 1 foo", "ok 1 # SKIP foo"),
    ],
)
def test_the_same_test_has_the_same_name_in_another_run(one: str, other: str) -> None:
    assert outcomes(f"{one}\n").keys() == outcomes(f"{other}\n").keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ok 1 2 threads", "ok 1 4 threads"),
        ("ok 1 flags 0x10", "ok 1 flags 0x20"),
        ("ok 1 mask 0xffffffffffffffff", "ok 1 mask 0xffffffff00000000"),
        ("ok 1 /tmp/a.config", "ok 1 /tmp/b.config"),
        ("ok 1 rapid 1", "ok 1 rapid 2"),
    ],
)
def test_another_test_keeps_another_name(one: str, other: str) -> None:
    assert outcomes(f"{one}\n").keys() != outcomes(f"{other}\n").keys()
