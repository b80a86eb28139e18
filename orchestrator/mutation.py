"""What the tests would not notice: faults in changed lines, one at a time, built, booted and tested as patched was."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kvm.errors import BuildError
from orchestrator import listing, pipeline, store, trials
from orchestrator.build import kbuild
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.order import Order
from orchestrator.intake import series
from orchestrator.job import Job
from orchestrator.judge import diff, ending, hunks, known, mutants
from orchestrator.judge.mutants import Mutant
from orchestrator.model import (
    Cell,
    Change,
    Fate,
    GuestRecord,
    GuestRun,
    Lane,
    LineCoverage,
    LineState,
    MutantRecord,
    Run,
    Side,
    TestResult,
)
from orchestrator.trial import stretch
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.suites.suite import Suite

COUNTING = "coverage"  # the flavour without which nobody knows which lines ran
SECONDS = 1800.0
_SHOWN = 3


@dataclass(frozen=True)
class Bounds:
    """So many mutants are tried, and none is begun after so many seconds."""

    mutants: int
    seconds: float


def look(job: Job, bounds: Bounds) -> Run:
    """Try mutants of what ran, and put on record which of them the tests catch; none is tried a second time."""
    mutated, began = _Trials(job), time.monotonic()
    told: list[MutantRecord] = []
    ran = _ran(job)
    chosen = list(_choose(job, ran))
    job.recorder.note(*(_left_out(job, ran) if chosen else ["no mutant was tried: no changed line was seen to run"]))
    for mutant, line in chosen:
        tried = [one for one in told if one.fate in (Fate.CAUGHT, Fate.SURVIVED)]
        if len(tried) >= bounds.mutants or time.monotonic() - began > bounds.seconds:
            break
        told.append(mutated.of(mutant, line))
        job.recorder.update(mutants=tuple(told))
    return pipeline.compare(job)


@dataclass(frozen=True)
class _Ran:
    """The lines that ran, by file and number: what the series wrote, and what it took away; `plain` have no counter."""

    written: Mapping[tuple[str, int], LineCoverage]
    gone: Mapping[tuple[str, int], LineCoverage]
    plain: frozenset[tuple[str, int]]

    def through(self, run: hunks.Run, file: hunks.FileMap) -> bool:
        """Did a line of this hunk run, or, where it only takes away, a line of that on base?"""
        if not run.added:
            return any((file.base, number) in self.gone for number in range(run.base, run.base + run.removed))
        return any((file.patched, number) in self.written for number in range(run.patched, run.patched + run.added))


def _ran(job: Job) -> _Ran:
    """What is known from guests that mutants can be held against; of two lanes the faster one."""
    boots = {
        Lane(guest.arch, guest.flavour): guest.boot_seconds or 0.0
        for guest in job.run.guests
        if guest.side is Side.PATCHED and ending.lived(guest)  # or there is nothing to hold a mutant against
    }
    known = [line for line in job.run.coverage if Lane(line.arch, line.flavour) in boots]
    known.sort(key=lambda line: boots[Lane(line.arch, line.flavour)])
    before, written = ([line for line in known if line.side is side] for side in Side)
    gone, ran = (
        {(line.file, line.line): line for line in reversed(lines) if line.state is LineState.RAN}
        for lines in (before, written)
    )
    plain = {(line.file, line.line) for line in written if line.state is LineState.PLAIN}  # a `case` has no counter
    return _Ran(ran, gone, frozenset(plain))


def _choose(job: Job, ran: _Ran) -> Iterator[tuple[Mutant, LineCoverage]]:
    """Every mutant, with the line that ran next to it: hunks that are taken out first, then a fault in every line.

    Of a hunk that only takes lines away, these are base's.
    """
    taken: list[Mutant] = []
    faults: list[list[Mutant]] = []
    for file, mapped in sorted(job.plan.lines.by_patched.items()):
        runs = [run for run in mapped.runs if ran.through(run, mapped)]
        lines = sorted(number for name, number in {*ran.written, *ran.plain} if name == file)
        if runs or any(name == file for name, _ in ran.written):
            base, patched = _contents(job, file)
            taken += mutants.reverted(file, base, patched, runs)
            faults += mutants.make(file, patched, lines)
    for one in (*taken, *mutants.in_turn(faults)):
        mapped = job.plan.lines.by_patched[one.file]
        near = [line for line in ran.written.values() if line.file == one.file]
        near = near or [line for line in ran.gone.values() if line.file == mapped.base]
        yield one, min(near, key=lambda line: abs(line.line - one.line))


def _left_out(job: Job, ran: _Ran) -> Iterator[str]:
    """Name the hunks that nobody takes out: a #define, a struct, a Kconfig may be needed, and no line of it runs."""
    every = [(run, file) for _, file in sorted(job.plan.lines.by_patched.items()) for run in file.runs]
    places = [f"{file.patched}:{run.patched}" for run, file in every if not ran.through(run, file)]
    if places:
        why = f"{len(places)} of {len(every)} hunks not taken out, as no line of theirs was seen to run"
        yield f"{why}: {listing.first(places, _SHOWN)}"


def _contents(job: Job, file: str) -> tuple[bytes, bytes]:
    """A file as base and as patched has it; a new one is empty on base."""
    name = job.plan.lines.by_patched[file].base
    base = (job.plan.sources(Side.BASE) / name).read_bytes() if name else b""
    return base, (job.plan.sources(Side.PATCHED) / file).read_bytes()


