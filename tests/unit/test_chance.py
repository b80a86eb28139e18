"""What paired runs are worth as evidence: exact, and still true for who stops when it suits."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.judge import chance
from orchestrator.judge.chance import Pairs

COUNTS = st.integers(0, 60)
PAIRS, RUNS = 60, 4000
FLAKINESS = (0.01, 0.05, 0.2, 0.5)


@settings(max_examples=50)
@given(COUNTS, COUNTS)
def test_one_more_pair_is_on_average_worth_nothing_where_both_sides_fail_as_often(suspected: int, other: int) -> None:
    now = chance.evidence(suspected, other)
    then = (chance.evidence(suspected + 1, other) + chance.evidence(suspected, other + 1)) / 2
    assert then == pytest.approx(now, rel=1e-6)


@settings(max_examples=50)
@given(COUNTS, COUNTS)
def test_a_failure_on_the_suspected_side_is_evidence_and_one_on_the_other_is_against_it(one: int, two: int) -> None:
    now = chance.evidence(one, two)
    assert chance.evidence(one + 1, two) > now * 0.999
    assert chance.evidence(one, two + 1) < now * 1.001


def test_no_pair_is_no_evidence() -> None:
    assert chance.evidence(0, 0) == pytest.approx(1)
    assert chance.against_effect(Pairs()) == pytest.approx(1)


def test_huge_counts_give_a_number() -> None:
    assert chance.evidence(100_000, 0) == chance.MOST
    assert chance.evidence(0, 100_000) == 0
    assert chance.against_effect(Pairs(neither=100_000)) == chance.MOST


@settings(max_examples=50)
@given(st.tuples(*[st.integers(0, 40)] * 4))
def test_where_the_effect_is_there_one_more_pair_is_on_average_worth_nothing_against_it(
    counts: tuple[int, ...],
) -> None:
    pairs = Pairs(*counts)
    alone = chance.EFFECT + 0.1  # of the suspected side; the other fails alone one time in ten
    then = (
        alone * chance.against_effect(pairs.add(suspected=True, other=False))
        + 0.1 * chance.against_effect(pairs.add(suspected=False, other=True))
        + (0.9 - alone) * chance.against_effect(pairs.add(suspected=False, other=False))
    )
    assert then == pytest.approx(chance.against_effect(pairs), rel=1e-6)


@pytest.mark.parametrize(("lanes", "pairs"), [(1, 5), (2, 6)])
def test_a_break_that_always_shows_is_named_after_so_many_pairs(lanes: int, pairs: int) -> None:
    level = chance.ALPHA / lanes
    assert chance.discoveries([chance.evidence(pairs, 0)], level) == (True,)
    assert chance.discoveries([chance.evidence(pairs - 1, 0)], level) == (False,)


def test_nineteen_pairs_without_a_failure_rule_out_the_effect() -> None:
    assert chance.against_effect(Pairs(neither=18)) < 1 / chance.ALPHA <= chance.against_effect(Pairs(neither=19))


@functools.cache
def table(most: int = PAIRS) -> np.ndarray:
    """The e-value of every pair of counts."""
    values = [[chance.evidence(one, two) for two in range(most + 1)] for one in range(most + 1)]
    return np.array(values)


def course(base: float, patched: float, seed: int, runs: int = RUNS) -> np.ndarray:
    """The evidence after each pair, for many runs of one test."""
    draws = np.random.default_rng(seed).random((2, runs, PAIRS)) < np.array([base, patched])[:, None, None]
    worse, better = draws[1] & ~draws[0], draws[0] & ~draws[1]
    return table()[worse.cumsum(axis=1), better.cumsum(axis=1)]


@pytest.mark.parametrize("flaky", FLAKINESS)
def test_who_stops_as_soon_as_it_suits_is_wrong_no_more_often_than_was_said(flaky: float) -> None:
    wrong = (course(flaky, flaky, seed=1) >= 1 / chance.ALPHA).any(axis=1).mean()
    assert wrong <= chance.ALPHA


def test_a_race_of_one_in_ten_takes_as_many_pairs_as_is_documented() -> None:
    decided = course(0.0, 0.1, seed=2) >= 1 / chance.ALPHA
    needed = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, PAIRS + 1)
    assert 45 <= np.median(needed) <= 52  # five failures, one in ten pairs
    assert 0.65 <= decided.any(axis=1).mean() <= 0.8  # within 60 pairs


@pytest.mark.parametrize("share_of_breaks", [0.0, 0.1, 0.5])
def test_of_what_a_run_of_many_tests_names_few_are_wrong(share_of_breaks: float) -> None:
    rng, tests, wrong_parts = np.random.default_rng(3), 40, []
    for number in range(100):
        broken = rng.random(tests) < share_of_breaks
        flaky = rng.choice(FLAKINESS, size=tests)
        ends = [
            course(rate, 0.9 if bad else rate, seed=1000 * number + at, runs=1)[0].max()
            for at, (rate, bad) in enumerate(zip(flaky, broken, strict=True))
        ]
        named = np.array(chance.discoveries([float(end) for end in ends]))
        wrong_parts.append((named & ~broken).sum() / max(1, named.sum()))
    assert np.mean(wrong_parts) <= chance.ALPHA


def test_what_is_named_is_what_the_step_up_rule_names() -> None:
    assert chance.discoveries([]) == ()
    assert chance.discoveries([20.0]) == (True,)
    assert chance.discoveries([39.0, 1.0]) == (False, False)
    assert chance.discoveries([40.0, 1.0]) == (True, False)
    assert chance.discoveries([20.0, 20.0]) == (True, True)  # two that point the same way need no more than one


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e6), max_size=12))
def test_more_evidence_never_takes_a_name_away(values: list[float]) -> None:
    named = chance.discoveries(values)
    more = chance.discoveries([value * 2 for value in values])
    assert all(after or not before for before, after in itertools.zip_longest(named, more))


@settings(max_examples=50)
@given(COUNTS, COUNTS)
def test_an_interval_holds_what_was_seen(came: int, more: int) -> None:
    low, high = chance.interval(came, came + more)
    seen = came / (came + more) if came + more else 0.5
    assert 0 <= low <= seen <= high <= 1
    assert low == 0 or came
    assert high == 1 or more


def test_nothing_seen_leaves_every_rate_possible() -> None:
    assert chance.interval(0, 0) == (0.0, 1.0)
    assert chance.interval(0, 20)[1] == pytest.approx(0.261, abs=0.001)


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5])
def test_an_interval_covers_the_rate_at_every_pair_of_a_run_at_once(rate: float) -> None:
    """A fixed-size interval that is looked at after each pair misses far more often."""
    came = (np.random.default_rng(4).random((1000, PAIRS)) < rate).cumsum(axis=1)
    bounds = np.array(
        [[chance.interval(seen, of) if seen <= of else (0, 1) for seen in range(PAIRS + 1)] for of in range(PAIRS + 1)]
    )
    low, high = np.moveaxis(bounds[np.arange(1, PAIRS + 1), came], -1, 0)
    assert ((rate < low) | (rate > high)).any(axis=1).mean() <= chance.ALPHA


def test_pairs_are_counted_by_where_the_event_came() -> None:
    pairs = Pairs()
    for suspected, other in itertools.product((True, False), repeat=2):
        pairs = pairs.add(suspected=suspected, other=other)
    assert (pairs, pairs.of) == (Pairs(1, 1, 1, 1), 4)
    assert math.isclose(chance.evidence(1, 1), chance.evidence(pairs.suspected, pairs.other))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_what_comes_each_time_on_one_side_alone_is_worth_at_most_one_where_both_are_the_same(rate: float) -> None:
    alone = rate * (1 - rate)
    for pairs in range(1, 7):
        assert alone**pairs * chance.each_time(Pairs(suspected=pairs)) <= 1
        assert (
            chance.each_time(Pairs(suspected=pairs, neither=1)) == chance.each_time(Pairs(suspected=pairs, both=1)) == 0
        )
