"""Two dissected kernels in, what the series did to the binary out, with one sentence that says it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from orchestrator.build.anatomy import objects
from orchestrator.build.anatomy.facts import Anatomy, Closeups, Dissection, Export, Uapi, UapiHeader
from orchestrator.judge import binary_words
from orchestrator.model import BinaryDiff, ByteChange, ObjectChange, TextChange, UapiProblem

V = TypeVar("V")
_PARTS = (objects.CODE, objects.RODATA, objects.DATA, objects.BSS, objects.LINES, objects.SYMBOLS, objects.FILE)


def objects_that_differ(base: Anatomy, patched: Anatomy) -> tuple[ObjectChange, ...]:
    """Compare object by object what reaches the image."""
    return tuple(
        ObjectChange(name, _parts(before.hashes if before else None, after.hashes if after else None))
        for name, before, after in _changed(base.objects, patched.objects, lambda facts: facts.hashes)
    )


def diff(base: Dissection, patched: Dissection, *, arch: str, flavour: str) -> BinaryDiff:
    """Compare all that is known of two kernels of one architecture and flavour."""
    if not (base.anatomy.objects and patched.anatomy.objects):
        notes = tuple(dict.fromkeys(_notes(base, patched)))
        return BinaryDiff(arch, flavour, binary_words.unknown(notes), notes=notes)
    found = BinaryDiff(
        arch=arch,
        flavour=flavour,
        summary="",
        objects=objects_that_differ(base.anatomy, patched.anatomy),
        functions=_functions(base, patched),
        frames=_frames(base.closeups, patched.closeups),
        sections=tuple(_bytes("vmlinux", base.anatomy.sections, patched.anatomy.sections)),
        structs=(*_structs(base.closeups, patched.closeups), *_uapi_structs(base.uapi, patched.uapi)),
        exports=_exports(base, patched),
        constants=_constants(base.uapi, patched.uapi),
        uapi_problems=tuple(_problems(base.uapi, patched.uapi)),
        notes=tuple(dict.fromkeys(_notes(base, patched))),
    )
    return binary_words.summarised(found)


def _changed(
    base: Mapping[str, V], patched: Mapping[str, V], key: Callable[[V], object] = lambda value: value
) -> Iterator[tuple[str, V | None, V | None]]:
    """Yield each name whose value differs or that one side lacks, in order."""
    for name in sorted({**base, **patched}):
        before, after = base.get(name), patched.get(name)
        if before is None or after is None or key(before) != key(after):
            yield name, before, after


def _parts(base: Mapping[str, str] | None, patched: Mapping[str, str] | None) -> tuple[str, ...]:
    if base is None or patched is None:
        return ("added" if base is None else "removed",)
    return tuple(part for part in _PARTS if base.get(part) != patched.get(part))


def _bytes(where: str, base: Mapping[str, int], patched: Mapping[str, int]) -> Iterator[ByteChange]:
    return (ByteChange(name, where, before, after) for name, before, after in _changed(base, patched))


def _texts(where: str, base: Mapping[str, str], patched: Mapping[str, str]) -> Iterator[TextChange]:
    return (TextChange(name, where, before, after) for name, before, after in _changed(base, patched))


def _functions(base: Dissection, patched: Dissection) -> tuple[ByteChange, ...]:
    """Functions that differ in bytes, then those of the same size that differ in code."""
    sides = (base.anatomy.objects, patched.anatomy.objects)
    changes: list[ByteChange] = []
    for name in sorted({**sides[0], **sides[1]}):
        sizes = [side[name].functions if name in side else {} for side in sides]
        changes += _bytes(name, *sizes)
        closeups = [side.closeups.objects.get(name) for side in (base, patched)]
        if closeups[0] and closeups[1]:
            other = [function for function, a, b in _changed(closeups[0].codes, closeups[1].codes) if a and b]
            same = [function for function in other if sizes[0].get(function) == sizes[1].get(function) is not None]
            changes += [ByteChange(function, name, sizes[0][function], sizes[1][function]) for function in same]
    return tuple(_joined(changes))


def _joined(changes: list[ByteChange]) -> Iterator[ByteChange]:
    """Say of a function that left one object for another that it moved."""
    gone = [change for change in changes if change.patched is None]
    came = [change for change in changes if change.base is None]
    moved = {}
    for change in gone:
        there = [other for other in came if other.name == change.name]
        if len(there) == 1 and sum(other.name == change.name for other in gone) == 1:
            moved[change] = there[0]
    for change in changes:
        if other := moved.get(change):
            yield ByteChange(change.name, f"{change.where} -> {other.where}", change.base, other.patched)
        elif change not in moved.values():
            yield change


def _frames(base: Closeups, patched: Closeups) -> tuple[ByteChange, ...]:
    """Stack frames of functions that both sides have, or that one side lacks, in objects seen on both."""
    both = sorted(base.objects.keys() & patched.objects.keys())
    return tuple(
        change for name in both for change in _bytes(name, base.objects[name].frames, patched.objects[name].frames)
    )


def _structs(base: Closeups, patched: Closeups) -> tuple[TextChange, ...]:
    """Layouts that changed; a type that one side lacks counts if touched sources declare it, and is not just included.

    A type that several objects show the same way is said once; those that touched sources declare come first.
    """
    declared = {*base.declared, *patched.declared}
    seen: dict[tuple[str, str | None, str | None], str] = {}
    for name in sorted(base.objects.keys() & patched.objects.keys()):
        for kind, before, after in _changed(base.objects[name].structs, patched.objects[name].structs):
            if (before is None or after is None) and kind not in declared:
                continue
            seen.setdefault((kind, before, after), name)
    changes = [TextChange(kind, where, before, after) for (kind, before, after), where in seen.items()]
    return tuple(sorted(changes, key=lambda change: (change.name not in declared, change.name)))


def _uapi_structs(base: Uapi, patched: Uapi) -> Iterator[TextChange]:
    return (
        change
        for name, before, after in _headers(base, patched)
        if before.compiled and after.compiled
        for change in _texts(name, before.structs, after.structs)
    )


def _exports(base: Dissection, patched: Dissection) -> tuple[TextChange, ...]:
    """Compare what modpost saw; without modules, what touched sources say."""
    sides = (base.anatomy.exports, patched.anatomy.exports)
    if not all(sides):
        sides = (base.closeups.exports, patched.closeups.exports)
    return tuple(
        TextChange(
            name, (after or before or _NOBODY).module, *(str(side) if side else None for side in (before, after))
        )
        for name, before, after in _changed(*sides)
    )


_NOBODY = Export("", "")


def _constants(base: Uapi, patched: Uapi) -> tuple[TextChange, ...]:
    """Macros and enumerators of uapi headers; one that several headers give the same way is said once."""
    seen: dict[tuple[str, str | None, str | None], str] = {}
    for header, before, after in _headers(base, patched):
        both = [(before.macros, after.macros)]
        both += [(before.enumerators, after.enumerators)] if before.compiled and after.compiled else []
        for sides in both:
            for name, was, now in _changed(*sides):
                seen.setdefault((name, was, now), header)
    return tuple(TextChange(name, header, was, now) for (name, was, now), header in seen.items())


def _problems(base: Uapi, patched: Uapi) -> Iterator[UapiProblem]:
    for header, before, after in _headers(base, patched):
        for compiler, words in after.problems.items():
            known = before.problems.get(compiler, ())
            yield from (UapiProblem(header, compiler, word) for word in dict.fromkeys(words) if word not in known)


def _headers(base: Uapi, patched: Uapi) -> Iterator[tuple[str, UapiHeader, UapiHeader]]:
    """Yield every header with both sides; one that a side does not have is empty there."""
    if base.seen and patched.seen:
        for name in sorted({**base.headers, **patched.headers}):
            yield name, base.headers.get(name, UapiHeader()), patched.headers.get(name, UapiHeader())


def _notes(base: Dissection, patched: Dissection) -> Iterable[str]:
    for side in (base, patched):
        yield from (*side.anatomy.notes, *side.closeups.notes, *side.uapi.notes)
