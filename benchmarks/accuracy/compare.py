"""What kdelta said of an entry, held against the right answer. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from benchmarks.accuracy.entry import Entry, Named, Wanted
from orchestrator.model import ChangeKind

Record = dict[str, Any]
Rows = list[dict[str, Any]]

_ALARMS = ("regressed", "unmet")
_GOOD = ("clean", "validated")


class Mark(StrEnum):
    """What an answer is worth."""

    FOUND = "found"
    TOLD = "told"
    HALF = "half found"
    MISSED = "missed"
    UNDECIDED = "undecided"
    QUIET = "quiet"
    ALARM = "false alarm"
    UNREACHED = "unreached"
    NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Marked:
    """One entry's answer: `lacks` is what must be said and was not, `compared` and `wrong` count its tests.

    `culprit` says whether the one right patch was named, None where it was not to be. `builds` are the trees that the
    search built, None where that was not kept. Of older rows `boots` lack those of pairs and of `boots: N`.
    """

    entry: Entry
    arches: tuple[str, ...]
    mark: Mark
    said: str
    lacks: tuple[str, ...] = ()
    boots: int = 0
    seconds: float = 0.0
    compared: int = 0
    wrong: int = 0
    culprit: bool | None = None
    named: str = ""
    builds: int | None = None
    all_boots: bool = False


def mark(entry: Entry, arches: list[str], record: Record | str, boots: int = 0) -> Marked:
    """Hold the record of a run of so many `boots`, or the words of one that left none, against the entry's answer."""
    if isinstance(record, str) or not record.get("verdict"):
        words = record if isinstance(record, str) else f"the run is {record.get('status')}"
        said = words.strip().rpartition("\n")[2]
        return Marked(entry, tuple(arches), Mark.NO_ANSWER, said, boots=boots, all_boots=True)
    lacks = tuple(_lacks(entry.answer.must, arches, record))
    return Marked(
        entry,
        tuple(arches),
        worth(entry, record["verdict"]["value"], lacks),
        record["verdict"]["value"],
        lacks,
        boots=boots,
        seconds=record["wall_seconds"] or 0.0,
        compared=len(record["tests"]),
        wrong=sum(test["change"] == "regressed" for test in record["tests"]),
        culprit=_right(entry, record),
        named="; ".join(_named_culprits(entry, record)),
        builds=sum(culprit["builds"] for culprit in record.get("culprits", ())),
        all_boots=True,
    )


def _right(entry: Entry, record: Record) -> bool | None:
    """Is the one right patch named, and no other? A search is due where the verdict is regressed."""
    if entry.answer.culprit is None or record["verdict"]["value"] != "regressed":
        return None
    return {*_named_culprits(entry, record)} == {str(entry.answer.culprit)}


def _named_culprits(entry: Entry, record: Record) -> Iterator[str]:
    """The suspects of each search, and the patches that are said to break the build, as numbers of the entry's own."""
    yield from (str(step["number"] - entry.before) for step in record["steps"] if step["error"])
    for culprit in record.get("culprits", ()):
        yield " or ".join(str(suspect["number"] - entry.before) for suspect in culprit["suspects"])


def worth(entry: Entry, said: str, lacks: tuple[str, ...]) -> Mark:
    """What a verdict is worth that lacks so much of the answer."""
    if entry.answer.effect == "nothing":
        return Mark.ALARM if said in _ALARMS else Mark.QUIET if not lacks else Mark.UNDECIDED
    if entry.answer.unreached:
        return Mark.HALF if lacks else Mark.UNREACHED
    if said in _ALARMS:
        return Mark.HALF if lacks else Mark.FOUND
    if said in _GOOD:
        return Mark.MISSED if lacks else Mark.TOLD
    return Mark.UNDECIDED


def _lacks(must: Wanted, arches: list[str], record: Record) -> Iterator[str]:
    """What the answer wants and the record does not say, on any of the architectures where it shows."""
    if record["verdict"]["value"] not in must.verdict:
        yield f"verdict is {record['verdict']['value']}, not {' or '.join(must.verdict)}"
    yield from _patches(must, record["steps"])
    for arch in arches:
        yield from (f"{arch}: {words}" for words in _lacks_on(arch, must, record))


def _patches(must: Wanted, steps: Rows) -> Iterator[str]:
    broken = {step["number"] for step in steps if step["error"]}
    yield from (f"patch {number} is not said to break the build" for number in must.steps if number not in broken)


def _lacks_on(arch: str, must: Wanted, record: Record) -> Iterator[str]:
    guests, builds = ([row for row in _on(arch, record[part]) if row["side"] == "patched"] for part in _OF_PATCHED)
    errors = [build["error"] or "" for build in builds]
    if must.build and not any(re.search(must.build, error) for error in errors):
        yield f"no build error {must.build!r}"
    ends = {guest["outcome"] for guest in guests}
    if must.guest and not ends & {*must.guest}:
        yield f"guest is {', '.join(sorted(ends)) or 'not there'}, not {' or '.join(must.guest)}"
    yield from _tests(must, _on(arch, record["tests"]))
    reports = [splat for guest in guests for splat in guest["splats"]]
    yield from _named("report", must.reports, reports)
    new = [found for found in _on(arch, record["findings"]) if found["change"] == "new"]
    yield from _named("finding", must.findings, new)
    said = [line["words"] for line in _on(arch, record["lines"]) if line["side"] == "patched"]
    yield from (f"no line {form!r}" for form in must.lines if not any(re.search(form, words) for words in said))
    yield from (f"{name} did not become worse" for name in must.metrics if name not in _worse(arch, record))
    yield from _binary(must, _on(arch, record["binaries"]))


def _worse(arch: str, record: Record) -> set[str]:
    rows = [row for row in _on(arch, record["metrics"]) if row["effect"] and row["effect"]["kind"] == row["worse"]]
    return {f"{row['suite']}/{row['name']}" for row in rows}


_OF_PATCHED = ("guests", "builds")


def _on(arch: str, rows: Rows) -> Rows:
    return [row for row in rows if row["arch"] == arch]


def _as_declared(test: dict[str, Any]) -> bool:
    return test["expected"] is None or ChangeKind(test["change"]).meets(ChangeKind(test["expected"]))


def _tests(must: Wanted, tests: Rows) -> Iterator[str]:
    seen = {(test["suite"], test["name"]): test for test in tests}
    for suite, names in must.tests.items():
        if missed := [name for name in names if not _shown(seen.get((suite, name)), must.changes)]:
            yield f"not told of {suite}: {', '.join(missed)}"


def _shown(test: dict[str, Any] | None, changes: list[str]) -> bool:
    """Is it in a class that the answer names, or not what the series promised?"""
    return test is not None and (test["change"] in changes or not _as_declared(test))


def _named(word: str, wanted: Iterable[Named], rows: Rows) -> Iterator[str]:
    for one in wanted:
        if not any(_is(one, row) for row in rows):
            yield f"no {word} {one.kind} {one.title if one.file == '.*' else one.file}"


def _is(one: Named, row: dict[str, Any]) -> bool:
    return bool(
        re.fullmatch(one.kind, row["kind"])
        and re.fullmatch(one.title, row.get("title", ""))
        and re.fullmatch(one.file, row.get("file", ""))
    )


def _binary(must: Wanted, binaries: Rows) -> Iterator[str]:
    for part, names in must.binary.model_dump().items():
        there = {row["name"] for binary in binaries for row in binary[part]}
        if missed := [name for name in names if not any(re.fullmatch(name, one) for one in there)]:
            yield f"not among {part}: {', '.join(missed)}"
