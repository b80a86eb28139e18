"""Samples of several boots: a ratio with an interval, the smallest change that would have been seen, and no more."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from orchestrator import store
from orchestrator.judge import culprit, diff, measure, verdict
from orchestrator.judge.measure import Yardstick
from orchestrator.model import (
    Effect,
    EffectKind,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Metric,
    MetricPair,
    Pair,
    Samples,
    Side,
    Verdict,
    VerdictValue,
)
from orchestrator.publish import effects, outline, text
from tests.unit.runs import change, sample_run
from tests.unit.test_html import page


def boots(ratio: float, count: int, noise: float, seed: int = 1) -> list[measure.Boot]:
    """Boots that differ from each other far more than the samples of one."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        base, patched = 1000 * np.exp(rng.normal(0, noise, 2))
        found.append((base * rng.normal(1, 0.001, 9), ratio * patched * rng.normal(1, 0.001, 9)))
    return [(tuple(one), tuple(two)) for one, two in found]


def kind(ratio: float, count: int = 6, noise: float = 0.01) -> EffectKind:
    found = measure.effect(boots(ratio, count, noise), 0.05)
    assert found
    return found.kind


def test_one_boot_gives_a_ratio_and_claims_nothing() -> None:
    found = measure.effect(boots(1.5, 1, 0.01), 0.05)
    assert found and found.ratio == pytest.approx(1.5, rel=0.1)
    assert (found.low, found.high, found.smallest, found.kind) == (None, None, None, EffectKind.UNKNOWN)


def test_a_change_beyond_the_smallest_that_matters_is_named_and_one_below_is_none() -> None:
    assert kind(1.2) is EffectKind.MORE
    assert kind(0.8) is EffectKind.LESS
    assert kind(1.01) is EffectKind.SAME
    assert kind(1.2, noise=0.5) is EffectKind.UNKNOWN


def test_many_samples_of_two_boots_are_no_more_than_two_boots() -> None:
    """Nine samples each that agree to 0.1 % would make anything significant."""
    assert kind(1.0, count=2, noise=0.2) is EffectKind.UNKNOWN


def test_counts_that_are_the_same_in_every_boot_are_sure() -> None:
    found = measure.effect([((3.0, 3.0), (1.0, 1.0))] * 3, 0.05)
    assert found and found.kind is EffectKind.LESS
    assert (found.low, found.high, found.smallest) == tuple(map(pytest.approx, (1 / 3, 1 / 3, 0.05)))


@pytest.mark.parametrize("samples", [((), (1.0,)), ((1.0,), ()), ((1.0,), (1.7e308, 1.7e308)), ((0.0,), (1e200,))])
def test_where_a_side_is_missing_or_beyond_all_bounds_there_is_no_effect(samples: measure.Boot) -> None:
    assert measure.effect([samples], 0.05) is None


def counted(base: list[float], patched: list[float]) -> list[measure.Boot]:
    return [((one,), (other,)) for one, other in zip(base, patched, strict=True)]


@pytest.mark.parametrize(
    ("base", "patched", "kind"),
    [
        ([0] * 6, [5000] * 6, EffectKind.MORE),
        ([5000] * 6, [0] * 6, EffectKind.LESS),
        ([0] * 6, [0] * 6, EffectKind.SAME),
        ([0] * 6, [0, 0, 0, 0, 0, 1], EffectKind.UNKNOWN),
        ([0, 100, 100, 100, 100, 100], [100] * 6, EffectKind.UNKNOWN),
        ([0, 101, 99, 100, 102, 98], [200, 301, 298, 299, 303, 300], EffectKind.MORE),
        ([0, 1e6, 1e6, 1e6, 1e6], [1, 1e6, 1e6, 1e6, 1e6], EffectKind.SAME),  # nothing beside what base has
        ([-100] * 3, [-200] * 3, EffectKind.LESS),
    ],
)
def test_where_a_zero_leaves_no_ratio_differences_are_compared(
    base: list[float], patched: list[float], kind: EffectKind
) -> None:
    found = measure.effect(counted(base, patched), 0.05)
    assert found
    assert (found.kind, found.ratio, found.boots) == (kind, None, len(base))
    assert found.difference == pytest.approx(np.mean(patched) - np.mean(base))
    assert found.low is not None and found.high is not None and found.low <= found.difference <= found.high
    assert found.smallest is not None  # it is always said what would have been seen


