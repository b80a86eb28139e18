"""What every report counts and picks out of a run."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.judge import ending
from orchestrator.judge.strength import never_ran
from orchestrator.model import (
    BinaryDiff,
    BuildRecord,
    Change,
    ChangeKind,
    ConsoleLine,
    Culprit,
    Fate,
    FindingChange,
    FindingRecord,
    GuestRecord,
    Lane,
    MetricPair,
    MutantRecord,
    Observed,
    Run,
    RunStatus,
    Side,
    Splat,
    Suspect,
    VerdictValue,
)
from orchestrator.publish.figures import counted, duration

_Located = BuildRecord | GuestRecord | ConsoleLine | Change | MetricPair | BinaryDiff

R = TypeVar("R")

_SHORT = 250  # characters of a reason in a line that says what the verdict rests on as well
WORST_FIRST = tuple(ChangeKind)
_ALWAYS = (ChangeKind.REGRESSED, ChangeKind.INFRA, ChangeKind.ADDED, ChangeKind.FIXED, ChangeKind.SAME)


@dataclass(frozen=True)
class Tally:
    """How many tests of one lane show each kind of change, and how many are not as declared."""

    lane: str
    total: int
    kinds: Counter[ChangeKind]
    unmet: int


def answer(run: Run) -> str:
    """The verdict's word, or the state of a run that has none; one whose stages are run one by one has none yet."""
    if run.verdict:
        return str(run.verdict.value)
    return "not judged" if run.status is RunStatus.DONE else str(run.status)


def headword(run: Run) -> str:
    """The answer for a heading; a good one says with it what never ran: `CLEAN (2 changed lines never ran)`."""
    idle = unproved(run)
    return f"{answer(run).upper()}{f' ({idle})' if idle else ''}"


def unproved(run: Run) -> str:
    """What a good answer must not be read without: `2 changed lines never ran`; "" if there is nothing."""
    good = run.verdict and run.verdict.value in (VerdictValue.CLEAN, VerdictValue.VALIDATED)
    return never_ran(run.coverage) if good else ""


def reasons(run: Run) -> tuple[str, ...]:
    """Why, the strongest reason first."""
    return run.verdict.reasons if run.verdict else ("the run has no verdict yet",)


def strength(run: Run) -> str:
    """What the verdict rests on."""
    return run.verdict.strength if run.verdict else ""


def gist(run: Run) -> str:
    """The strongest reason and the strength, for those who read one line: no answer is good because nobody looked."""
    return "; ".join(filter(None, (*(reason[:_SHORT] for reason in reasons(run)[:1]), strength(run))))


def exit_code(run: Run) -> int:
    """The exit code that carries the answer; a run without a verdict is no answer."""
    return (run.verdict.value if run.verdict else VerdictValue.INCONCLUSIVE).exit_code


def lanes(run: Run) -> dict[Lane, str]:
    """Every lane that the run touched, with its name: the arch, and the flavour where there are several."""
    records: Iterable[_Located] = (*run.builds, *run.guests, *run.tests, *run.metrics)
    found = sorted(set(map(lane_of, records)), key=_lane_order)
    several = len({lane.flavour for lane in found}) > 1
    return {lane: f"{lane.arch}-{lane.flavour}" if several else lane.arch for lane in found}


def _lane_order(lane: Lane) -> tuple[bool, str, str]:
    """x86_64 first, as everywhere."""
    return (lane.arch != "x86_64", lane.arch, lane.flavour)


def lane_of(record: _Located) -> Lane:
    """Where it was observed."""
    return Lane(record.arch, record.flavour)


def differs(change: Change) -> bool:
    """Must this test be shown among the changes: did it change, or should it have?"""
    return not change.change.unchanged or change.unmet


def rates(change: Change) -> str:
    """How often a test failed when run again: `failed 0 of 6 (0..56 %) on base, 6 of 6 (44..100 %) on patched`."""
    if change.evidence is None:
        return change.earlier
    base, patched = (
        f"{rate.came} of {rate.of} ({rate.low * 100:.0f}..{rate.high * 100:.0f} %)"
        for rate in (change.evidence.base, change.evidence.patched)
    )
    more = f"; {change.earlier}" if change.earlier else ""
    return f"{failed(change)} {base} on base, {patched} on patched{more}"


def failed(change: Change) -> str:
    """What the rates of a test count."""
    return "failed this way" if change.both_fail else "failed"


def part(observed: Observed) -> str:
    """How many of its repeats ended as it did, where they do not all agree: `1 of 3`."""
    agree = len(set(observed.repeats)) <= 1
    return "" if agree else f"{observed.repeats.count(observed.outcome)} of {len(observed.repeats)}"


def noteworthy(run: Run) -> list[Change]:
    """Every test that changed or should have: worst first, then by name and lane."""
    return sorted(filter(differs, run.tests), key=worst_first)


def worst_first(change: Change) -> tuple[object, ...]:
    """What tests are sorted by."""
    regressed = change.change is ChangeKind.REGRESSED
    rank = (not regressed, not change.unmet, WORST_FIRST.index(change.change))
    return (*rank, change.suite, change.name, place(change))


