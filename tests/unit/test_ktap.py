"""KTAP parsing on real shapes of output."""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Outcome
from orchestrator.trial import ktap

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
        ("c", Outcome.SKIP, ""),
    ]
    assert parsed.complete


def test_subtests_by_indentation_get_their_parents_name() -> None:
    assert outcomes(KUNIT) == {
        "example/adds": Outcome.PASS,
        "example/subtracts": Outcome.FAIL,
        "example/divides": Outcome.SKIP,
    }


def test_subtests_behind_a_hash_get_their_parents_name() -> None:
    found = outcomes(KSELFTEST)
    assert found["selftests: vm: locked # exit=1/second"] is Outcome.FAIL
    assert found["selftests: vm: other"] is Outcome.PASS


def test_planned_tests_without_a_result_are_counted_and_get_no_invented_names() -> None:
    parsed = ktap.parse("1..3\nok 1 a\n", "s")
    assert [r.name for r in parsed.results] == ["a"]
    assert (parsed.unseen, parsed.complete) == (2, False)


def test_the_running_test_is_a_crash() -> None:
    parsed = ktap.parse("1..3\n# run a\nok 1 a\n# run b\n# half way\n", "s")
    assert [(r.name, r.outcome, r.output) for r in parsed.results][1:] == [("b", Outcome.CRASH, "half way")]
    assert not parsed.complete


def test_a_plan_at_the_end_counts_and_no_plan_is_not_complete() -> None:
    assert ktap.parse("ok 1 a\n1..1\n", "s").complete
    assert not ktap.parse("ok 1 a\n", "s").complete


def test_a_bail_out_is_not_complete() -> None:
    parsed = ktap.parse("1..1\nBail out! no memory\n", "s")
    assert parsed.bailed == "no memory"
    assert not parsed.complete


def test_two_tests_of_one_name_stay_two() -> None:
    assert outcomes("1..2\nok 1 a\nnot ok 2 a\n") == {"a": Outcome.PASS, "a#2": Outcome.FAIL}


def test_directives_are_read_whatever_their_case() -> None:
    assert outcomes("1..3\nnot ok 1 a # todo later\nnot ok 2 b # TIMEOUT 45 s\nnot ok 3 c # XFAIL\n") == {
        "a": Outcome.XFAIL,
        "b": Outcome.TIMEOUT,
        "c": Outcome.XFAIL,
    }


def test_a_forged_plan_costs_nothing() -> None:
    assert ktap.parse("1..999999999999\n", "s").unseen == 999999999999


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ok not1.2# \n\t-SKIPTAPversion\x00\x1b"), max_size=300))
def test_any_text_gives_results_and_no_exception(text: str) -> None:
    ktap.parse(text, "s")
