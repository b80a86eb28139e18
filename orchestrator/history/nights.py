"""What nightly runs have done: which item with which content, where, and what came of it."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Row, delete, insert, select, update

from orchestrator.history.book import Book
from orchestrator.history.schema import night
from orchestrator.model import VerdictValue


@dataclass(frozen=True)
class Entry:
    """One run of an item with one content; `began` is when the item came to have it, in seconds since the epoch.

    `verdict` is "" while it has not ended.
    """

    item: str
    content: str
    tip: str
    began: int
    directory: str
    verdict: str

    @property
    def open(self) -> bool:
        """Does it wait for somebody to look at it?"""
        return self.verdict in (VerdictValue.REGRESSED, VerdictValue.UNMET)

    @property
    def answered(self) -> bool:
        """Did it give an answer? `inconclusive` is none."""
        return self.verdict not in ("", VerdictValue.INCONCLUSIVE)


def entries(book: Book) -> list[Entry]:
    """All that nightly runs have done, the newest last."""
    with book.reading() as connection:
        return [_entry(row) for row in connection.execute(select(night).order_by(night.c.began, night.c.id))]


def newest(found: list[Entry]) -> dict[str, Entry]:
    """The last one of each item that gave an answer."""
    return {one.item: one for one in found if one.answered}


def begin(book: Book, entry: Entry) -> None:
    """Say that an item is begun; what was said of the same content when it was cut off goes."""
    same = (night.c.item == entry.item, night.c.content == entry.content)
    with book.writing() as connection:
        connection.execute(delete(night).where(*same, night.c.verdict == ""))
        connection.execute(insert(night).values(**entry.__dict__))


def end(book: Book, entry: Entry, verdict: str) -> None:
    """Say what came of an item that was begun."""
    with book.writing() as connection:
        connection.execute(update(night).where(*_same(entry)).values(verdict=verdict))


def renew(book: Book, entry: Entry, now: int) -> None:
    """Say that an item has now again what it had then."""
    with book.writing() as connection:
        connection.execute(update(night).where(*_same(entry)).values(began=now))


def prune(found: list[Entry], named: Container[str], *, runs: int, oldest: int) -> list[Path]:
    """The directories that may go: all but the newest `runs` and what began since `oldest`, of those that are there.

    Those that are `named` stay, and what was cut off while nothing newer of the same item has begun.
    """
    newest = {one.item: one for one in found}
    cut_off = {one.directory for one in newest.values() if not one.verdict}
    there = [one for one in found if Path(one.directory).is_dir()]
    return [
        Path(one.directory)
        for number, one in enumerate(reversed(there))
        if (number >= runs or one.began < oldest) and one.directory not in cut_off and one.directory not in named
    ]


def _same(entry: Entry) -> tuple[ColumnElement[bool], ...]:
    named = {name: getattr(entry, name) for name in ("item", "content", "directory")}
    return tuple(night.c[name] == value for name, value in named.items())


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    return Entry(**{name: row._mapping[name] for name in Entry.__dataclass_fields__})
