"""The findings of both sides in, a class for each out: by what they say and where, never by how many there are."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.hunks import LineMap
from orchestrator.model import Finding, FindingChange, FindingRecord

Units = Mapping[str, Sequence[Finding]]

# Kinds whose words hold a measured number: it may change while the complaint stays what it is.
_NUMBER = re.compile(r"\b\d+\b")
_MEASURED = ("-Wframe-larger-than", "-Wstack-usage")


@dataclass(frozen=True)
class _Place:
    """Where a finding is and where the macro that holds it is used; None for what has no counterpart."""

    at: tuple[str, int] | None
    site: tuple[str, int] | None
    sited: bool


@dataclass(frozen=True)
class _Key:
    """What makes two findings one: the column and the include chain do not."""

    tool: str
    kind: str
    message: str
    place: _Place

    @property
    def in_header(self) -> bool:
        """Is it about a file that others include?"""
        return self.place.at is not None and self.place.at[0].endswith(".h")


@dataclass(frozen=True)
class _Seen:
    """One identity on one side: how often in one unit, and in which units."""

    finding: Finding
    count: int
    units: frozenset[str]


def compare(base: Units, patched: Units, lines: LineMap, *, arch: str, flavour: str) -> list[FindingRecord]:
    """Class every finding of either side. The units are objects with what was said of each, all that were looked at.

    A finding in a header is one finding, however many objects include it.
    """
    before, after = _fold(base), _fold(patched)
    left, right = Counter(_counts(before)), Counter(_counts(after))
    pairs = _same_place(left, right, lines) + _same_function(left, right, before, after, lines)
    records = [
        _record(after[now], FindingChange.SAME if now == was else FindingChange.MOVED, before[was].finding.line)
        for was, now in pairs
    ]
    records += [_record(after[key], FindingChange.NEW, None) for key in right.elements()]
    for key in left.elements():
        looked = _looked(before[key].units, patched, lines)
        change = FindingChange.GONE if looked else FindingChange.MISSING
        records.append(_record(before[key], change, before[key].finding.line))
    here = (replace(record, arch=arch, flavour=flavour) for record in records)
    return sorted(here, key=lambda record: (record.file, record.line, record.tool, record.kind, record.message))


def compare_checks(
    base: Mapping[str, Units], patched: Mapping[str, Units], lines: LineMap, *, arch: str, flavour: str
) -> tuple[list[FindingRecord], list[str]]:
    """Class what each checker said of both sides, and note what it saw on one side only: that cannot be called new.

    A checker that base does not have judges the patches themselves: all that it says is new.
    """
    records, notes = [], []
    for name, said in patched.items():
        fair = said
        if name in base:
            fair = {unit: found for unit, found in said.items() if unit in base[name] or _only_patched(unit, lines)}
            notes += [f"{name}: {unit} was checked on patched only" for unit in said if unit not in fair]
        records += compare(base.get(name, {}), fair, lines, arch=arch, flavour=flavour)
    return records, notes


def unlike(records: Iterable[FindingRecord]) -> list[FindingRecord]:
    """Return what is not the same on both sides."""
    return [record for record in records if record.change is not FindingChange.SAME]


def _only_patched(unit: str, lines: LineMap) -> bool:
    """Did the series add or rename the file that a unit is about? (A unit may be `file rule`.)"""
    found = lines.by_patched.get(unit.split(" ", 1)[0])
    return found is not None and found.base != found.patched


def changed(records: Iterable[FindingRecord]) -> list[FindingRecord]:
    """Return what the author of the series should read, new findings first."""
    return sorted((record for record in records if record.change.changed), key=lambda r: r.change is FindingChange.GONE)


def _fold(units: Units) -> dict[_Key, _Seen]:
    """Count each identity by the unit that shows it most often: a header's finding is not one per object."""
    most: dict[_Key, int] = defaultdict(int)
    where: dict[_Key, set[str]] = defaultdict(set)
    first: dict[_Key, Finding] = {}
    for unit, findings in units.items():
        places: dict[_Key, list[int]] = defaultdict(list)
        for finding in findings:
            key = _key(finding)
            places[key].append(finding.column)
            first.setdefault(key, finding)
        for key, columns in places.items():
            # In a source two equal findings are two; in a header each object, and each use, says it again.
            count = len(set(columns)) if key.in_header else len(columns)
            most[key] = max(most[key], count)
            where[key].add(unit)
    return {key: _Seen(first[key], count, frozenset(where[key])) for key, count in most.items()}


