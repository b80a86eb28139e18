"""One kernel image in, one GuestRun out: boot, push, run every suite, and keep whatever was said when it ends."""

import contextlib
import functools
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvm.errors import BootError, GuestError, GuestLost, InfraError, UserError
from kvm.guest import CommandResult, Guest
from kvm.qemu import Machine
from kvm.snapshot import Kept, Take
from kvm.vm import Limits
from orchestrator.model import (
    RESTORED,
    Cell,
    GuestOutcome,
    GuestRecord,
    GuestRun,
    Metric,
    Outcome,
    SuiteEnd,
    TestResult,
)
from orchestrator.places import Need, Places
from orchestrator.trial import stints, wrap
from orchestrator.trial.durations import Durations
from orchestrator.trial.kinds import status
from orchestrator.trial.kinds.kind import KINDS, SuiteKind, judge
from orchestrator.trial.kinds.parsed import Parsed
from orchestrator.trial.stints import Stint
from orchestrator.trial.suites.suite import Isolation, Suite

log = logging.getLogger(__name__)

_OUTPUT_SHOWN = 4096
_NAME = re.compile(r"[\w:+][\w.:+-]{0,99}", re.ASCII)  # as a path it stays where it is put, as a word it is no option


@dataclass(frozen=True)
class Program:
    """A suite with its program for the guest's architecture."""

    suite: Suite
    path: Path


@dataclass(frozen=True)
class Trial:
    """What one guest is asked to do; `directory` receives the console and the tests' output."""

    cell: Cell
    machine: Machine
    limits: Limits
    programs: tuple[Program, ...]
    repeats: int
    directory: Path


@dataclass(frozen=True)
class Turn:
    """One start of a suite's program: for all its tests, or for one."""

    suite: Suite
    repeat: int
    test: str = ""

    @property
    def name(self) -> str:
        """What its files are called after."""
        return f"{self.known}{_times(self.repeat)}"

    @property
    def known(self) -> str:
        """What it is known as from one run to the next."""
        return f"{self.suite.name}{f'/{self.test}' if self.test else ''}"


def _times(repeat: int) -> str:
    return f".{repeat}" if repeat else ""


@dataclass
class _Seen:
    """What has been seen so far: a guest that dies takes nothing of it along; `guests` are the names of those had."""

    outcome: GuestOutcome = GuestOutcome.OK
    detail: str = ""
    went_on: bool = False
    results: list[TestResult] = field(default_factory=list)
    metrics: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    ends: list[SuiteEnd] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)

    def died(self, fault: GuestError) -> None:
        """Keep how the first guest of the cell that died did so."""
        if self.outcome is GuestOutcome.OK or self.went_on:
            self.outcome, self.detail, self.went_on = GuestOutcome(fault.kind), fault.message, False

    def absolve(self) -> None:
        """Call the tests that ran last lost: it was nobody's fault, so they did not crash."""
        for number in range(len(self.results) - 1, -1, -1):
            if self.results[number].outcome not in (Outcome.CRASH, Outcome.MISSING):
                break
            self.results[number] = replace(self.results[number], outcome=Outcome.LOST)

    def note(self, outcome: GuestOutcome, detail: str) -> None:
        """Keep what is wrong with a guest that goes on, unless something worse is known."""
        if self.outcome is GuestOutcome.OK:
            self.outcome, self.detail, self.went_on = outcome, detail, True

    def add(self, later: "_Seen") -> None:
        """Put what another guest gave behind it."""
        worse = self.went_on and later.outcome is not GuestOutcome.OK and not later.went_on
        if self.outcome is GuestOutcome.OK or worse:
            self.outcome, self.detail, self.went_on = later.outcome, later.detail, later.went_on
        self.results += later.results
        self.ends += later.ends
        self.guests += later.guests
        for name, samples in later.metrics.items():
            self.metrics.setdefault(name, []).extend(samples)


@dataclass(frozen=True)
class Yard:
    """What the guests of all cells share: the places, and the memory of how long they took."""

    places: Places
    durations: Durations


