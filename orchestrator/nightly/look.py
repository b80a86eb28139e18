"""A look at one item: what is new is run, compared with the item's last run, and its culprit looked for."""

import contextlib
import datetime
import time
from pathlib import Path

from kvm import proc
from kvm.errors import Interrupted, UserError
from orchestrator import cache, culprits, job, pipeline, plan, store
from orchestrator.history import ask, nights, write
from orchestrator.history.book import Book
from orchestrator.history.nights import Entry
from orchestrator.job import Job
from orchestrator.model import ItemEnd, ItemReport, VerdictValue
from orchestrator.nightly.place import Budget, Place
from orchestrator.nightly.queue import Item
from orchestrator.plan import Plan

_TRIES = 3  # of an item that is inconclusive: what took its guests is over by then, or is there every night
# What else of pipeline.yaml decides what a run looks at.
_DECIDE = {
    *("toolchain", "each_patch", "enable_touched", "checks"),
    *("repeats", "rerun", "boots", "minimum_effect", "guest"),
}


def at(item: Item, done: list[Entry], place: Place, budget: Budget) -> ItemReport:
    """Run an item whose content is new, was cut off, or gave no answer yet."""
    todo = plan.make(item.request)
    content = _content(todo, item.tip)
    if known := _ended(done, content, place.book):
        return known
    cut_off = [Path(one.directory) for one in done if one.content == content and not one.verdict]
    begun = [directory for directory in cut_off if job.resumable(directory)]
    now = datetime.datetime.now().astimezone()
    directory = (
        begun[-1] if begun else store.new_directory(place.results, item.branch or todo.applied.series.title, now)
    )
    entry = Entry(item.name, content, item.tip, int(now.timestamp()), str(directory), "")
    nights.begin(place.book, entry)
    how = (directory, place.watch, place.take, place.engine)
    with job.resume(*how) if begun else job.start(todo, *how) as of:
        if place.there:
            place.there.save(directory)
        run = pipeline.go_on(of) if begun else pipeline.validate(of)
        write.add(place.book, run, directory)
        worse = _looked_at(of, [one for one in done if one.verdict], place.book, budget)
    write.took(place.book, of.run)
    place.publish(of)
    report = _report(item, of, worse)
    if not (budget.spent and culprits.unended(of.run)):  # else the search goes on the next night
        nights.end(place.book, entry, report.verdict)
    return report


def _ended(done: list[Entry], content: str, book: Book) -> ItemReport | None:
    """What is known of a content that was run to its end; where another one came since, this is the newest again.

    Nothing is where a run was cut off, or was inconclusive and may be tried again.
    """
    tried = [one for one in done if one.content == content]
    if not tried or not (known := tried[-1]).verdict or not (known.answered or len(tried) >= _TRIES):
        return None
    if known is not done[-1]:
        nights.renew(book, known, int(time.time()))
    end, words = ItemEnd.KNOWN, ""
    if not known.answered:
        end, words = ItemEnd.UNJUDGED, f"inconclusive {len(tried)} times, and not run again as it is: {known.directory}"
    return ItemReport(known.item, end, verdict=known.verdict, words=words, directory=known.directory)


def _content(todo: Plan, tip: str) -> str:
    """What is compared, from which .configs, by which suites, how often. A branch is its `tip`, whatever that is
    compared with. With another version of a compiler nothing is new.
    """
    wishes = {str(cell.lane): order.wish for cell, order in todo.orders.items()}
    configs = sorted((lane, wish.start, wish.fragments, wish.optional) for lane, wish in wishes.items())
    suites = sorted((suite.name, suite.content()) for suite in todo.suites)
    asked = todo.request.pipeline.model_dump(mode="json", include=_DECIDE)
    return cache.key([tip or [todo.source.tree, todo.applied.tree], configs, suites, asked])


def _looked_at(of: Job, done: list[Entry], book: Book, budget: Budget) -> tuple[str, ...]:
    """Compare a run with the item's last one, and look for who did what is new in it; returns what is worse."""
    run = of.run
    worse = _worse(done[-1], of.directory, book) if done else ()
    new = not done or bool(worse) or done[-1].verdict != VerdictValue.REGRESSED
    regressed = run.verdict and run.verdict.value is VerdictValue.REGRESSED
    if regressed and new and of.plan.request.pipeline.bisect:
        _look_for_culprits(of, budget)
    return worse


def _worse(before: Entry, directory: Path, book: Book) -> tuple[str, ...]:
    """What fails now and did not in the last run of the same item."""
    with contextlib.suppress(UserError):  # the history may have been made anew since
        moved = ask.compare(book, ask.find(book, before.directory), ask.find(book, str(directory)))
        return tuple(f"{one.arch}-{one.flavour} {one.suite}/{one.name}" for one in moved if one.worse)
    return ()


def _look_for_culprits(of: Job, budget: Budget) -> None:
    """Look for who did it; the verdict stands where the budget ends that."""
    try:
        culprits.look_after(of)
    except Interrupted:
        if not budget.spent:
            raise
        proc.stop.clear()
        culprits.give_up(of, "the time was spent, and the next night goes on")


def _report(item: Item, of: Job, worse: tuple[str, ...]) -> ItemReport:
    run = of.run
    assert run.verdict
    return ItemReport(
        item.name,
        ItemEnd.RAN,
        title=run.series.title,
        verdict=run.verdict.value,
        words="; ".join((*run.verdict.reasons, *culprits.unended(run))),
        strength=run.verdict.strength,
        directory=str(of.directory),
        worse=worse,
        culprits=tuple(f"{one.commit[:12]} {one.subject}" for found in run.culprits for one in found.suspects),
    )
