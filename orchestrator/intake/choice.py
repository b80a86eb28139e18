"""Which messages of many are the series, and in which order. Pure: headers in, positions out."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from kvm.errors import UserError
from orchestrator.intake.head import Head
from orchestrator.intake.patch import TEMPLATE

_FILE_NUMBER = re.compile(r"(?:v\d{1,4}-)?(\d{4})-")  # as `git format-patch` names its files
_THREAD_HINT = "save the thread of the one you mean, and no other"


@dataclass(frozen=True)
class Choice:
    """The positions of the messages to take, in order, cover letter first, and what was decided on the way."""

    order: tuple[int, ...]
    version: int
    notes: tuple[str, ...] = ()


Numbered = dict[int, list[int]]


class _Group:
    """The patches with one version and one m of n/m; `marks` are what another version has in common with it."""

    def __init__(self, version: tuple[int, int], total: int, members: Numbered, heads: Sequence[Head]) -> None:
        self.version, self.total, self.members = version, total, members
        mine = [heads[place] for places in members.values() for place in places]
        self.marks = _ids(mine) | {head.title.casefold() for head in mine} - {TEMPLATE.casefold()}
        self.title = heads[self.order[0]].title

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(places[0] for _, places in sorted(self.members.items()))

    @property
    def missing(self) -> list[int]:
        return [number for number in range(1, self.total + 1) if number not in self.members]

    @property
    def complete(self) -> bool:
        return bool(self.total) and not self.missing

    @property
    def lack(self) -> str:
        last = len(self.missing) == 1
        return (
            f"{'patch' if last else 'patches'} {_spans(self.missing)} of {self.total} {'is' if last else 'are'} missing"
        )

    @property
    def name(self) -> str:
        return f"{_name(self.version)} ({self.total} {'patch' if self.total == 1 else 'patches'})"


_Rule = Callable[[Sequence[Head], list[int], list[str]], Choice]


def from_thread(heads: Sequence[Head]) -> Choice:
    """Choose from a mailbox, where much else may stand: the newest version that is complete."""
    return _revised(heads, _of_thread)


def from_directory(heads: Sequence[Head]) -> Choice:
    """Choose from a directory of patches, where every file counts: only older versions are left out."""
    return _revised(heads, _of_directory)


def _revised(heads: Sequence[Head], rule: _Rule) -> Choice:
    """Choose by `rule`, and put v2.1 of a patch where its v2 would be."""
    places, notes = _candidates(heads)
    instead = _revisions(heads, places)
    alone = {place for place in places if heads[place].revises} & set(chain.from_iterable(instead.values()))
    chosen = rule(heads, [place for place in places if place not in alone], notes)
    pairs = {place: instead[place][-1] for place in chosen.order if place in instead}
    said = [f"{heads[new].subject!r} takes the place of {heads[old].subject!r}" for old, new in pairs.items()]
    return replace(
        chosen,
        order=tuple(pairs.get(place, place) for place in chosen.order),
        notes=(*chosen.notes, *said),
    )


def _revisions(heads: Sequence[Head], places: Iterable[int]) -> dict[int, list[int]]:
    """The patches of v2 that were sent again alone, as v2.1 and v2.2, and those, the newest last."""
    patches: dict[object, list[int]] = defaultdict(list)
    revisions = []
    for place in places:
        if heads[place].revises:
            revisions.append(place)
        else:
            patches[heads[place].version[0], heads[place].number].append(place)
    instead = defaultdict(list)
    for revision in sorted(revisions, key=lambda place: heads[place].revises or ()):
        head = heads[revision]
        for place in patches[(head.revises or (0,))[0], head.number]:
            if head.title == heads[place].title or _ids([head]) & _ids([heads[place]]):
                instead[place].append(revision)
    return instead


def _of_thread(heads: Sequence[Head], places: list[int], notes: list[str]) -> Choice:
    groups = _groups(heads, places)
    single = [place for place in places if heads[place].number is None and heads[place].has_diff]
    if not groups:
        return _unnumbered(heads, single, notes)
    newer = [place for place in single if heads[place].version > max(group.version for group in groups)]
    if newer:
        alone = _Group(heads[newer[0]].version, 1, {1: newer}, heads)
        _refuse_strangers(alone, [*groups, alone])
        left = [f"{group.name} was left out: there is a newer one" for group in groups]
        return _unnumbered(heads, newer, [*notes, *left])
    chosen = _newest(groups)
    family = _family(chosen, groups)
    notes += [_left_out(group, chosen, family) for group in groups if group is not chosen]
    notes += [f"{heads[place].subject!r} was left out: it has no number in the series" for place in single]
    return Choice(chosen.order, chosen.version[0], tuple(notes))


def _of_directory(heads: Sequence[Head], places: list[int], notes: list[str]) -> Choice:
    groups = _groups(heads, places)
    chosen = []
    for family in _families(groups):
        newest = max(family, key=lambda group: group.version)
        chosen += [group for group in family if group.version == newest.version]
        notes += [_left_out(group, newest, family) for group in family if group.version < newest.version]
    for group in chosen:
        if group.missing:
            said = f"the series is not complete: {_of(group.version)}{group.lack}{_alone(group, heads)}"
            raise UserError(said, hint=_ORDER_HINT)
    if len(chosen) > 1:
        notes.append(f"{len(chosen)} series stand in one directory; they are taken in the order of their files")
    numbered = [place for group in chosen for place in group.order]
    covers = [place for place in numbered if (heads[place].number or (1, 1))[0] == 0]
    numbered = [place for place in numbered if place not in covers]
    if len(chosen) > 1:
        numbered.sort()
    single = [place for place in places if heads[place].number is None and heads[place].has_diff]
    single = _superseded(heads, single, notes)
    if len(single) > 1 and not numbered:
        notes += _by_file(heads, single)
    slots = iter(numbered)  # the numbers say the order of those that have one; the others stay where their file is
    patches = [place if place in single else next(slots) for place in sorted([*numbered, *single])]
    version = max((group.version for group in chosen), default=(1, 0))
    return Choice((*covers, *patches), version[0], tuple(notes))


_ORDER_HINT = "add them, or list the files that you mean in a file `series` beside them, as quilt does"


_BY_NAME = (
    "the patches have no numbers and are taken in the order of their files; a file `series` beside them says another"
)


def _by_file(heads: Sequence[Head], single: list[int]) -> list[str]:
    """What is to be said of patches that nothing but their files' names puts in order."""
    if not all(_FILE_NUMBER.match(heads[place].source) for place in single):
        return [_BY_NAME]
    numbers = {int(found[1]) for head in heads if (found := _FILE_NUMBER.match(head.source))}
    gaps = [number for number in range(min(numbers), max(numbers)) if number not in numbers]
    return [f"the numbers of the files leave out {_spans(gaps)}"] if gaps else []


