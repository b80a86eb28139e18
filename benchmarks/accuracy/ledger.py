"""What came of each entry when it was last run, kept with the corpus: a campaign takes hours, and may be cut in parts.

A line of JSON for each entry and the architectures on which it ran at once, with the kdelta and the day that it is of.
"""

import dataclasses
import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy import compare
from benchmarks.accuracy.compare import Mark, Marked
from benchmarks.accuracy.entry import HERE, Entry

LEDGER = HERE / "ledger.jsonl"


@dataclass(frozen=True)
class Row:
    """A mark, and what made it: `kdelta` names its files, or a commit of it."""

    marked: Marked
    kdelta: str
    day: datetime.date


def read(entries: Iterable[Entry], path: Path = LEDGER) -> list[Row]:
    """Return the rows of the entries that are still what they were when they were run."""
    known = {(entry.name, entry.key): entry for entry in entries}
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()
    return [_row(known[found], line) for line in lines if (found := (line["entry"], line["key"])) in known]


def newest(rows: Sequence[Row]) -> list[Row]:
    """Of an entry's rows, those that no later one covers, on the same architectures or more; in order of names."""
    return sorted(
        (row for number, row in enumerate(rows) if not any(_covers(later, row) for later in rows[number + 1 :])),
        key=lambda row: (row.marked.entry.name, row.marked.arches),
    )


def write(rows: Iterable[Row], path: Path = LEDGER) -> None:
    """Keep these rows, and no others."""
    path.write_text("".join(f"{json.dumps(_line(row))}\n" for row in rows), encoding="utf-8")


def _covers(later: Row, row: Row) -> bool:
    return later.marked.entry.name == row.marked.entry.name and {*row.marked.arches} <= {*later.marked.arches}


def _line(row: Row) -> dict[str, Any]:
    entry = row.marked.entry
    seen = {
        field.name: getattr(row.marked, field.name) for field in dataclasses.fields(Marked) if field.name != "entry"
    }
    return {"entry": entry.name, "key": entry.key, "kdelta": row.kdelta, "day": row.day.isoformat(), **seen}


def _row(entry: Entry, line: dict[str, Any]) -> Row:
    seen = {name: value for name, value in line.items() if name not in ("entry", "key", "kdelta", "day")}
    seen |= {"mark": Mark(seen["mark"]), "arches": tuple(seen["arches"]), "lacks": tuple(seen["lacks"])}
    if seen["mark"] is not Mark.NO_ANSWER:  # what was said stays, what it is worth may have another word since
        seen["mark"] = compare.worth(entry, seen["said"], seen["lacks"])
    return Row(Marked(entry, **seen), line["kdelta"], datetime.date.fromisoformat(line["day"]))
