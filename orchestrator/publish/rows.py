"""What the HTML report shows, shaped and ordered for its tables; a test, a side or a guest is never dropped here."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path

from orchestrator.model import Change, GuestOutcome, GuestRecord, Lane, MetricPair, Observed, Outcome, Run, Side
from orchestrator.publish import digest, excerpt
from orchestrator.publish.excerpt import Excerpt, Pane, Shelf

FOLD_FROM = 40  # a suite of more tests starts closed, unless it holds a change

Names = dict[Lane, str]
Find = Callable[[str], Path | None]


@dataclass(frozen=True)
class ChangeRow:
    """One change, in every lane that shows it alike."""

    anchor: str
    tests: tuple[Change, ...]
    lanes: tuple[str, ...]
    unmet: bool
    panes: tuple[Pane, ...]


@dataclass(frozen=True)
class TestRow:
    """One test in every lane; `told` is the anchor of the change that shows its output."""

    name: str
    cells: dict[Lane, Change]
    told: str | None
    panes: tuple[Pane, ...]


@dataclass(frozen=True)
class Suite:
    """The tests of one suite, and how many of its results are changes."""

    name: str
    rows: tuple[TestRow, ...]
    changed: int
    open: bool


@dataclass(frozen=True)
class MetricRow:
    """One metric, both sides; `dots` are the places of the samples between 0 and 100."""

    pair: MetricPair
    lane: str
    spreads: dict[Side, digest.Spread | None]
    ratio: float | None
    dots: dict[Side, tuple[float, ...]]


@dataclass(frozen=True)
class Bar:
    """One task on a time axis of 0 to 1000; `side` is empty where the task serves both."""

    task: str
    start: float
    seconds: float
    x: float
    width: float
    side: str


def changes(run: Run, names: Names, shelf: Shelf) -> list[ChangeRow]:
    """Every change, worst first, lanes that show it alike together."""
    groups = digest.merged(digest.noteworthy(run), _alike)
    return [_change(f"change-{number}", tests, names, shelf) for number, tests in enumerate(groups, 1)]


def _alike(test: Change) -> tuple[object, ...]:
    return (test.suite, test.name, test.change, test.expected, test.base.outcome, test.patched.outcome, test.evidence)


def _change(anchor: str, tests: list[Change], names: Names, shelf: Shelf) -> ChangeRow:
    where = tuple(names[digest.lane_of(test)] for test in tests)
    return ChangeRow(anchor, tuple(tests), where, tests[0].unmet, _outputs(tests, names, shelf))


def _outputs(tests: Iterable[Change], names: Names, shelf: Shelf) -> tuple[Pane, ...]:
    """Base and patched of each lane, in turn; none of a lane where the test said nothing."""
    return tuple(pane for test in tests if _said(test) for pane in _both(test, names[digest.lane_of(test)], shelf))


def _said(test: Change) -> bool:
    return any(side.output.strip() or len(set(side.repeats)) > 1 for side in (test.base, test.patched))


def _both(test: Change, lane: str, shelf: Shelf) -> tuple[Pane, Pane]:
    base, patched = (shelf.hold(excerpt.output(side.output)) for side in (test.base, test.patched))
    return (
        excerpt.pane(f"base {lane}: {_repeats(test.base)}", base, patched, excerpt.same_line),
        excerpt.pane(f"patched {lane}: {_repeats(test.patched)}", patched, base, excerpt.same_line),
    )


def _repeats(observed: Observed) -> str:
    """The outcome, or all of them in order where repeats differ."""
    return " ".join(observed.repeats) if len(set(observed.repeats)) > 1 else str(observed.outcome)


def suites(run: Run, shown: list[ChangeRow], names: Names, shelf: Shelf) -> list[Suite]:
    """Every test by suite and name, its lanes side by side."""
    told = {test: row.anchor for row in shown for test in row.tests}
    ordered = sorted(run.tests, key=lambda test: (test.suite, test.name, list(names).index(digest.lane_of(test))))
    by_suite = groupby(ordered, key=lambda test: test.suite)
    return [_suite(name, [_test(row, told, names, shelf) for row in _rows(tests)]) for name, tests in by_suite]


def _rows(tests: Iterable[Change]) -> Iterator[list[Change]]:
    """Tests of one name in one row; a name that occurs twice in a lane gets two rows."""
    nth = Counter[tuple[str, Lane]]()
    rows: dict[tuple[str, int], list[Change]] = {}
    for test in tests:
        key = (test.name, digest.lane_of(test))
        rows.setdefault((test.name, nth[key]), []).append(test)
        nth[key] += 1
    return iter(rows.values())


def _test(tests: list[Change], told: dict[Change, str], names: Names, shelf: Shelf) -> TestRow:
    anchors = [told[test] for test in tests if test in told]
    panes = _outputs([test for test in tests if test not in told], names, shelf)
    cells = {digest.lane_of(test): test for test in tests}
    return TestRow(tests[0].name, cells, anchors[0] if anchors else None, panes)


def _suite(name: str, rows: list[TestRow]) -> Suite:
    changed = sum(digest.differs(test) for row in rows for test in row.cells.values())
    return Suite(name, tuple(rows), changed, bool(changed) or len(rows) <= FOLD_FROM)


def outcomes(run: Run) -> list[Outcome]:
    """The outcomes that occur, in the order of the type."""
    seen = {side.outcome for test in run.tests for side in (test.base, test.patched)}
    return [outcome for outcome in Outcome if outcome in seen]


def metrics(run: Run, names: Names) -> list[MetricRow]:
    """Every metric with what its table shows."""
    return [_metric(pair, names[digest.lane_of(pair)]) for pair in digest.metrics(run)]


def _metric(pair: MetricPair, lane: str) -> MetricRow:
    sides = {Side.BASE: pair.base, Side.PATCHED: pair.patched}
    every = [*pair.base.samples, *pair.patched.samples]
    low, high = min(every, default=0.0), max(every, default=0.0)
    dots = {side: tuple(_place(value, low, high) for value in sides[side].samples) for side in sides}
    return MetricRow(pair, lane, {side: digest.spread(sides[side]) for side in sides}, digest.ratio(pair), dots)


def _place(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) * 100 if high > low else 50.0


def consoles(run: Run, names: Names, find: Find) -> dict[str, list[Pane]]:
    """The consoles of each lane, base beside patched; those of guests that did not end well get room first."""
    shelf = Shelf()
    troubled_first = sorted(run.guests, key=lambda guest: guest.outcome is GuestOutcome.OK)
    held = {guest: shelf.hold(excerpt.console(find(guest.console))) for guest in troubled_first}
    shown = {name: _lane_consoles(run, lane, name, held) for lane, name in names.items()}
    return {name: panes for name, panes in shown.items() if panes}


def _lane_consoles(run: Run, lane: Lane, name: str, held: dict[GuestRecord, Excerpt]) -> list[Pane]:
    here = [guest for guest in run.guests if (guest.arch, guest.flavour) == lane]
    base, patched = ([guest for guest in here if guest.side is side] for side in Side)
    return [
        _console(f"{side} {name}", guest, other, held)
        for couple in zip_longest(base, patched)
        for side, guest, other in ((Side.BASE, *couple), (Side.PATCHED, *couple[::-1]))
    ]


def _console(
    title: str, guest: GuestRecord | None, other: GuestRecord | None, held: dict[GuestRecord, Excerpt]
) -> Pane:
    if guest is None:
        return Pane(title, "no guest", ())
    compared = held[other] if other else None
    return excerpt.pane(f"{title}: {guest.outcome}", held[guest], compared, excerpt.same_message)


def bars(run: Run) -> list[Bar]:
    """The timeline, earliest first."""
    reach = max((entry.end for entry in run.timeline), default=0.0) or 1.0
    return [
        Bar(
            task=entry.task,
            start=entry.start,
            seconds=entry.end - entry.start,
            x=entry.start / reach * 1000,
            width=max(2.0, (entry.end - entry.start) / reach * 1000),
            side=next((side for side in Side if side in entry.task), ""),
        )
        for entry in sorted(run.timeline, key=lambda entry: (entry.start, entry.end, entry.task))
    ]


def boots(run: Run, directory: Path) -> list[str]:
    """The commands that boot each guest again by hand; qemu.sh lies beside its console."""
    scripts = {directory / Path(guest.console).parent / "qemu.sh": None for guest in run.guests if guest.console}
    return [shlex.join([str(script)]) for script in scripts]