def _alone(group: _Group, heads: Sequence[Head]) -> str:
    """Name the files of a group that is far from whole: their numbers may mean nothing here."""
    if len(group.members) > len(group.missing):
        return ""
    there = [(heads[places[0]].source, number) for number, places in sorted(group.members.items())]
    return "".join(f"; {source} is {number} of {group.total}" for source, number in there)


def _candidates(heads: Sequence[Head]) -> tuple[list[int], list[str]]:
    """Leave out second copies and replies; where nothing but replies carries a diff, those are meant."""
    seen: set[object] = set()
    places, notes = [], []
    for place, head in enumerate(heads):
        key = head.message_id or place
        if key not in seen:
            places.append(place)
        seen.add(key)
    twice = len(heads) - len(places)
    if twice:
        notes.append(f"{twice} {'message' if twice == 1 else 'messages'} came twice")
    if any(heads[place].has_diff and not heads[place].reply for place in places):
        replies = [heads[place] for place in places if heads[place].reply]
        notes += [f"the diff in {head.subject!r} was left out: it is a reply" for head in replies if head.has_diff]
        places = [place for place in places if not heads[place].reply]
    return places, notes


def _groups(heads: Sequence[Head], places: Iterable[int]) -> list[_Group]:
    """Sort the numbered messages by version and length; where numbers collide, by thread."""
    sorted_: dict[tuple[tuple[int, int], int], Numbered] = defaultdict(lambda: defaultdict(list))
    for place in places:
        if number := heads[place].number:
            sorted_[heads[place].version, number[1]][number[0]].append(place)
    groups = []
    for (version, total), members in sorted(sorted_.items()):
        collide = any(len(copies) > 1 for copies in members.values())
        parts = _by_thread(heads, members) if collide else [members]
        groups += [_Group(version, total, part, heads) for part in parts]
    return groups


def _by_thread(heads: Sequence[Head], members: Numbered) -> list[Numbered]:
    known = {head.message_id: head for head in heads if head.message_id}
    threads: dict[str, Numbered] = defaultdict(lambda: defaultdict(list))
    for number, places in members.items():
        for place in places:
            threads[root(heads[place], known)][number].append(place)
    clashes = [places for thread in threads.values() for places in thread.values() if len(places) > 1]
    for first, second, *_ in clashes:
        raise UserError(
            f"two different patches have one number: {heads[first].subject!r} and {heads[second].subject!r}",
            hint=_THREAD_HINT,
        )
    return list(threads.values())