def test_of_one_boot_a_difference_claims_nothing() -> None:
    found = measure.effect(counted([0], [5000]), 0.05)
    assert found == Effect(None, 1, difference=5000)


@pytest.mark.parametrize(
    "samples",
    [
        [((1e300,), (5e-324,))],
        [((100.0,), (100.0,)), ((100.0,), (180.0,))],
        [((5e-324,), (1e308,)), ((1e308,), (5e-324,))],
        [((0.0,), (1e130,)), ((1e130,), (-1e130,))],
    ],
)
def test_whatever_a_guest_measured_gives_numbers(samples: list[measure.Boot]) -> None:
    found = measure.effect(samples, 0.05, 0.05 / 200)
    assert found and found.kind in (EffectKind.UNKNOWN, EffectKind.LESS)
    given = (found.ratio, found.difference, found.low, found.high, found.smallest)
    assert all(math.isfinite(number) for number in given if number is not None)
    measure.nearer(samples, found)
    measure.nearer(samples, Effect(2.0, 1))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_an_interval_of_few_boots_covers_the_ratio(count: int) -> None:
    found = [measure.effect(boots(1.0, count, 0.05, seed), 0.05) for seed in range(400)]
    covered = [one.low <= 1 <= one.high for one in found if one and one.low is not None and one.high is not None]
    assert len(covered) == 400
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("minimum", [1e-9, 0.05])
def test_what_would_have_been_seen_is_seen_four_times_in_five(minimum: float) -> None:
    noise = 0.02
    visible = 3.49 * noise * np.sqrt(2 / 6)  # 2.57 and 0.92 standard errors of six boots
    said = [one.smallest for seed in range(200) if (one := measure.effect(boots(1.0, 6, noise, seed), minimum))]
    smallest = np.expm1(np.log1p(minimum) + visible)
    assert np.mean(said) == pytest.approx(smallest, rel=0.1)
    for ratio, kind in ((1 + smallest, EffectKind.MORE), (1 / (1 + smallest), EffectKind.LESS)):
        seen = [measure.effect(boots(ratio, 6, noise, 1000 + seed), minimum) for seed in range(300)]
        assert 0.7 <= np.mean([one is not None and one.kind is kind for one in seen]) <= 0.87


def test_of_differences_what_would_have_been_seen_is_seen_four_times_in_five() -> None:
    """Base is about a thousand, and zero in one boot, so that there is no ratio; 5 % of its mean do not matter."""

    def found(difference: float, seed: int) -> Effect:
        base, noise = np.array([0, *[1200] * 5]), np.random.default_rng(seed).normal(0, 30, 6)
        effect = measure.effect(counted(list(base), list(base + difference + noise)), 0.05)
        assert effect
        return effect

    smallest = 50 + 3.49 * 30 / np.sqrt(6)
    assert np.mean([found(0, seed).smallest for seed in range(200)]) == pytest.approx(smallest, rel=0.1)
    assert 0.7 <= np.mean([found(smallest, 1000 + seed).kind is EffectKind.MORE for seed in range(300)]) <= 0.87


def measured(side: Side, *samples: float, accel: str = "tcg") -> GuestRun:
    record = GuestRecord(side, "arm64", "fast", accel, 1.0, GuestOutcome.OK, "console.log")
    return GuestRun(record, metrics=(Metric("bench", "t", "ns", samples),))


def test_what_several_boots_measured_stands_instead_of_the_first_pass() -> None:
    first = measured(Side.BASE, 1, 2), measured(Side.PATCHED, 3, 4)
    base, patched = ((100.0, 101.0), (100.0, 102.0)), ((120.0, 121.0), (120.0, 122.0))
    more = [
        Pair("bench", "", measured(Side.BASE, *one, accel="icount"), measured(Side.PATCHED, *two, accel="icount"))
        for one, two in zip(base, patched, strict=True)
    ]
    [pair] = diff.pair_metrics(*first, more)
    assert pair.base.samples == (100, 101, 100, 102)
    assert pair.base.boots == ((100, 101), (100, 102))
    assert pair.effect and (pair.effect.boots, pair.effect.kind) == (2, EffectKind.MORE)
    assert effects.sure(pair).startswith("more: x1.19..x1.20 over 2 boots, from ")
    assert (pair.counted, pair.timed) == (True, False)
    wide = dataclasses.replace(pair, effect=dataclasses.replace(pair.effect, smallest=2.3))
    assert effects.sure(wide).endswith("from 230 % on seen")
    [alone] = diff.pair_metrics(*first)
    assert effects.sure(alone) == "no interval: one boot sees no change for sure"
    assert (alone.counted, alone.timed) == (False, True)


