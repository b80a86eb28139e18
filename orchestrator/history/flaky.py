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
    same = and_(*(failing.c[name] == shapes.c[name] for name in ("arch", "flavour", "image")))
    ran = failing.c.ran + func.sum(shapes.c.repeats) - failing.c.repeats
    return (
        select(failing.c.test_id, failing.c.arch, failing.c.flavour, failing.c.failed, ran.label("ran"))
        .join(shapes, same)
        .join(has, and_(has.c.set_id == shapes.c.tests, has.c.test_id == failing.c.test_id))
        .outerjoin(skips, and_(skips.c.set_id == shapes.c.skipped, skips.c.test_id == failing.c.test_id))
        .where(skips.c.test_id.is_(None))
        .where((failing.c.failed < failing.c.ran) | (failing.c.repeats < shapes.c.of_image))
        .group_by(*failing.c)
        .having(failing.c.failed < ran)
    )


def _kernels(since: int) -> CTE:
    """Every image that booted in a run, on whichever side."""
    recent = schema.lane.join(schema.run)
    sides = (
        select(
            *(_lane.id, literal(side).label("side"), _lane.arch, _lane.flavour),
            *(_lane[f"{side}_image"].label("image"), _lane.repeats, _lane.tests, _lane.skipped),
        )
        .select_from(recent)
        .where(schema.run.c.began >= since)
        for side in ("base", "patched")
    )
    return union_all(*sides).cte("kernels")


def _failing(kernels: CTE) -> CTE:
    """What `result` says by test and image, where it says of a failure; `repeats` are the runs if these had passed."""
    at = (kernels.c.arch, kernels.c.flavour, kernels.c.image)
    base = kernels.c.side == "base"
    failed, ran = (
        func.sum(case((base, _result[f"base_{what}"]), else_=_result[f"patched_{what}"])) for what in ("failed", "runs")
    )
    return (
        select(
            *(_result.test_id, *at, failed.label("failed"), ran.label("ran")),
            func.sum(kernels.c.repeats).label("repeats"),
        )
        .join(kernels, kernels.c.id == _result.lane_id)
        .group_by(_result.test_id, *at)
        .having(failed > 0)
        .cte("failing")
    )


def _shapes(kernels: CTE) -> CTE:
    """By image and sets of tests: how often what passes ran; and on the image in all, whatever the sets."""
    at = (kernels.c.arch, kernels.c.flavour, kernels.c.image)
    ran = func.sum(kernels.c.repeats)
    return (
        select(
            *(*at, kernels.c.tests, kernels.c.skipped, ran.label("repeats")),
            func.sum(ran).over(partition_by=at).label("of_image"),
        )
        .group_by(*at, kernels.c.tests, kernels.c.skipped)
        .cte("shapes")
    )