def root(head: Head, known: dict[str, Head]) -> str:
    """Name the message that a thread starts with, as far as these messages know."""
    seen = set()
    while head.parents and head.message_id not in seen:
        seen.add(head.message_id)
        nearest = next((parent for parent in head.parents if parent in known), None)
        if nearest is None:
            return head.parents[-1]
        head = known[nearest]
    return head.message_id


def _newest(groups: list[_Group]) -> _Group:
    complete = [group for group in groups if group.complete]
    if not complete:
        last = max(groups, key=lambda group: (group.version, -len(group.missing)))
        raise UserError(f"the series is not complete: {_of(last.version)}{last.lack}", hint="save the whole thread")
    chosen = max(complete, key=lambda group: group.version)
    _refuse_strangers(chosen, groups)
    return chosen


def _refuse_strangers(chosen: _Group, groups: Sequence[_Group]) -> None:
    """Raise a UserError if a complete group is another series: of the same version, or with nothing in common."""
    family = _family(chosen, groups)
    rivals = [group for group in groups if group.complete and (group not in family or group.version == chosen.version)]
    if any(group is not chosen for group in rivals):
        titles = [repr(group.title) + f" ({_name(group.version)})" * (group.version > (1, 0)) for group in rivals]
        raise UserError(f"more than one series is in it: {' and '.join(titles)}", hint=_THREAD_HINT)


def _families(groups: Sequence[_Group]) -> list[list[_Group]]:
    """Sort the groups by series."""
    families = []
    while groups:
        families.append(_family(groups[0], groups))
        groups = [group for group in groups if group not in families[-1]]
    return families


def _family(one: _Group, groups: Sequence[_Group]) -> list[_Group]:
    """The versions of one series: groups that have a title or a thread in common, directly or through others."""
    family, rest = [one], [group for group in groups if group is not one]
    for member in family:
        family += [group for group in rest if not group.marks.isdisjoint(member.marks)]
        rest = [group for group in rest if group.marks.isdisjoint(member.marks)]
    return [group for group in groups if group in family]


def _ids(heads: Iterable[Head]) -> set[str]:
    """The Message-IDs of these messages and of all that they answer."""
    return {name for head in heads for name in (head.message_id, *head.parents) if name}


def _left_out(group: _Group, chosen: _Group, family: Sequence[_Group]) -> str:
    if group.version == chosen.version or group not in family:
        return f"other patches of {_name(group.version)} were left out: {group.lack}"
    if group.version > chosen.version:
        return f"{_name(chosen.version)} is taken, for the newer {group.name} is not complete: {group.lack}"
    return f"{group.name} was left out: {_name(chosen.version)} is newer"


def _unnumbered(heads: Sequence[Head], places: list[int], notes: list[str]) -> Choice:
    """Order patches without numbers: as they answer each other, and else as they stand."""
    places = _superseded(heads, places, notes)
    known = {heads[place].message_id: place for place in places if heads[place].message_id}

    def depth(place: int) -> int:
        count, seen = 0, {place}
        above = known.get(next(iter(heads[place].parents), ""))
        while above is not None and above not in seen:
            seen.add(above)
            count, above = count + 1, known.get(next(iter(heads[above].parents), ""))
        return count

    if len(places) > 1:
        notes.append("the patches have no numbers: they are taken as they follow each other")
    order = tuple(sorted(places, key=lambda place: (depth(place), place)))
    return Choice(order, max((heads[place].version[0] for place in places), default=1), tuple(notes))


def _superseded(heads: Sequence[Head], places: list[int], notes: list[str]) -> list[int]:
    """Leave out a patch without number that has a newer version: the same title, or an answer to it."""
    kept = []
    for place in places:
        head = heads[place]
        newer = next((heads[other] for other in places if _replaces(heads[other], head)), None)
        if newer:
            notes.append(f"{head.subject!r} was left out: {_name(newer.version)} is newer")
        else:
            kept.append(place)
    return kept


def _replaces(newer: Head, older: Head) -> bool:
    related = newer.title == older.title or (older.message_id and older.message_id in newer.parents)
    return bool(related) and newer.version > older.version


def _name(version: tuple[int, int]) -> str:
    return f"v{version[0]}" + " (sent again)" * bool(version[1])


def _of(version: tuple[int, int]) -> str:
    return f"in {_name(version)}, " if version > (1, 0) else ""


def _spans(numbers: list[int]) -> str:
    """Write 2, 3, 4 and 7 as `2-4 and 7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    words = ["-".join(map(str, span)) for span in spans]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