def run(trial: Trial, take: Take, yard: Yard, on_stage: Callable[[str], None] = lambda _: None) -> GuestRun:
    """Boot the kernel once and run every suite `repeats` times, in guests as pristine as each suite asks for.

    A kernel that fails gives a result, no exception; what it takes along is the suites, or tests, of one guest.
    """
    seen, boot_seconds = _Seen(), None
    try:
        with _booted(trial, take, yard, on_stage) as kept:
            boot_seconds = kept.boot_seconds
            for one in _Cell(trial, kept, yard, on_stage).seen():
                seen.add(one)
    except (BootError, GuestLost) as fault:
        seen.died(fault)
    _join_consoles(trial.directory, seen.guests)
    record = GuestRecord(
        side=trial.cell.side,
        arch=trial.cell.arch,
        flavour=trial.cell.flavour,
        accel=trial.machine.accel,
        boot_seconds=boot_seconds,
        outcome=seen.outcome,
        console=f"{trial.cell}/console.log",
        detail=seen.detail,
        went_on=seen.went_on,
    )
    metrics = (Metric(*name, tuple(samples)) for name, samples in seen.metrics.items())
    return GuestRun(record, tuple(seen.results), tuple(metrics), tuple(seen.ends))


@contextlib.contextmanager
def _booted(trial: Trial, take: Take, yard: Yard, on_stage: Callable[[str], None]) -> Iterator[Kept]:
    """Boot the kernel in a place of its own, and lend what is kept of it, which needs none."""
    with contextlib.ExitStack() as stack:
        expected = sum(yard.durations.expect(one.suite.name, one.suite.timeout) for one in trial.programs)
        with yard.places.hold(Need(trial.machine.memory_mib, expected * trial.repeats)):
            on_stage("boot")
            prepare = functools.partial(_prepare, trial)
            taking = take(trial.machine, workdir=trial.directory, limits=trial.limits, prepare=prepare)
            kept = stack.enter_context(taking)
        yield kept


