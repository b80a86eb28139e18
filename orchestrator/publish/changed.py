"""The tests as the report shows them, worst first: a row each, with what it opens; none is dropped."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model import Change, ChangeKind, Lane, Outcome, Run, Side, Splat
from orchestrator.publish import anchors, digest, excerpt
from orchestrator.publish.clean import line
from orchestrator.publish.excerpt import Excerpt, Pane, Shelf
from orchestrator.trial import stretch

MOST_IN_FULL = 50

Names = dict[Lane, str]
Said = Callable[[Side, Lane, Change], str | None]  # what a console says around a test


@dataclass(frozen=True)
class Row:
    """One test in every lane that shows it alike."""

    anchor: str
    tests: tuple[Change, ...]
    lanes: tuple[str, ...]

    @property
    def note(self) -> str:
        """What else there is to say of it in a line."""
        test = self.tests[0]
        declared = f"{test.expected}: {'unmet' if test.unmet else 'as declared'}" if test.expected else ""
        known = f"{test.known.reason}: {test.known.discussed}, until {test.known.expiry}" if test.known else ""
        return "; ".join(filter(None, (declared, _rates(test), known)))

    @property
    def words(self) -> str:
        """The row as text, its columns set apart by tabs, which no column holds."""
        test = self.tests[0]
        lanes = ", ".join(self.lanes)
        sides = (f"{side.outcome} {digest.part(side)}".rstrip() for side in (test.base, test.patched))
        columns = (test.change, *sides, lanes, test.suite, test.name, self.note)
        return "\t".join(map(line, columns))


def _rates(test: Change) -> str:
    """How often it failed when run again; what it opens says how sure that is."""
    if test.evidence is None:
        return test.earlier
    base, patched = (f"{rate.came}/{rate.of}" for rate in (test.evidence.base, test.evidence.patched))
    return f"{digest.failed(test)} {base} on base, {patched} on patched"


@dataclass(frozen=True)
class Detail:
    """What a row opens: both outputs, both consoles around it, reports of the kernel there, and how to see it again."""

    outputs: tuple[Pane, ...]
    consoles: tuple[Pane, ...]
    splats: tuple[tuple[str, Splat, bool], ...]
    commands: tuple[str, ...]


Opening = tuple[Row, Detail]


@dataclass(frozen=True)
class Rows:
    """All tests: what of the `full` ones is opened is part of the page; `more` changed as well; `same` did not."""

    full: tuple[Opening, ...]
    more: tuple[Opening, ...]
    same: tuple[Opening, ...]


def rows(run: Run, names: Names, directory: Path, said: Said, share: int = 1) -> Rows:
    """Every test of the run, each result in one row; long texts have one part in `share` of their room."""
    every = _rows(run, names)
    changed = [row for row in every if digest.differs(row.tests[0])]
    same = [row for row in every if not digest.differs(row.tests[0])]
    first = (Shelf(excerpt.OUTPUTS_ROOM // share), Shelf(excerpt.AROUND_ROOM // share))
    plain = _Teller(run, names, directory, said, *first)
    rooms = (Shelf(excerpt.PACKED_OUTPUTS_ROOM // share), Shelf(excerpt.PACKED_AROUND_ROOM // share))
    packed = replace(plain, outputs=rooms[0], consoles=rooms[1])
    return Rows(plain.tell(changed[:MOST_IN_FULL]), packed.tell(changed[MOST_IN_FULL:]), packed.tell(same))


def choices(run: Run) -> list[tuple[str, str, list[str]]]:
    """What the tests can be filtered by: a name, a title, and the values that occur."""
    lanes = digest.lanes(run)
    return [
        ("kind", "Class", [str(kind) for kind in ChangeKind if any(test.change is kind for test in run.tests)]),
        ("outcome", "Outcome", [str(outcome) for outcome in Outcome if outcome in _outcomes_of(run)]),
        ("arch", "Architecture", list(dict.fromkeys(lane.arch for lane in lanes))),
        ("flavour", "Flavour", sorted({lane.flavour for lane in lanes})),
        ("suite", "Suite", sorted({test.suite for test in run.tests})),
    ]


def _outcomes_of(run: Run) -> set[Outcome]:
    return {side.outcome for test in run.tests for side in (test.base, test.patched)}


def _rows(run: Run, names: Names) -> list[Row]:
    """Results that are alike in all but their lane together; the second of one name in a lane is another test."""
    nth = Counter[tuple[str, str, Lane]]()
    groups: dict[tuple[object, ...], list[Change]] = {}
    for test in sorted(run.tests, key=digest.worst_first):
        key = (test.suite, test.name, digest.lane_of(test))
        groups.setdefault((nth[key], *_alike(test)), []).append(test)
        nth[key] += 1
    return [Row(_anchor(key, tests), tuple(tests), _lanes(tests, names)) for key, tests in groups.items()]


def _alike(test: Change) -> tuple[object, ...]:
    sides = (side for one in (test.base, test.patched) for side in (one.outcome, one.repeats))
    return (test.suite, test.name, test.change, test.expected, *sides, test.evidence, test.known, test.earlier)


def _anchor(key: tuple[object, ...], tests: list[Change]) -> str:
    return anchors.name("test", key[0], tests[0].suite, tests[0].name, *map(digest.lane_of, tests))


def _lanes(tests: Iterable[Change], names: Names) -> tuple[str, ...]:
    return tuple(names[digest.lane_of(test)] for test in tests)


@dataclass(frozen=True)
class _Teller:
    """Tells all of one row after the other, while there is room on the shelves."""

    run: Run
    names: Names
    directory: Path
    said: Said
    outputs: Shelf
    consoles: Shelf

    def tell(self, rows: Iterable[Row]) -> tuple[Opening, ...]:
        return tuple((row, self._detail(row)) for row in rows)

    def _detail(self, row: Row) -> Detail:
        return Detail(
            tuple(pane for test in row.tests for pane in self._outputs(test)),
            tuple(pane for test in row.tests for pane in self._consoles(test)),
            tuple(self._splats(row)),
            tuple(self._command(test) for test in row.tests),
        )

    def _outputs(self, test: Change) -> tuple[Pane, ...]:
        """Base and patched; none where the test said nothing and always ended alike."""
        sides = (test.base, test.patched)
        if not any(side.output.strip() or len(set(side.repeats)) > 1 for side in sides):
            return ()
        base, patched = (self.outputs.hold(excerpt.output(side.output)) for side in sides)
        return self._both(test, base, patched, excerpt.same_line)

    def _consoles(self, test: Change) -> tuple[Pane, ...]:
        """Both consoles around it; none where they are silent."""
        said = [self.said(side, digest.lane_of(test), test) for side in Side]
        if not any(said):
            return ()
        base, patched = (self.consoles.hold(excerpt.around(text)) for text in said)
        return self._both(test, base, patched, excerpt.same_message)

    def _both(self, test: Change, base: Excerpt, patched: Excerpt, key: excerpt.Key) -> tuple[Pane, Pane]:
        lane = self.names[digest.lane_of(test)]
        return (
            excerpt.pane(f"base {lane}: {_outcomes(test, Side.BASE)}", base, patched, key),
            excerpt.pane(f"patched {lane}: {_outcomes(test, Side.PATCHED)}", patched, base, key),
        )

    def _splats(self, row: Row) -> Iterator[tuple[str, Splat, bool]]:
        """What the kernel reported while it ran, with the guest's name, and whether it is new."""
        for guest in self.run.guests:
            lane = digest.lane_of(guest)
            for test in row.tests:
                if guest.splats and digest.lane_of(test) == lane:
                    said = self.said(guest.side, lane, test) or ""
                    where = f"{guest.side} {self.names[lane]}"
                    seen = (splat for splat in guest.splats if stretch.holds(said, splat))
                    yield from ((where, splat, digest.new_splat(self.run, guest, splat)) for splat in seen)

    def _command(self, test: Change) -> str:
        name = test.suite if test.name.startswith("(") else f"{test.suite}/{test.name}"  # (exit) is of all of it
        lane = ("--arch", test.arch, "--flavour", test.flavour)
        return line(shlex.join(["kdelta", "shell", str(self.directory), *lane, "--at", name]))


def _outcomes(test: Change, side: Side) -> str:
    """The outcome, or all of them in order where repeats differ."""
    observed = test.base if side is Side.BASE else test.patched
    return " ".join(observed.repeats) if len(set(observed.repeats)) > 1 else str(observed.outcome)
