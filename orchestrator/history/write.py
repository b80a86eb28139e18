"""Adding a run: once, however often it is added; what an earlier addition said of it is replaced."""

import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, Table, delete, insert, select, update

from orchestrator.history import entry, schema
from orchestrator.history.book import Book
from orchestrator.history.entry import LaneEntry, Name
from orchestrator.model import Run, Side
from orchestrator.publish import digest


def add(book: Book, run: Run, directory: Path) -> None:
    """Put a run that has ended into the history; `directory` is where it lies."""
    lanes = entry.lanes(run)
    with book.writing() as connection:
        tests = _tests(connection, {name for lane in lanes for name in lane.tests})
        run_id = _replace(connection, run, directory)
        for lane in lanes:
            _add_lane(connection, run_id, lane, tests)


def took(book: Book, run: Run) -> None:
    """Say how long a run took that was added before its end, so that it could be compared."""
    run_ = schema.run.c
    same = (run_.name == entry.shown(run.id), run_.began == began(run))
    with book.writing() as connection:
        connection.execute(update(schema.run).where(*same).values(seconds=run.wall_seconds or 0.0))


def began(run: Run) -> int:
    """When it was started, in seconds since the epoch."""
    return int(datetime.datetime.fromisoformat(run.started).timestamp())


def _replace(connection: Connection, run: Run, directory: Path) -> int:
    name, when = entry.shown(run.id), began(run)
    connection.execute(delete(schema.run).where(schema.run.c.name == name, schema.run.c.began == when))
    return _insert(
        connection,
        schema.run,
        name=name,
        began=when,
        verdict=run.verdict.value if run.verdict else "",
        title=entry.shown(run.series.title),
        directory=str(directory).encode(errors="replace").decode(),
        release=entry.shown(run.kernel.release),
        base_commit=run.kernel.base_commit,
        seconds=run.wall_seconds or 0.0,
        never_ran=digest.unproved(run),
    )


def _insert(connection: Connection, table: Table, **values: object) -> int:
    [key] = connection.execute(insert(table).values(**values)).inserted_primary_key or [0]
    return int(key)


def _tests(connection: Connection, names: set[Name]) -> dict[Name, int]:
    """The numbers of tests; those that the history did not know get one."""
    known = _known(connection, {suite for suite, _ in names})
    if new := sorted(names - known.keys()):
        connection.execute(insert(schema.test), [{"suite": suite, "name": name} for suite, name in new])
        known = _known(connection, {suite for suite, _ in names})
    return known


def _known(connection: Connection, suites: Iterable[str]) -> dict[Name, int]:
    test = schema.test.c
    rows = connection.execute(select(test.suite, test.name, test.id).where(test.suite.in_(sorted(suites))))
    return {(suite, name): key for suite, name, key in rows}


def _add_lane(connection: Connection, run_id: int, lane: LaneEntry, tests: Mapping[Name, int]) -> None:
    lane_id = _insert(
        connection,
        schema.lane,
        run_id=run_id,
        arch=lane.arch,
        flavour=lane.flavour,
        base_image=lane.images[Side.BASE],
        patched_image=lane.images[Side.PATCHED],
        repeats=lane.repeats,
        tests=_set(connection, [tests[name] for name in lane.tests]),
        skipped=_set(connection, [tests[name] for name in lane.skipped]),
    )
    rows = [
        {
            "lane_id": lane_id,
            "test_id": tests[one.name],
            "change": one.change.value,
            "base": one.base.outcome.value,
            "base_failed": one.base.failed,
            "base_runs": one.base.runs,
            "patched": one.patched.outcome.value,
            "patched_failed": one.patched.failed,
            "patched_runs": one.patched.runs,
        }
        for one in lane.results
    ]
    if rows:
        connection.execute(insert(schema.result), rows)


def _set(connection: Connection, tests: Sequence[int]) -> int:
    """The number of a set of tests, made if no run had just these before."""
    members = sorted(set(tests))
    digest = hashlib.sha256(repr(members).encode()).hexdigest()
    table = schema.test_set
    found = connection.scalar(select(table.c.id).where(table.c.digest == digest))
    if found is not None:
        return int(found)
    made = _insert(connection, table, digest=digest)
    if members:
        connection.execute(insert(schema.member), [{"set_id": made, "test_id": test} for test in members])
    return made