def _counts(seen: Mapping[_Key, _Seen]) -> dict[_Key, int]:
    return {key: one.count for key, one in seen.items()}


def _key(finding: Finding) -> _Key:
    message = finding.message
    if finding.kind.startswith(_MEASURED):
        message = _NUMBER.sub("N", message)
    place = _Place((finding.file, finding.line), finding.site, finding.site is not None)
    return _Key(finding.tool, finding.kind, message, place)


def _same_place(left: Counter[_Key], right: Counter[_Key], lines: LineMap) -> list[tuple[_Key, _Key]]:
    """Pair what stands where the hunks have carried it, and take it off both counts."""
    pairs = []
    for key in list(left):
        now = replace(key, place=_forward(key.place, lines))
        pairs += [(key, now)] * _take(left, key, right, now)
    return pairs


def _forward(place: _Place, lines: LineMap) -> _Place:
    at = lines.forward(*place.at) if place.at else None
    return _Place(at, lines.forward(*place.site) if place.site else None, place.sited)


def _same_function(
    left: Counter[_Key],
    right: Counter[_Key],
    before: Mapping[_Key, _Seen],
    after: Mapping[_Key, _Seen],
    lines: LineMap,
) -> list[tuple[_Key, _Key]]:
    """Pair a finding on a line that the series took away with the same words, in the same function, on one it wrote."""
    waiting: dict[tuple[object, ...], list[_Key]] = defaultdict(list)
    for key in +left:
        carried = _forward(key.place, lines)
        if carried.at is None or (carried.sited and carried.site is None):
            waiting[_words(key, before[key].finding, lines)].append(key)
    pairs = []
    for now in list(+right):
        if not any(lines.written(*spot) for spot in (now.place.at, now.place.site) if spot):
            continue
        for key in waiting[_words(now, after[now].finding, None)]:
            pairs += [(key, now)] * _take(left, key, right, now)
    return pairs


def _words(key: _Key, finding: Finding, lines: LineMap | None) -> tuple[object, ...]:
    file: str | None = finding.file
    if lines and file:
        file = lines.renamed(file)
    return key.tool, key.kind, key.message, file, finding.function, key.place.sited


def _take(left: Counter[_Key], was: _Key, right: Counter[_Key], now: _Key) -> int:
    number = min(left[was], right[now])
    left[was] -= number
    right[now] -= number
    return number


def _looked(units: Iterable[str], patched: Units, lines: LineMap) -> bool:
    """Was a unit that had the finding read to its end on patched, or its source deleted or renamed by the series?"""
    moved = {file.rpartition(".")[0] for file, found in lines.by_base.items() if found.patched != file}
    return any(_whole(patched.get(unit)) or unit.rpartition(".")[0] in moved for unit in units)


def _whole(said: Sequence[Finding] | None) -> bool:
    """A compiler that met an error did not look at the rest."""
    return said is not None and all(finding.kind != "error" for finding in said)


def _record(seen: _Seen, change: FindingChange, base_line: int | None) -> FindingRecord:
    found = seen.finding
    site = f"{found.site[0]}:{found.site[1]}" if found.site else ""
    return FindingRecord(
        tool=found.tool,
        kind=found.kind,
        file=found.file,
        line=found.line,
        message=found.message,
        arch="",
        flavour="",
        change=change,
        function=found.function,
        site=site,
        base_line=base_line,
        objects=len(seen.units),
    )