def test_what_became_worse_regresses_only_where_somebody_said_what_is_worse() -> None:
    first = measured(Side.BASE, 100), measured(Side.PATCHED, 120)
    more = [Pair("bench", "", measured(Side.BASE, at), measured(Side.PATCHED, 1.2 * at)) for at in (99.0, 101.0)]

    def decided(kind: EffectKind | None) -> Verdict:
        metrics = diff.pair_metrics(*first, more, Yardstick(worse=lambda _suite, _name: kind))
        return verdict.decide((), (), [], declared=False, metrics=metrics)

    words = "arm64-fast: bench/t became worse: x1.2 of base's (x1.2 to x1.2) over 2 boots"
    assert decided(EffectKind.MORE).reasons[0] == words
    assert decided(EffectKind.MORE).value is VerdictValue.REGRESSED
    assert decided(EffectKind.LESS).value is decided(None).value is VerdictValue.INCONCLUSIVE  # nothing was built


def test_what_became_worse_from_zero_regresses_and_every_reader_is_told_by_how_much(tmp_path: Path) -> None:
    first = measured(Side.BASE, 0), measured(Side.PATCHED, 5000)
    more = [Pair("bench", "", measured(Side.BASE, 0), measured(Side.PATCHED, at)) for at in (4990.0, 5010.0)]
    [pair] = diff.pair_metrics(*first, more, Yardstick(worse=lambda _suite, _name: EffectKind.MORE))
    answer = verdict.decide((), (), [], declared=False, metrics=[pair])
    assert answer.value is VerdictValue.REGRESSED
    assert answer.reasons[0] == (
        "arm64-fast: bench/t became worse: +5,000 ns against base (+4,872.94 to +5,127.06) over 2 boots"
    )
    run = sample_run(metrics=(pair,), verdict=answer)
    assert "more: +4,873..+5,127 over 2 boots, from " in effects.sure(pair)
    assert " ns on seen" in effects.sure(pair)
    assert "metric     t arm64: 0 → 5,000 ns (+5,000 in +4,873..+5,127, sees " in text.summary(run, None)
    [section] = [one for one in outline.sections(run) if one.title == "Measured"]
    assert section.lines[0].startswith("bench/t on arm64: +5,000 (more: +4,873..+5,127")
    assert "bench/ t +5,000 more: +4,873..+5,127 over 2 boots" in page(run, tmp_path).text("metrics")
    store.save(run, tmp_path)
    assert store.load(tmp_path).metrics == (pair,)
    [found] = culprit.symptoms(run)
    assert found.words == "bench/t (+5,000)"
    assert [culprit.weigh(found, [trees(0, at)] * 2) for at in (10, 4900)] == [0, 1]


def trees(base: float, tree: float) -> tuple[GuestRun, GuestRun]:
    return measured(Side.BASE, base), measured(Side.PATCHED, tree)


def test_a_metric_that_patched_lacks_is_told_and_where_its_worse_is_named_nothing_is_good(tmp_path: Path) -> None:
    def found(kind: EffectKind | None, *, base: bool) -> MetricPair:
        sides = measured(Side.BASE, *((100,) if base else ())), measured(Side.PATCHED, *(() if base else (100,)))
        [pair] = diff.pair_metrics(*sides, by=Yardstick(worse=lambda _suite, _name: kind))
        return pair

    def decided(pair: MetricPair) -> Verdict:
        done = change("t")
        return verdict.decide((), sample_run().guests, [done], declared=False, metrics=[pair])

    gone = found(EffectKind.MORE, base=True)
    assert decided(gone).value is VerdictValue.INCONCLUSIVE
    assert decided(gone).reasons == ("arm64-fast: measured on base and not on patched: bench/t",)
    assert decided(found(None, base=True)).value is VerdictValue.CLEAN
    assert decided(found(EffectKind.MORE, base=False)).value is VerdictValue.CLEAN
    for base, side in ((True, "base"), (False, "patched")):
        run = sample_run(metrics=(found(None, base=base),))
        assert f"ns ({side} alone)\n" in text.summary(run, None)
        assert f"bench/ t — {side} alone" in page(run, tmp_path).text("metrics")
        assert (f"bench/t on arm64: {side} alone",) in [one.lines for one in outline.sections(run)]


