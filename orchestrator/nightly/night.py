"""One night: every item that is new is run and compared with the last time, whatever becomes of the others."""

import contextlib
import datetime
import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvm import disk, proc, snapshot
from kvm.errors import Error, InfraError, Interrupted, UserError
from kvm.snapshot import Take
from orchestrator import cache, culprits, job, pipeline, plan, store, sweep
from orchestrator.config import Nightly
from orchestrator.engine import Engine
from orchestrator.history import ask, nights, write
from orchestrator.history.ask import Spot
from orchestrator.history.book import Book
from orchestrator.history.nights import Entry
from orchestrator.job import Job, MakeEngine, Watch
from orchestrator.judge import verdict
from orchestrator.model import ItemEnd, ItemReport, NightReport, VerdictValue
from orchestrator.nightly import queue
from orchestrator.nightly.queue import Found, Item
from orchestrator.plan import Plan
from orchestrator.request import Request

if TYPE_CHECKING:  # what it needs is an extra
    from orchestrator.cluster.where import Where

log = logging.getLogger(__name__)

_DAY = 86400.0
_TRIES = 3  # of an item that is inconclusive: what took its guests is over by then, or is there every night
# What else of pipeline.yaml decides what a run looks at.
_DECIDE = {
    *("toolchain", "each_patch", "enable_touched", "checks"),
    *("repeats", "rerun", "boots", "minimum_effect", "guest"),
}


@dataclass(frozen=True)
class Place:
    """Where a night works: the history, the directory of all results, and who is told of what.

    `publish` writes the report of a run that has ended; `told` hears of each item what became of it; `there` is the
    cluster that builds and tests, if not this machine.
    """

    book: Book
    results: Path
    publish: Callable[[Job], object]
    watch: Watch
    take: Take = snapshot.take
    there: "Where | None" = None
    told: Callable[[ItemReport], object] = lambda _: None

    @property
    def engine(self) -> MakeEngine:
        """What does a run's work."""
        return self.there.engine if self.there else Engine

    @property
    def own(self) -> Path:
        """The directory of nightly runs' own files."""
        return self.results / "nightly"


@dataclass
class Budget:
    """So many seconds for a night; when they are spent all that runs is stopped, to go on the next night."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    spent: bool = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Stop what runs in the block at the end of the budget, by Interrupted, after which `spent` is true."""
        timer = threading.Timer(max(0.0, self.began + self.seconds - time.monotonic()), self._stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _stop(self) -> None:
        self.spent = True
        proc.stop.set()


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
        regressed = _open(place.book)
        still_open = {item: some for item, some in regressed.items() if found.holds(item)}
        reports += _gone(one for item, some in regressed.items() if item not in still_open for one in some)
        named = {one.directory for some in still_open.values() for one in some}
        named |= {one.directory for one in reports if one.end is ItemEnd.UNJUDGED}
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
        place.told(reports[-1])
    return reports


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


def _guarded(item: Item, done: list[Entry], place: Place, budget: Budget) -> ItemReport:
    """Do one item, and say what became of it, whatever that is."""
    began = time.monotonic()
    try:
        with budget.watched():
            report = _one(item, done, place, budget)
        if budget.spent:  # just when it was done
            proc.stop.clear()
    except Interrupted:
        if not budget.spent:  # a person, or the system, ends it all
            raise
        report = ItemReport(item.name, ItemEnd.LEFT, words="cut off, since the time was spent; the next night goes on")
        proc.stop.clear()
    except Exception as fault:
        report = ItemReport(item.name, ItemEnd.FAILED, words=_said(fault, item))
        proc.stop.clear()  # the engine sets it, so that what ran beside it ends
    return replace(report, seconds=round(time.monotonic() - began, 1))


def _said(fault: Exception, item: Item) -> str:
    """A fault in a line; one that is ours goes to the log whole."""
    if isinstance(fault, Error):
        return fault.message
    if isinstance(fault, OSError):
        return f"{fault.filename or 'the system'}: {fault.strerror}"
    log.error("%s", item.name, exc_info=fault)
    return f"a fault of kdelta itself: {fault!r}"


def _one(item: Item, done: list[Entry], place: Place, budget: Budget) -> ItemReport:
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


def _worse(before: Entry, directory: Path, book: Book) -> tuple[str, ...]:
    """What fails now and did not in the last run of the same item."""
    with contextlib.suppress(UserError):  # the history may have been made anew since
        moved = ask.compare(book, ask.find(book, before.directory), ask.find(book, str(directory)))
        return tuple(f"{one.arch}-{one.flavour} {one.suite}/{one.name}" for one in moved if one.worse)
    return ()


def _open(book: Book) -> dict[str, list[Entry]]:
    """The runs of every item that wait for somebody, the oldest first."""
    answered: dict[str, list[Entry]] = {}
    for one in map(_judged, nights.entries(book)):
        if one.answered:
            answered.setdefault(one.item, []).append(one)
    waiting = {item: _waiting(done, book)[::-1] for item, done in answered.items() if any(one.open for one in done)}
    return {item: some for item, some in waiting.items() if some}


def _waiting(done: list[Entry], book: Book) -> list[Entry]:
    """The newest run of an item if it is bad, and each one before in which something regressed that still fails, unless
    all of that regressed again in a newer one that waits; the newest first.
    """
    bad, waiting, told = _still_bad(done, book), list[Entry](), set[Spot]()
    for one in reversed(done):
        found = bad.get(one, set())
        if one.open and (one is done[-1] or found - told):
            waiting.append(one)
            told |= found
    return waiting


def _gone(closed: Iterable[Entry]) -> Iterator[ItemReport]:
    """Branches that are looked at no more and had an open regression, for as long as its directory is kept."""
    for one in closed:
        if one.tip and Path(one.directory).is_dir():
            words = f"no such branch is looked at any more, and nobody waits for {one.directory}"
            yield ItemReport(one.item, ItemEnd.GONE, verdict=one.verdict, words=words, directory=one.directory)


def _judged(entry: Entry) -> Entry:
    """An entry with its verdict, be it that of a run which was cut off when it had one."""
    if not entry.verdict:
        with contextlib.suppress(UserError, InfraError):  # it has left no record
            found = store.load(Path(entry.directory)).verdict
            return replace(entry, verdict=found.value if found else "")
    return entry


def _still_bad(done: list[Entry], book: Book) -> dict[Entry, set[Spot]]:
    """What regressed in each run of an item and was not seen to pass since."""
    runs = {}
    for one in done:
        with contextlib.suppress(UserError):  # the history may have been made anew since
            runs[one] = ask.find(book, one.directory)
    return dict(zip(runs, ask.still_bad(book, list(runs.values())), strict=True))


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
