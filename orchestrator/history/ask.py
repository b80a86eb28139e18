"""What the history is asked: which runs there are, one test over time, two runs side by side."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, and_, case, func, or_, select

from kvm.errors import UserError
from orchestrator.history import entry, schema
from orchestrator.history.book import Book
from orchestrator.model import ChangeKind, Moved, Outcome, PastRun, PastSide, Sight, Trend
from orchestrator.yamlfile import nearest

_run, _test, _lane, _result = schema.run.c, schema.test.c, schema.lane.c, schema.result.c
_has, _skips = schema.member.alias("has"), schema.member.alias("skips")

Story = list[tuple[PastRun, Sight]]
State = tuple[Outcome, Outcome]
Lane = tuple[str, str]  # architecture, flavour
States = dict[Lane, dict[int, State]]
Spot = tuple[Lane, int]  # one test, by its number, in one lane


def runs(book: Book, most: int | None = None) -> list[PastRun]:
    """The runs of the history, the newest last; no more than `most` of them, the newest."""
    with book.reading() as connection:
        newest = select(schema.run).order_by(_run.began.desc(), _run.id.desc()).limit(most)
        return [_past_run(row) for row in connection.execute(newest)][::-1]


def trends(book: Book, most: int) -> list[Trend]:
    """What the newest `most` runs had, the newest last."""
    sizes = select(schema.member.c.set_id, func.count().label("tests")).group_by(schema.member.c.set_id).subquery()
    bad = [outcome.value for outcome in Outcome if outcome.bad]
    counted = {
        "base_failed": _result.base.in_(bad),
        "patched_failed": _result.patched.in_(bad),
        "regressed": _result.change == ChangeKind.REGRESSED,
    }
    in_lane = select(_result.lane_id, *(func.sum(case((which, 1), else_=0)).label(n) for n, which in counted.items()))
    results = in_lane.group_by(_result.lane_id).subquery()
    sums = [func.coalesce(func.sum(column), 0) for column in (sizes.c.tests, *(results.c[name] for name in counted))]
    found = (
        select(schema.run, *(total.label(name) for total, name in zip(sums, ("tests", *counted), strict=True)))
        .outerjoin(schema.lane, _lane.run_id == _run.id)
        .outerjoin(sizes, sizes.c.set_id == _lane.tests)
        .outerjoin(results, results.c.lane_id == _lane.id)
        .group_by(_run.id)
        .order_by(_run.began.desc(), _run.id.desc())
        .limit(most)
    )
    with book.reading() as connection:
        rows = connection.execute(found).all()
    return [Trend(_past_run(row), row.tests, *(row._mapping[name] for name in counted)) for row in rows[::-1]]


def tests(book: Book, wanted: str) -> list[tuple[str, str]]:
    """The tests, (suite, name), that SUITE/NAME or a mere NAME names. Raises UserError where there is none."""
    suite, _, name = wanted.partition("/")
    whole = and_(_test.suite == entry.shown(suite), _test.name == entry.shown(name))
    with book.reading() as connection:
        either = or_(whole, _test.name == entry.shown(wanted))
        found = connection.execute(select(_test.suite, _test.name).where(either).order_by(_test.suite)).all()
        if found:
            return [(row.suite, row.name) for row in found]
        known = [f"{row.suite}/{row.name}" for row in connection.execute(select(_test.suite, _test.name).limit(20_000))]
    raise UserError(f"no run of the history has the test {wanted!r}{nearest(wanted, known)}", hint="give SUITE/NAME")


def story(book: Book, suite: str, name: str) -> Story:
    """What became of one test in every run that had it, the oldest first."""
    with book.reading() as connection:
        test_id = connection.scalar(select(_test.id).where(_test.suite == suite, _test.name == name))
        if test_id is None:
            return []
        had = (
            select(schema.run, *_of_lane, *_of_result, _skips.c.test_id.label("skips"))
            .select_from(
                schema.lane.join(schema.run).join(_has, and_(_has.c.set_id == _lane.tests, _has.c.test_id == test_id))
            )
            .outerjoin(_skips, and_(_skips.c.set_id == _lane.skipped, _skips.c.test_id == test_id))
            .outerjoin(schema.result, and_(_result.lane_id == _lane.id, _result.test_id == test_id))
            .order_by(_run.began, _run.id, _lane.arch, _lane.flavour)
        )
        return [(_past_run(row), _sight(row)) for row in connection.execute(had)]


_of_lane = (_lane.arch, _lane.flavour, _lane.repeats)
_of_result = (
    *(_result.change, _result.base, _result.base_failed, _result.base_runs),
    *(_result.patched, _result.patched_failed, _result.patched_runs),
)


def _past_run(row: Row[Any]) -> PastRun:
    of = row._mapping
    return PastRun(**{column.name: of[column.name] for column in schema.run.c if column.name != "id"})


def _sight(row: Row[Any]) -> Sight:
    if row.change is None:
        plain = PastSide(Outcome.SKIP, 0, 0) if row.skips else PastSide(Outcome.PASS, 0, row.repeats)
        return Sight(row.arch, row.flavour, ChangeKind.SAME, plain, plain)
    base = PastSide(Outcome(row.base), row.base_failed, row.base_runs)
    patched = PastSide(Outcome(row.patched), row.patched_failed, row.patched_runs)
    return Sight(row.arch, row.flavour, ChangeKind(row.change), base, patched)


def find(book: Book, wanted: str) -> PastRun:
    """The run that a name, the beginning of one, or a directory names. Raises UserError where that is not one."""
    by_place, by_name = _run.directory == str(Path(wanted).resolve()), _run.name == entry.shown(wanted)
    beginning = _run.name.startswith(entry.shown(wanted), autoescape=True)
    with book.reading() as connection:
        ordered = select(schema.run).order_by(_run.began)
        for rule in (by_place, by_name):  # of several that were made at one place, one after another, the newest
            if found := connection.execute(ordered.where(rule)).all():
                return _past_run(found[-1])
        found = connection.execute(ordered.where(beginning)).all()
    if len(found) == 1:
        return _past_run(found[0])
    if not found:
        raise UserError(f"the history has no run {wanted!r}", hint="`kdelta history` lists them; --add adds one")
    raise UserError(f"{wanted!r} is the beginning of {len(found)} runs", hint=f"the newest: {found[-1].name}")


def compare(book: Book, first: PastRun, second: PastRun) -> list[Moved]:
    """Every test that came out otherwise, on either side, in the second of two runs."""
    with book.reading() as connection:
        before, after = (_states(connection, one) for one in (first, second))
        both = {lane for lane in before.keys() & after.keys() if before[lane] and after[lane]}  # else it says nothing
        moved = [
            (test, lane, before[lane].get(test), after[lane].get(test))
            for lane in sorted(both)
            for test in before[lane].keys() | after[lane].keys()
            if before[lane].get(test) != after[lane].get(test)
        ]
        names = names_of(connection, {test for test, *_ in moved})
    return sorted(
        (Moved(*names[test], *lane, was, now) for test, lane, was, now in moved),
        key=lambda one: (not one.worse, one.arch, one.flavour, one.suite, one.name),
    )


def still_bad(book: Book, runs: Sequence[PastRun]) -> list[set[Spot]]:
    """What regressed in each of the runs of one thing, the oldest first, and was not seen to pass in a later one."""
    with book.reading() as connection:
        states = functools.cache(lambda number: _states(connection, runs[number]))
        return [
            {
                spot
                for spot in _regressed(connection, run)
                if not _repaired(spot, (states(later) for later in reversed(range(number + 1, len(runs)))))
            }
            for number, run in enumerate(runs)
        ]


def _regressed(connection: Connection, run: PastRun) -> Iterator[Spot]:
    found = (
        select(_lane.arch, _lane.flavour, _result.test_id)
        .join(schema.lane, _lane.id == _result.lane_id)
        .where(_lane.run_id == _id(run), _result.change == ChangeKind.REGRESSED)
    )
    for row in connection.execute(found):
        yield (row.arch, row.flavour), row.test_id


def _repaired(spot: Spot, later: Iterable[States]) -> bool:
    """Does the test pass by the newest of these runs, which come first, that saw how it ended, or is it run no more?

    A lane without tests says nothing: its kernels were the same, or did not boot.
    """
    lane, test = spot
    for states in later:
        if lane not in states or (states[lane] and test not in states[lane]):
            return True
        if states[lane] and ((patched := states[lane][test][1]).good or patched.bad):
            return patched.good
    return False


def _id(run: PastRun) -> ScalarSelect[int]:
    return select(_run.id).where(_run.name == run.name, _run.began == run.began).scalar_subquery()


def _states(connection: Connection, of: PastRun) -> States:
    """The outcomes on both sides of every test of a run, by lane."""
    lanes = connection.execute(select(schema.lane).where(_lane.run_id == _id(of))).all()
    return {(lane.arch, lane.flavour): _outcomes(connection, lane) for lane in lanes}


def _outcomes(connection: Connection, lane: Row[Any]) -> dict[int, State]:
    found: dict[int, State] = dict.fromkeys(_members(connection, lane.tests), (Outcome.PASS, Outcome.PASS))
    found |= dict.fromkeys(_members(connection, lane.skipped), (Outcome.SKIP, Outcome.SKIP))
    rows = connection.execute(select(_result.test_id, _result.base, _result.patched).where(_result.lane_id == lane.id))
    return found | {row.test_id: (Outcome(row.base), Outcome(row.patched)) for row in rows}


def _members(connection: Connection, set_id: int) -> Iterator[int]:
    table = schema.member.c
    yield from connection.scalars(select(table.test_id).where(table.set_id == set_id))


def names_of(connection: Connection, tests: set[int]) -> dict[int, tuple[str, str]]:
    """Suite and name of tests, by their numbers."""
    names: dict[int, tuple[str, str]] = {}
    ordered = sorted(tests)
    for start in range(0, len(ordered), 5000):  # a statement takes so many parameters
        some = _test.id.in_(ordered[start : start + 5000])
        names |= {row.id: (row.suite, row.name) for row in connection.execute(select(schema.test).where(some))}
    return names