def merged(records: Iterable[R], key: Callable[[R], Hashable]) -> list[list[R]]:
    """Records alike in `key`, together, in the order of their first."""
    groups: dict[Hashable, list[R]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


def kinds(run: Run) -> list[ChangeKind]:
    """The classes that a table has columns for: the usual ones, and those that occur."""
    seen = {test.change for test in run.tests}
    return [kind for kind in WORST_FIRST if kind in _ALWAYS or kind in seen]


def tallies(run: Run) -> list[Tally]:
    """The counts of each lane; a lane without a test has a zero."""
    return [_tally(name, [test for test in run.tests if lane_of(test) == lane]) for lane, name in lanes(run).items()]


def _tally(name: str, tests: list[Change]) -> Tally:
    return Tally(name, len(tests), Counter(test.change for test in tests), sum(test.unmet for test in tests))


def counts(tally: Tally) -> str:
    """A lane's tests in words: x86_64: 58 tests: 35 fixed, 23 same."""
    found = [f"{tally.kinds[kind]} {kind}" for kind in WORST_FIRST if tally.kinds[kind]]
    found += [f"{tally.unmet} unmet"] if tally.unmet else []
    return f"{tally.lane}: {counted(tally.total, 'test')}{': ' if found else ''}{', '.join(found)}"


def place(record: _Located) -> tuple[object, ...]:
    """What lanes are ordered by."""
    return _lane_order(lane_of(record))


def binaries(run: Run) -> list[BinaryDiff]:
    """What the series did to the binary, lane by lane."""
    return sorted(run.binaries, key=place)


def findings(run: Run) -> list[FindingRecord]:
    """What the author should read first: new, gone, then what moved or was not looked at."""
    order = list(FindingChange)
    return sorted(run.findings, key=lambda found: (order.index(found.change), found.file, found.line, found.message))


def console_lines(run: Run) -> list[ConsoleLine]:
    """What the kernel newly says first, then what it says no more; what it says in every boot before the rest.

    What the other side says as well, and far less often, comes after what it does not say.
    """
    return sorted(run.lines, key=lambda one: (one.side is Side.BASE, one.came < one.of, one.elsewhere > 0))


def constant_lines(run: Run) -> list[ConsoleLine]:
    """What one side alone says, or far more often, and in every boot: what came in some may have come by chance."""
    return [one for one in console_lines(run) if one.came == one.of]


def said(one: ConsoleLine) -> str:
    """Which side's line it is: new line, no line; more lines (500 a boot, 1 on base)."""
    if not one.elsewhere:
        return "new line" if one.side is Side.PATCHED else "no line"
    often = round(one.times / one.came)
    if one.side is Side.PATCHED:
        return f"more lines ({often:,} a boot, {one.elsewhere:,} on base)"
    return f"fewer lines ({one.elsewhere:,} a boot, {often:,} on base)"


def new_findings(run: Run) -> list[list[FindingRecord]]:
    """What compilers and checkers newly say, the same words of several lanes together."""
    new = [found for found in findings(run) if found.change is FindingChange.NEW]
    return merged(new, lambda found: (found.tool, found.file, found.line, found.message))


def mutants(run: Run) -> list[MutantRecord]:
    """What the tests did not notice first, then as they were tried."""
    order = (Fate.SURVIVED, Fate.UNKNOWN, Fate.CAUGHT, Fate.EQUIVALENT, Fate.BROKEN)
    return sorted(run.mutants, key=lambda one: order.index(one.fate))


def notes(run: Run) -> list[str]:
    """What was decided or left out on the way, about the base first."""
    return [*(run.kernel.chosen.notes if run.kernel.chosen else ()), *run.notes]


def blame(run: Run, culprit: Culprit) -> str:
    """Which patch it was, and how sure that is: patch 5 of 8 (mm: step 4), 99.2 % sure after 3 builds and 9 boots."""
    names = [_suspect(run, suspect) for suspect in culprit.suspects]
    who = names[0] if len(names) == 1 else f"one of {', '.join(names)}, which cannot be told apart"
    if not culprit.builds and not culprit.boots:
        return f"{who}, the only one" if len(run.series.patches) == 1 else who
    sure = math.floor(culprit.confidence * 1000) / 10  # 100 % is never rounded up to
    return f"{who}, {sure:g} % sure after {counted(culprit.builds, 'build')} and {counted(culprit.boots, 'boot')}"


def _suspect(run: Run, suspect: Suspect) -> str:
    if suspect.number:
        return f"patch {suspect.number} of {len(run.series.patches)} ({suspect.subject})"
    return f'{suspect.commit[:12]} ("{suspect.subject}")' if suspect.commit else suspect.subject


def saved(build: BuildRecord) -> str:
    """The processor time that ccache saved, if there is anything to say of it: at least 4 min 31 s."""
    seconds = build.ccache_saved_cpu_seconds
    return f"at least {duration(seconds)}" if seconds else ""


def splats(run: Run, side: Side) -> int:
    """How many splats the consoles of one side hold."""
    guests = [guest for guest in run.guests if guest.side == side]
    return sum(guest.more_splats + sum(splat.times for splat in guest.splats) for guest in guests)


def new_splat(run: Run, guest: GuestRecord, splat: Splat) -> bool:
    """Is it a report of patched that neither base, which lived, nor a list of known issues has?"""
    base = (before for before, after in ending.comparable(run.guests) if after is guest)
    fresh = any(splat.identity not in {other.identity for other in before.splats} for before in base)
    return fresh and splat.known is None
