"""Benchmark output."""

from orchestrator.trial import bench


def test_repeated_lines_are_samples_of_one_metric() -> None:
    metrics, strange = bench.parse("# warm\nlock.time 12.5 ns\nlock.calls 3 calls\nlock.time 13 ns\n", "b")
    assert [(m.name, m.unit, m.samples) for m in metrics] == [
        ("lock.time", "ns", (12.5, 13.0)),
        ("lock.calls", "calls", (3.0,)),
    ]
    assert strange == []


def test_what_is_no_sample_is_returned_and_not_guessed_at() -> None:
    metrics, strange = bench.parse("a nan ns\nSegmentation fault\nb 1e999 s\n", "b")
    assert metrics == ()
    assert strange == ["a nan ns", "Segmentation fault", "b 1e999 s"]