@dataclass(frozen=True)
class _Cell:
    """A booted kernel, and what is to be done with guests of it."""

    trial: Trial
    kept: Kept
    yard: Yard
    on_stage: Callable[[str], None]

    def seen(self) -> list[_Seen]:
        """Do all of it, and return what each guest gave, in the same order whichever ended first."""
        single = [one for one in self.trial.programs if one.suite.isolation is Isolation.TEST]
        names: dict[str, list[str]] = {one.suite.name: [] for one in single}
        listing = [self._stint(f"{one.suite.name}/--list", [], self._list(one.suite, names)) for one in single]
        listed = stints.run(listing, self.yard.places)
        todo: list[Stint[_Seen]] = []
        for repeat in range(self.trial.repeats):
            for name, share in _shares(self.trial.programs):
                todo.append(self._runs(f"{name}{_times(repeat)}", [Turn(one.suite, repeat) for one in share]))
            turns = [Turn(one.suite, repeat, name) for one in single for name in names[one.suite.name]]
            todo += [self._runs(turn.name, [turn]) for turn in turns]
        return [*listed, *stints.run(todo, self.yard.places)]

    def _runs(self, name: str, turns: Sequence[Turn]) -> Stint[_Seen]:
        """A guest for these turns."""

        def work(guest: Guest, seen: _Seen) -> None:
            for turn in turns:
                began = time.monotonic()
                _run_suite(self.trial, seen, turn, guest)
                self.yard.durations.note(turn.known, time.monotonic() - began)

        return self._stint(name, turns, work)

    def _list(self, suite: Suite, names: dict[str, list[str]]) -> Callable[[Guest, _Seen], None]:
        """Ask which tests a suite has."""
        return lambda guest, _: names[suite.name].extend(_listed(self.trial, guest, suite))

    def _stint(self, name: str, turns: Sequence[Turn], work: Callable[[Guest, _Seen], None]) -> Stint[_Seen]:
        """Work in a guest of its own, which has a part of the memory of the boot to itself, seldom half of it."""
        seconds = sum(self.yard.durations.expect(turn.known, turn.suite.timeout) for turn in turns)
        alone = any(turn.suite.kind is SuiteKind.BENCH for turn in turns)
        need = Need(self.trial.machine.memory_mib // 2, seconds, alone)
        return Stint(need, functools.partial(self._in_a_guest, name, work))

    def _in_a_guest(self, name: str, work: Callable[[Guest, _Seen], None]) -> _Seen:
        seen = _Seen(guests=[name])
        self.on_stage(name)
        try:
            with self.kept.restore(workdir=_home(self.trial.directory, name), limits=self.trial.limits) as guest:
                work(guest, seen)
        except (BootError, GuestLost) as fault:
            seen.died(fault)
        return seen


def _home(directory: Path, guest: str) -> Path:
    """Where a restored guest has its files."""
    return directory / "guests" / guest


def _join_consoles(directory: Path, guests: Iterable[str]) -> None:
    """Put the words of restored guests behind those of the boot, in the order in which they are on record."""
    for name in guests:
        own = _home(directory, name) / "console.log"
        if own.exists():
            with own.open("rb") as words, (directory / "console.log").open("ab") as whole:
                whole.write(f"\n{RESTORED.format(name)}\n".encode())
                shutil.copyfileobj(words, whole)


def _shares(programs: Sequence[Program]) -> Iterator[tuple[str, list[Program]]]:
    """The guests that whole suites run in: one for all that say `boot`, one for each that says `suite`."""
    if together := [program for program in programs if program.suite.isolation is Isolation.BOOT]:
        yield ", ".join(program.suite.name for program in together), together
    for program in programs:
        if program.suite.isolation is Isolation.SUITE:
            yield program.suite.name, [program]


def _listed(trial: Trial, guest: Guest, suite: Suite) -> list[str]:
    """Ask a program which tests it has. The answer is a guest's: only plain names become commands and paths."""
    done = guest.run(f"{_inside(suite)} --list", timeout=trial.limits.command_seconds)
    names = done.stdout.decode("utf-8", "replace").split()
    if done.exit_status or not names:
        why = f"{suite.name} --list gave exit status {done.exit_status}"
    elif odd := [name for name in names if not _NAME.fullmatch(name)]:
        why = f"{odd[0][:100]!r} is no plain name"
    elif len(set(names)) < len(names):
        why = "a name comes twice"
    else:
        return names
    raise UserError(
        f"suite {suite.name} does not list its tests: {why}", hint="isolation: suite needs no list", log=guest.console
    )


def _prepare(trial: Trial, guest: Guest) -> None:
    """What every guest of the cell has: swap, and the suites' programs."""
    if trial.machine.disk_mib:
        done = guest.run("mkswap /dev/vda && swapon /dev/vda", timeout=trial.limits.command_seconds)
        if done.exit_status:
            words = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            raise InfraError(f"{trial.cell}: no swap in the guest: {words}", log=guest.console)
    for program in trial.programs:
        guest.push(program.path, _inside(program.suite))


def _inside(suite: Suite) -> str:
    """Where a suite's program is in the guest."""
    return f"/tmp/{suite.name}"  # noqa: S108


def _run_suite(trial: Trial, seen: _Seen, turn: Turn, guest: Guest) -> None:
    """Run one suite, or one test of it, and add what it said to `seen`, also when the guest dies under it."""
    suite, repeat = turn.suite, turn.repeat
    said = trial.directory / "tests" / f"{turn.name}.ktap"
    said.parent.mkdir(parents=True, exist_ok=True)
    wrapped = wrap.wrap(turn.name, f"KDELTA_SCALE={trial.limits.scale:g} {_inside(suite)} {turn.test}".rstrip())
    try:
        done = guest.run(wrapped.command, timeout=suite.timeout * trial.limits.scale)
    except GuestLost as fault:
        partial = fault.stdout
        said.write_bytes(partial)
        _read(suite, partial, repeat, seen)
        if not GuestOutcome(fault.kind).bad:
            seen.absolve()
        seen.ends.append(SuiteEnd(suite.name, repeat, Outcome.LOST, fault.message, turn.test))
        raise
    said.write_bytes(done.stdout)
    parsed = _read(suite, _whole(done), repeat, seen)
    stderr, taints = wrapped.unwrap(done.stderr)
    end, taint = _end(trial, turn, done, parsed, stderr.decode("utf-8", "replace")[-_OUTPUT_SHOWN:]), ""
    try:
        if done.timed_out:
            late = guest.run(wrapped.late, timeout=trial.limits.command_seconds)
            taints += wrapped.unwrap(late.stderr)[1]
        taint = wrap.added(taints[0], taints[-1]) if taints else ""
        _look_around(trial, seen, guest, wrapped, end)
    finally:
        seen.ends.append(replace(end, taint=taint))


def _end(trial: Trial, turn: Turn, done: CommandResult, parsed: Parsed, words: str) -> SuiteEnd:
    """Say how a program ended in a guest that lives."""
    suite, scale = turn.suite, trial.limits.scale
    if done.timed_out:
        limit = (
            f"no end after {suite.timeout * scale:.0f} s ({suite.name}'s timeout of {suite.timeout:g} s x {scale:g})"
        )
        return SuiteEnd(suite.name, turn.repeat, Outcome.TIMEOUT, f"{limit}; {words}", turn.test)
    if done.truncated:
        return SuiteEnd(suite.name, turn.repeat, Outcome.FAIL, "its output was longer than kept", turn.test)
    return replace(_judge_exit(suite, turn.repeat, done.exit_status, parsed, words), test=turn.test)


def _look_around(trial: Trial, seen: _Seen, guest: Guest, wrapped: wrap.Wrapped, end: SuiteEnd) -> None:
    """Look for what makes results worth less: a console that says nothing any more, a file system that is full."""
    if not wrapped.heard(guest.console):
        guest.run("sleep 1", timeout=trial.limits.command_seconds)  # printk may be behind
        if not wrapped.heard(guest.console):
            seen.note(GuestOutcome.CONSOLE_CUT, f"the console says nothing of the end of {wrapped.name}")
    if end.outcome not in (Outcome.PASS, Outcome.SKIP):
        listing = guest.run("df -Pk /tmp /dev/shm", timeout=trial.limits.command_seconds).stdout
        if full := re.findall(rb" 0 +100% (/[\w/]+)$", listing, re.MULTILINE):
            where = b", ".join(full).decode()
            seen.note(GuestOutcome.DISK_FULL, f"no room is left on {where} after {wrapped.name}")


def _whole(done: CommandResult) -> bytes:
    """What a program said; the last line of one that ended by itself is whole, with a newline or without."""
    cut = done.timed_out or done.truncated or status.name_of_signal(done.exit_status)
    return done.stdout if cut or done.stdout.endswith(b"\n") else done.stdout + b"\n"


def _judge_exit(suite: Suite, repeat: int, exit_status: int, parsed: Parsed, words: str) -> SuiteEnd:
    """Say how the program itself ended; what belongs to no test explains it."""
    outcome, why = judge(KINDS[suite.kind], exit_status, parsed)
    said = (why, parsed.output[-_OUTPUT_SHOWN:], "" if outcome is Outcome.PASS else words.strip())
    return SuiteEnd(suite.name, repeat, outcome, "; ".join(part for part in said if part))


def _read(suite: Suite, output: bytes, repeat: int, seen: _Seen) -> Parsed:
    """Add what a suite printed to `seen`."""
    parsed = KINDS[suite.kind].parse(output.decode("utf-8", "replace"), suite.name, repeat)
    seen.results.extend(parsed.results)
    for metric in parsed.metrics:
        seen.metrics.setdefault((metric.suite, metric.name, metric.unit), []).extend(metric.samples)
    return parsed