@pytest.mark.parametrize(
    ("first", "base", "patched", "missed"),
    [
        (1, (1, 1, 1, 1), (1, 1, 1, 1), 0),
        (1, (1, 1, 1, 1), (0, 1, 0, 0), 3),
        (1, (1, 1, 1, 1), (0, 0, 0, 0), 4),  # it can: it did in the first pass
        (0, (1, 1, 1, 1), (0, 0, 0, 0), 0),  # it has another name now
        (1, (1, 1, 0, 0), (0, 0, 1, 1), 0),  # it does not always come
    ],
)
def test_a_metric_that_patched_measures_in_fewer_boots_than_base_is_told_and_nothing_is_good(
    first: int, base: tuple[int, ...], patched: tuple[int, ...], missed: int
) -> None:
    def side(which: Side, came: int) -> GuestRun:
        return measured(which, *([100.0] * came))

    more = [
        Pair("bench", "", side(Side.BASE, one), side(Side.PATCHED, two)) for one, two in zip(base, patched, strict=True)
    ]
    [pair] = diff.pair_metrics(side(Side.BASE, 1), side(Side.PATCHED, first), more)
    assert pair.missed == missed
    answer = verdict.decide((), sample_run().guests, [change("t")], declared=False, metrics=[pair])
    assert answer.value is (VerdictValue.INCONCLUSIVE if missed else VerdictValue.CLEAN)
    assert (f"arm64-fast: measured in fewer boots than on base: bench/t ({missed} fewer)" in answer.reasons) is bool(
        missed
    )


def test_metrics_that_judge_share_the_error_and_others_keep_their_own() -> None:
    def low(*judged: str) -> float:
        names = [f"t{number}" for number in range(10)]
        both = [
            tuple(GuestRun(record, metrics=tuple(Metric("s", name, "ns", (at,)) for name in names)) for at in pair)
            for pair in ((100.0, 120.0), (100.0, 123.0), (100.0, 126.0))
        ]
        more = [Pair("s", "", *one) for one in both[1:]]
        by = Yardstick(worse=lambda _, name: EffectKind.MORE if name in judged else None)
        found = diff.pair_metrics(*both[0], more, by)[0].effect
        assert found and found.low
        return found.low

    record = measured(Side.BASE).guest
    assert low() == low("t0") == low("t9") > low("t0", "t1") > low(*(f"t{number}" for number in range(10)))


def test_a_tree_is_nearer_to_one_end_and_the_scatter_says_how_probable_that_is() -> None:
    slower, faster = Effect(1.3, 3), Effect(0.7, 3)
    assert measure.nearer([((100.0,), (130.0,))] * 3, slower) == 1
    assert measure.nearer([((100.0,), (70.0,))] * 3, faster) == 1
    assert measure.nearer([((100.0,), (100.0,))] * 3, slower) == 0
    assert measure.nearer([((100.0,), (130.0,))], slower) is None
    assert measure.nearer([((0.0,), (130.0,))] * 3, slower) is None
    likely = measure.nearer([((100.0,), (120.0,)), ((100.0,), (130.0,))], slower)
    assert likely and 0.5 < likely < 0.99  # of two boots a scatter is hardly known


def test_a_tree_that_is_measured_until_it_is_clear_is_right_and_in_the_middle_hardly_ever_clear() -> None:
    def called_bad(ratio: float) -> list[bool]:
        told, slower = [], Effect(1.3, 3)
        for seed in range(30):
            whole = boots(ratio, culprit.MOST_RUNS, 0.1, seed)
            found = (measure.nearer(whole[:count], slower) for count in range(2, len(whole) + 1))
            told += [one > 0.5 for one in found if one is not None and culprit.sure(one)][:1]
        return told

    assert called_bad(1.0).count(False) >= 29
    assert called_bad(1.3).count(True) >= 29
    assert len(called_bad(math.sqrt(1.3))) <= 10


def test_of_a_record_that_does_not_say_which_boot_gave_what_all_samples_are_of_one() -> None:
    assert Samples((1.0, 2.0)).boots == ((1.0, 2.0),)
    assert Samples((1.0, 2.0), (0, 2)).boots == ((), (1.0, 2.0))


@pytest.mark.parametrize(
    ("unit", "timed"), [("ns", True), ("ns/op", True), ("MiB/s", True), ("calls", False), ("faults", False)]
)
def test_times_and_rates_are_told_from_counts(unit: str, timed: bool) -> None:
    assert MetricPair("s", "n", unit, "arm64", "fast", Samples(), Samples()).timed is timed
