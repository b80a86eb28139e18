"""Benchmark output."""

from orchestrator.trial.kinds import bench


def test_repeated_lines_are_samples_of_one_metric() -> None:
    parsed = bench.parse("# warm\nlock.time 12.5 ns\nlock.calls 3 calls\nlock.time 13 ns\n", "b")
    assert [(m.name, m.unit, m.samples) for m in parsed.metrics] == [
        ("lock.time", "ns", (12.5, 13.0)),
        ("lock.calls", "calls", (3.0,)),
    ]
    assert not parsed.faults


def test_what_is_no_sample_is_told_and_not_guessed_at() -> None:
    parsed = bench.parse("a nan ns\nSegmentation fault\nb 1e999 s\n", "b")
    assert parsed.metrics == ()
    assert parsed.faults == ("3 lines are no samples: a nan ns; Segmentation fault; b 1e999 s",)


def test_a_number_that_may_be_cut_is_no_sample() -> None:
    assert bench.parse("a 125 ns", "b").metrics == ()
