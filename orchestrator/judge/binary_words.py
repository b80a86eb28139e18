"""What changed in a binary, as one sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator import listing
from orchestrator.build.anatomy import objects, pahole
from orchestrator.model import BinaryDiff, ByteChange, ObjectChange, TextChange

_NAMES_SHOWN = 3


def summarised(found: BinaryDiff) -> BinaryDiff:
    """Return `found` with its sentence."""
    details = ", ".join(_details(found))
    return replace(found, summary=f"{_objects(found.objects)}{': ' if details else ''}{details}")


def unknown(notes: Sequence[str]) -> str:
    """Say that the binaries could not be compared, and why."""
    return f"what changed in the binary is not known: {notes[0] if notes else 'no object was found'}"


def _objects(changes: Sequence[ObjectChange]) -> str:
    real = [change for change in changes if not _follows(change)]
    if not real:
        return "no object differs" if not changes else f"only addresses of the image differ in {_names(changes)}"
    if all(set(change.parts) == {objects.LINES} for change in real):
        return f"only line numbers of warnings differ, in {_names(real)}"
    names = _names(real)
    return f"only {names} differs" if len(real) == 1 else f"{names} differ"


def _follows(change: ObjectChange) -> bool:
    """Does it differ only because the kernel that it wraps or describes does? (x86: the boot loader's part)"""
    return change.name.startswith("arch/") and "/boot/" in change.name and "added" not in change.parts


def _details(found: BinaryDiff) -> Iterator[str]:
    yield from _functions(found.functions)
    yield from _frames(found.frames)
    yield from _structs(found.structs)
    yield from _came_and_went(found.exports, "exported", "no longer exported", "exported differently")
    yield from _came_and_went(found.constants, "added to uapi", "removed from uapi", "changed in uapi")
    broken = sorted({f"<{problem.header}> in {problem.compiler}" for problem in found.uapi_problems})
    if broken:
        yield f"new complaints about {_list(broken)}"


def _functions(changes: Sequence[ByteChange]) -> Iterator[str]:
    both = [(c, c.patched - c.base) for c in changes if c.base is not None and c.patched is not None]
    for verb, sign in (("grew", 1), ("shrank", -1)):
        moved = [(change.name, sign * by) for change, by in both if sign * by > 0]
        if moved:
            who = moved[0][0] if len(moved) == 1 else f"{len(moved)} functions"
            yield f"{who} {verb} by {sum(by for _, by in moved)} bytes"
    if same := [change for change, by in both if not by and "->" not in change.where]:
        yield f"{_list([change.name for change in same])} changed at the same size"
    for words, picked in (
        ("added", [change for change in changes if change.base is None]),
        ("removed", [change for change in changes if change.patched is None]),
        ("moved", [change for change in changes if "->" in change.where]),
    ):
        if picked:
            yield f"{_count(len(picked), 'function')} {words} ({_list([change.name for change in picked])})"


def _frames(changes: Sequence[ByteChange]) -> Iterator[str]:
    """Only functions that were there before: a new one's frame is no change."""
    grown = [c for c in changes if c.base is not None and c.patched is not None]
    grown.sort(key=lambda change: -abs((change.patched or 0) - (change.base or 0)))
    if grown:
        first = grown[0]
        more = f" and {_count(len(grown) - 1, 'other')}" if len(grown) > 1 else ""
        yield f"stack frame of {first.name} {first.base} -> {first.patched} bytes{more}"


def _structs(changes: Sequence[TextChange]) -> Iterator[str]:
    if changes:
        words = [_struct(change) for change in changes[:_NAMES_SHOWN]]
        more = len(changes) - len(words)
        yield f"{_list(words)}{f' and {more} more layouts' if more > 0 else ''}"


def _struct(change: TextChange) -> str:
    sizes = [pahole.size(text) if text else None for text in (change.base, change.patched)]
    if change.base is None:
        return f"{change.name} added"
    if change.patched is None:
        return f"{change.name} removed"
    if sizes[0] == sizes[1]:
        return f"{change.name} laid out differently"
    return f"{change.name} {sizes[0]} -> {sizes[1]} bytes"


def _came_and_went(changes: Sequence[TextChange], came: str, went: str, changed: str) -> Iterator[str]:
    for words, picked in (
        (came, [change.name for change in changes if change.base is None]),
        (went, [change.name for change in changes if change.patched is None]),
        (changed, [c.name for c in changes if c.base is not None and c.patched is not None]),
    ):
        if picked:
            yield f"{_list(picked)} {words}"


def _names(changes: Sequence[ObjectChange]) -> str:
    return _list([change.name for change in changes])


def _list(names: Sequence[str]) -> str:
    if len(names) > _NAMES_SHOWN:
        return listing.first(names, _NAMES_SHOWN)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
