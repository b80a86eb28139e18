"""Tests that do not always come out the same: on one and the same image they both failed and passed."""

from collections import defaultdict

from sqlalchemy import CTE, Select, and_, case, func, literal, select, union_all

from orchestrator.history import ask, schema
from orchestrator.history.book import Book
from orchestrator.model import Flake

_lane, _result = schema.lane.c, schema.result.c


def flakes(book: Book, since: int = 0) -> list[Flake]:
    """Find them in runs that began at `since` or later, the one that fails most often first."""
    with book.reading() as connection:
        mixed = connection.execute(_mixed(since)).all()
        names = ask.names_of(connection, {row.test_id for row in mixed})
    found: dict[tuple[str, str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in mixed:
        found[(*names[row.test_id], row.arch, row.flavour)].append((row.failed, row.ran))
    every = [
        Flake(*name, sum(failed for failed, _ in seen), sum(ran for _, ran in seen), len(seen))
        for name, seen in found.items()
    ]
    return sorted(every, key=lambda one: (-one.rate, one.suite, one.name, one.arch, one.flavour))


def _mixed(since: int) -> Select[tuple[int, str, str, int, int]]:
    """By test and image: how often it failed, and ran. What passed has no row, and is counted by sets of tests."""
    kernels = _kernels(since)
    failing, shapes = _failing(kernels), _shapes(kernels)
    has, skips = schema.member.alias("has"), schema.member.alias("skips")
    ran = failing.c.ran + func.sum(shapes.c.repeats) - failing.c.repeats
    return (
        select(failing.c.test_id, shapes.c.arch, shapes.c.flavour, failing.c.failed, ran.label("ran"))
        .join(shapes, shapes.c.image == failing.c.image)
        .join(has, and_(has.c.set_id == shapes.c.tests, has.c.test_id == failing.c.test_id))
        .outerjoin(skips, and_(skips.c.set_id == shapes.c.skipped, skips.c.test_id == failing.c.test_id))
        .where(skips.c.test_id.is_(None))
        .group_by(*failing.c, shapes.c.arch, shapes.c.flavour)
        .having(failing.c.failed < ran)
    )


def _kernels(since: int) -> CTE:
    """Every image that was to boot, on whichever side; `image` is a number of its own in each kind of lane."""
    sides = union_all(
        *(
            select(
                *(_lane.id, literal(side).label("side"), _lane.arch, _lane.flavour),
                *(_lane[f"{side}_image"].label("image"), _lane.repeats, _lane.tests, _lane.skipped),
            )
            .select_from(schema.lane.join(schema.run))
            .where(schema.run.c.began >= since)
            for side in ("base", "patched")
        )
    ).subquery()
    alike = (sides.c.arch, sides.c.flavour, sides.c.image)
    number, of_image = func.dense_rank().over(order_by=alike), func.sum(sides.c.repeats).over(partition_by=alike)
    columns = [column for column in sides.c if column.name != "image"]
    return (
        select(*columns, number.label("image"), of_image.label("of_image")).cte("kernels").prefix_with("MATERIALIZED")
    )


def _failing(kernels: CTE) -> CTE:
    """What `result` says by test and image, where others may have passed; `repeats` are the runs if these had."""
    base = kernels.c.side == "base"
    failures, runs = (
        case((base, _result[f"base_{what}"]), else_=_result[f"patched_{what}"]) for what in ("failed", "runs")
    )
    failed, ran, repeats = func.sum(failures), func.sum(runs), func.sum(kernels.c.repeats)
    alone = kernels.c.of_image == kernels.c.repeats  # it booted in no other run: this one must have seen both
    return (
        select(
            *(_result.test_id, kernels.c.image, failed.label("failed"), ran.label("ran"), repeats.label("repeats")),
        )
        .join(kernels, kernels.c.id == _result.lane_id)
        .where(~alone | ((failures > 0) & (failures < runs)))
        .group_by(_result.test_id, kernels.c.image)
        .having(failed > 0, (failed < ran) | (repeats < func.max(kernels.c.of_image)))
        .cte("failing")
    )


def _shapes(kernels: CTE) -> CTE:
    """By image and sets of tests: how often what passes ran."""
    by_sets = (kernels.c.image, kernels.c.arch, kernels.c.flavour, kernels.c.tests, kernels.c.skipped)
    return select(*by_sets, func.sum(kernels.c.repeats).label("repeats")).group_by(*by_sets).cte("shapes")
