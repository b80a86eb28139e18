"""The runs that wait for somebody to look at them: what regressed in them still fails."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from kvm.errors import InfraError, UserError
from orchestrator import store
from orchestrator.history import ask, nights
from orchestrator.history.ask import Spot
from orchestrator.history.book import Book
from orchestrator.history.nights import Entry
from orchestrator.model import ItemEnd, ItemReport


def runs(book: Book) -> dict[str, list[Entry]]:
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


def _still_bad(done: list[Entry], book: Book) -> dict[Entry, set[Spot]]:
    """What regressed in each run of an item and was not seen to pass since."""
    known = {}
    for one in done:
        with contextlib.suppress(UserError):  # the history may have been made anew since
            known[one] = ask.find(book, one.directory)
    return dict(zip(known, ask.still_bad(book, list(known.values())), strict=True))


def _judged(entry: Entry) -> Entry:
    """An entry with its verdict, be it that of a run which was cut off when it had one."""
    if not entry.verdict:
        with contextlib.suppress(UserError, InfraError):  # it has left no record
            found = store.load(Path(entry.directory)).verdict
            return replace(entry, verdict=found.value if found else "")
    return entry


def gone(closed: Iterable[Entry]) -> Iterator[ItemReport]:
    """Branches that are looked at no more and had an open regression, for as long as its directory is kept."""
    for one in closed:
        if one.tip and Path(one.directory).is_dir():
            words = f"no such branch is looked at any more, and nobody waits for {one.directory}"
            yield ItemReport(one.item, ItemEnd.GONE, verdict=one.verdict, words=words, directory=one.directory)