class _Trials:
    """The mutants of a run, each a tree that is made where the one before it was; `images` are known already."""

    def __init__(self, job: Job) -> None:
        self.job = job
        patched = (build for build in job.run.builds if build.side is Side.PATCHED)
        self.images = {(build.arch, build.flavour, *build.identity) for build in patched}
        self.trees: tuple[str, ...] = (job.plan.applied.tree,)
        self.before = job.run.mutants  # what was told when they were last looked at
        self.number = 0

    def of(self, mutant: Mutant, line: LineCoverage) -> MutantRecord:
        """Build a mutant, and if it is one, run what ran its line."""
        self.number += 1
        cell, where = Cell(Side.PATCHED, line.arch, line.flavour), self.job.directory / "mutants" / str(self.number)
        where.mkdir(parents=True, exist_ok=True)
        record = MutantRecord(
            mutant.file, mutant.line, mutant.kind, mutant.words, line.arch, line.flavour, Fate.EQUIVALENT
        )
        order = self._order(mutant, cell)
        if broken := self._broken(record):
            return broken
        try:
            self.job.watch(cell, f"mutant {self.number}: {mutant.file}:{mutant.line} {mutant.kind}")
            with self.job.engine.task(f"build mutant {self.number}"):
                kernel = kbuild.build(order, self.job.plan.cache_dir, where / "build.log")
        except BuildError as fault:
            return replace(record, fate=Fate.BROKEN, by=fault.message)
        image = line.arch, line.flavour, *kernel.identity
        if image in self.images:
            return record
        self.images.add(image)
        suites, programs = self._wanted(line)
        return self._judged(record, cell, programs, functools.partial(self._run, kernel, where, suites, programs))

    def _order(self, mutant: Mutant, cell: Cell) -> Order:
        plan = self.job.plan
        content = mutant.apply((plan.sources(Side.PATCHED) / mutant.file).read_bytes())
        files = series.edited(plan.source, plan.applied.commits[-1], mutant.file, content)
        order = replace(plan.orders[cell], files=files, after=self.trees, defines=frozenset())
        self.trees += (files,)
        return order

    def _broken(self, record: MutantRecord) -> MutantRecord | None:
        """What was told of it before, if it does not build: of that the cache holds nothing."""
        before = self.before[self.number - 1 : self.number]
        return next((one for one in before if one == replace(record, fate=Fate.BROKEN, by=one.by)), None)

    def _wanted(self, line: LineCoverage) -> tuple[tuple[Suite, ...], tuple[str, ...]]:
        """The programs that ran the line, as the console calls them; all, where no counter knows which."""
        every, programs = self.job.plan.suites, tuple(line.by) if line.programs <= len(line.by) else ()
        named = {name.partition("/")[0] for name in programs} or {suite.name for suite in every}
        suites = tuple(suite for suite in every if suite.name in named and suite.kind is not SuiteKind.BENCH)
        return (suites, programs) if suites else (every, ())

    def _run(
        self, kernel: KernelBuild, where: Path, suites: tuple[Suite, ...], programs: tuple[str, ...], again: str
    ) -> GuestRun:
        directory = where / f"{trials.label(kernel, suites, programs)}{again}"
        return trials.once(self.job, kernel, suites, directory, programs=programs)

    def _judged(
        self, record: MutantRecord, cell: Cell, programs: tuple[str, ...], run: Callable[[str], GuestRun]
    ) -> MutantRecord:
        """What one guest says; where that are failed tests alone, another one must say so, too: any test may flake."""
        patched = store.load_guest(store.cell_directory(self.job.directory, cell))
        assert patched  # see _choose
        guest, changes = self._told(patched, run(""), programs)
        fate, by = mutants.judge(patched.guest, guest, changes)
        if fate is Fate.CAUGHT and not mutants.of_kernel(patched.guest, guest):
            guest, second = self._told(patched, run("-again"), programs)
            if mutants.judge(patched.guest, guest, mutants.again(changes, second))[0] is not Fate.CAUGHT:
                fate, by = Fate.UNKNOWN, f"noticed in one guest of two: {by}"
        return replace(record, fate=fate, by=by)

    def _told(self, patched: GuestRun, mutant: GuestRun, programs: Iterable[str]) -> tuple[GuestRecord, list[Change]]:
        """How a mutant's guest ended, and its tests beside patched's, but for what tells nothing."""
        issues = self.job.plan.known_issues
        same = _same_programs(patched, mutant, programs)
        changes = known.mark_tests(diff.compare(same, mutant, mutant.asked, ()), issues)
        return known.mark(mutant.guest, issues), mutants.telling(changes, self.job.run.tests)


def _same_programs(patched: GuestRun, mutant: GuestRun, programs: Iterable[str]) -> GuestRun:
    """What patched gave, without the programs that the mutant was not asked to run: they are not gone."""
    asked: dict[str, list[str]] = {}
    for key in filter(stretch.of_several, programs):
        suite = key.partition("/")[0]
        names = (one.name for one in mutant.results if one.suite == suite)
        asked.setdefault(suite, []).append(stretch.program(key, suite, names))

    def ran(one: TestResult) -> bool:
        return one.suite not in asked or any(f"{one.name}/".startswith(f"{name}/") for name in asked[one.suite])

    return replace(patched, results=tuple(filter(ran, patched.results)))
