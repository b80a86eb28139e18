"""One night: every item that is new is run and compared with the last time, whatever becomes of the others."""

import contextlib
import logging
import time
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError, Interrupted, UserError
from orchestrator import cache, job, store, sweep
from orchestrator.config import Nightly
from orchestrator.history import nights
from orchestrator.history.nights import Entry
from orchestrator.judge import verdict
from orchestrator.model import ItemEnd, ItemReport, NightReport
from orchestrator.nightly import faults, look, queue, waiting
from orchestrator.nightly.place import Budget, Place
from orchestrator.nightly.queue import Found, Item
from orchestrator.request import Request

log = logging.getLogger(__name__)

_DAY = 86400.0


def run(asked: Request, place: Place) -> NightReport:
    """Do what is new, and clean up. Raises UserError where another night is at it, or nothing is to be looked at."""
    nightly, began = asked.pipeline.nightly or Nightly(), time.time()
    place.own.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(disk.alone(place.own.resolve()))
        except BlockingIOError as fault:
            raise UserError(f"another nightly runs in {place.results}", hint="wait until it has ended") from fault
        budget = Budget(nightly.budget)
        found = _found(asked, place)
        reports = found.failed + _all(found.items, place, budget)
        disk.clear(place.own / "mail")
        regressed = waiting.runs(place.book)
        still_open = {item: some for item, some in regressed.items() if found.holds(item)}
        reports += waiting.gone(one for item, some in regressed.items() if item not in still_open for one in some)
        named = {one.directory for some in still_open.values() for one in some}
        named |= {one.directory for one in reports if one.end is ItemEnd.UNJUDGED}
        pruned: tuple[str, ...] = ()
        with faults.warned("not all that is old is removed"):
            pruned = _prune(place, nightly, named, began)
            if any(one.end is ItemEnd.RAN for one in reports):
                cache.let_go()
                sweep.trim(Path(asked.cache), int(asked.pipeline.limits.cache_gib * (1 << 30)), every=0)
    return NightReport(
        time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began)),
        round(time.time() - began, 1),
        tuple(reports),
        {item: tuple(one.directory for one in some) for item, some in still_open.items()},
        pruned,
    )


def _found(asked: Request, place: Place) -> Found:
    done = nights.entries(place.book)

    def base(name: str, tip: str) -> str | None:
        of_item = [one for one in done if one.item == name]
        last = nights.newest([one for one in of_item if one.tip == tip]) or nights.newest(of_item)
        return _base(last[name], tip) if name in last else None

    return queue.find(asked, base, place.own / "mail")


def _base(last: Entry, tip: str) -> str | None:
    """The commit that a branch's tip is compared with: the last tip, or what that one was compared with, if it is this
    one, or if more than tests regressed in it: a kernel that does not build or boot shows nothing, and a metric that
    is worse would be forgotten.
    """
    if last.open or last.tip == tip:
        with contextlib.suppress(UserError, InfraError):  # its directory has gone
            run = store.load(Path(last.directory))
            if last.tip == tip or verdict.regressed_beyond_tests(run):
                return run.kernel.base_commit
    return last.tip if last.tip != tip else None


def _all(found: list[Item], place: Place, budget: Budget) -> list[ItemReport]:
    done, reports = nights.entries(place.book), list[ItemReport]()
    last = {one.item: one.began for one in done}
    items = sorted(found, key=lambda item: last.get(item.name, 0))  # what had to wait the last time goes first
    by_item = {item.name: [one for one in done if one.item == item.name] for item in items}
    for number, item in enumerate(items, 1):
        if budget.spent:
            reports.append(ItemReport(item.name, ItemEnd.LEFT, words="the time was spent before it was begun"))
            continue
        log.info("%d of %d: %s", number, len(items), item.name)
        reports.append(_guarded(item, by_item[item.name], place, budget))
        with faults.warned(f"nobody is told of {item.name}"):
            place.told(reports[-1])
    return reports


def _guarded(item: Item, done: list[Entry], place: Place, budget: Budget) -> ItemReport:
    """Do one item, and say what became of it, whatever that is."""
    began = time.monotonic()
    try:
        with budget.watched():
            report = look.at(item, done, place, budget)
        if budget.spent:  # just when it was done
            proc.stop.clear()
    except Interrupted:
        if not budget.spent:  # a person, or the system, ends it all
            raise
        report = ItemReport(item.name, ItemEnd.LEFT, words="cut off, since the time was spent; the next night goes on")
        proc.stop.clear()
    except Exception as fault:
        report = ItemReport(item.name, ItemEnd.FAILED, words=faults.said(fault, item.name))
        proc.stop.clear()  # the engine sets it, so that what ran beside it ends
    return replace(report, seconds=round(time.monotonic() - began, 1))


def _prune(place: Place, nightly: Nightly, named: Container[str], now: float) -> tuple[str, ...]:
    """Remove old run directories of nightly runs, but those that are named, and the reports of old nights."""
    keep = nightly.keep
    oldest = int(now - keep.days * _DAY)
    going = nights.prune(nights.entries(place.book), named, runs=keep.runs, oldest=oldest)
    inside = [path for path in going if path.parent == place.results and job.resumable(path)]
    for path in inside:
        disk.clear(path)
    for report in sorted(place.own.glob("*.json"))[: -keep.runs]:
        report.unlink()
        report.with_suffix(".txt").unlink(missing_ok=True)
    return tuple(map(str, inside))
