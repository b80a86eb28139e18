"""How much a verdict rests on: one sentence about the changed lines, to be read with the verdict's word."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.model import (
    BuildRecord,
    Fate,
    GuestRecord,
    LineCoverage,
    LineState,
    MutantRecord,
    Side,
    Uncompiled,
)
from orchestrator.model.coverage import Place

_PLACES_SHOWN = 3
NOT_MEASURED = "not measured whether the changed lines ran (--flavour coverage says)"


def sentence(
    builds: Sequence[BuildRecord],
    uncompiled: Sequence[Uncompiled],
    coverage: Sequence[LineCoverage],
    files: Sequence[str],
    mutants: Sequence[MutantRecord] = (),
    guests: Sequence[GuestRecord] = (),
) -> str:
    """Say what ran of what the series changes in `files`, or why nobody knows; what tests noticed; who was blind."""
    return "; ".join([_of_lines(builds, uncompiled, coverage, files, mutants), *_blind(guests)])


def _of_lines(
    builds: Sequence[BuildRecord],
    uncompiled: Sequence[Uncompiled],
    coverage: Sequence[LineCoverage],
    files: Sequence[str],
    mutants: Sequence[MutantRecord],
) -> str:
    if not files:
        return "the series changes no file: nothing was tested"
    patched = [build for build in builds if build.side is Side.PATCHED]
    if patched and all(build.noop for build in patched):
        return f"image identical, nothing tested{_enable(uncompiled)}"
    if not any(file.endswith((".c", ".h", ".S")) for file in files):
        return "the series changes no source of the kernel that could be seen to run"
    lanes = {(build.arch, build.flavour) for build in patched if not build.error}
    coverage = [line for line in coverage if (line.arch, line.flavour) in lanes]
    if not coverage:
        return NOT_MEASURED
    flavours, seen = {line.flavour for line in coverage}, {line.arch for line in coverage}
    missed = sorted({arch for arch, flavour in lanes if flavour in flavours} - seen)
    nowhere = [f"not measured on {' and '.join(missed)}"] if missed else []
    return "; ".join([_measured(coverage, uncompiled), *nowhere, *_caught(mutants)])


def _blind(guests: Sequence[GuestRecord]) -> list[str]:
    """What was off on either side has compared less than it seems."""
    off = sorted({(check, f"{guest.arch}-{guest.flavour}") for guest in guests for check in guest.off})
    lanes = {check: ", ".join(lane for each, lane in off if each == check) for check, _ in off}
    return [f"{check} was off before the end on {where}, and reports nothing more" for check, where in lanes.items()]


def _caught(mutants: Sequence[MutantRecord]) -> list[str]:
    """Those that nobody could tell from patched say nothing of the tests."""
    fates = [mutant.fate for mutant in mutants if mutant.fate in (Fate.CAUGHT, Fate.SURVIVED)]
    words = f"{fates.count(Fate.CAUGHT)} of {len(fates)} mutant{'s' if len(fates) != 1 else ''} caught"
    return [words] if fates else []


def never_ran(coverage: Sequence[LineCoverage]) -> str:
    """Say how many of the lines that could be seen to run did so nowhere: `2 changed lines never ran`; "" is none."""
    code, word = _code(coverage)
    count = sum(_best(states) in (LineState.IDLE, LineState.ABSENT) for states in code.values())
    return f"{count} {word} line{'s' if count != 1 else ''} never ran" if count else ""


def _measured(coverage: Sequence[LineCoverage], uncompiled: Sequence[Uncompiled]) -> str:
    arches = sorted({line.arch for line in coverage}, key=lambda arch: (arch != "x86_64", arch))
    code, word = _code(coverage)
    if not code:
        return "no changed line is a statement that could be seen to run"
    return _counted(code, word, arches, _enable(uncompiled))


def _code(coverage: Sequence[LineCoverage]) -> tuple[dict[Place, dict[str, LineState]], str]:
    """The lines that the series wrote, and what they are called; of one that only takes lines away, those of base."""
    for side, word in ((Side.PATCHED, "changed"), (Side.BASE, "removed")):
        lines = _by_place(line for line in coverage if line.side is side)
        if code := {place: states for place, states in lines.items() if any(state.code for state in states.values())}:
            return code, word
    return {}, ""


def _by_place(lines: Iterable[LineCoverage]) -> dict[Place, dict[str, LineState]]:
    """The best that is known of each line on each architecture, in whichever flavour."""
    found: dict[Place, dict[str, LineState]] = {}
    for line in lines:
        states, order = found.setdefault((line.file, line.line), {}), list(LineState)
        states[line.arch] = min(states.get(line.arch, line.state), line.state, key=order.index)
    return found


def _counted(code: Mapping[Place, Mapping[str, LineState]], word: str, arches: list[str], enable: str) -> str:
    absent = [place for place, states in code.items() if _all(states, LineState.ABSENT, LineState.PLAIN)]
    total = f"{len(code)} {word} line{'s' if len(code) != 1 else ''}"
    if len(absent) == len(code):
        return f"0 of {total} {'are' if len(code) != 1 else 'is'} compiled by this config{enable}"
    idle = [place for place, states in code.items() if _best(states) is LineState.IDLE]
    unseen = [place for place, states in code.items() if _best(states) is LineState.UNCOUNTED]
    ran = Counter(_seen(states, arches) for states in code.values())
    parts = [f"{ran[tuple(arches), ()]} of {total} ran on {_on(arches)}"]
    parts += [f"{count} on {_only(*on)}" for on, count in sorted(ran.items()) if 0 < len(on[0]) < len(arches)]
    parts += [f"{len(idle)} never ran ({_places(idle)})"] if idle else []
    parts += [f"{len(absent)} not compiled by this config{enable}"] if absent else []
    parts += [f"{len(unseen)} without a counter"] if unseen else []
    return "; ".join(parts)


def _all(states: Mapping[str, LineState], *those: LineState) -> bool:
    return all(state in those for state in states.values())


def _best(states: Mapping[str, LineState]) -> LineState:
    return min(states.values(), key=list(LineState).index)


def _seen(states: Mapping[str, LineState], arches: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """On which architectures it ran, and on which nobody counted."""
    ran, unseen = (
        tuple(arch for arch in arches if states.get(arch) is state) for state in (LineState.RAN, LineState.UNCOUNTED)
    )
    return ran, unseen


def _only(ran: Sequence[str], unseen: Sequence[str]) -> str:
    """What was not counted may have run."""
    return " and ".join(ran) + (f", not counted on {' and '.join(unseen)}" if unseen else " alone")


def _on(arches: Sequence[str]) -> str:
    return "both architectures" if len(arches) == 2 else " and ".join(arches)


def _places(places: Sequence[Place]) -> str:
    """`mm/madvise.c:805, 811`: a file is named once."""
    words, before = [], ""
    for file, line in sorted(places)[:_PLACES_SHOWN]:
        words.append(f"{'' if file == before else f'{file}:'}{line}")
        before = file
    more = len(places) - _PLACES_SHOWN
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _enable(uncompiled: Sequence[Uncompiled]) -> str:
    options = sorted({f"CONFIG_{option}" for found in uncompiled for option in found.options})
    return f": enable {', '.join(options)}" if options else ""
