"""One kernel image in, one GuestRun out: boot, push, run every suite, and keep whatever was said when it ends."""

import functools
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
from orchestrator.trial.kinds import status
from orchestrator.trial.kinds.kind import KINDS, judge
from orchestrator.trial.kinds.parsed import Parsed
from orchestrator.trial.suites.suite import Isolation, Suite

log = logging.getLogger(__name__)

_OUTPUT_SHOWN = 4096
_NAME = re.compile(r"[\w.:+-]{1,100}", re.ASCII)


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
        return f"{self.suite.name}{f'/{self.test}' if self.test else ''}{_times(self.repeat)}"


def _times(repeat: int) -> str:
    return f".{repeat}" if repeat else ""


@dataclass
class _Seen:
    """What has been seen so far: a guest that dies takes nothing of it along."""

    boot_seconds: float | None = None
    outcome: GuestOutcome = GuestOutcome.OK
    detail: str = ""
    results: list[TestResult] = field(default_factory=list)
    metrics: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    ends: list[SuiteEnd] = field(default_factory=list)

    def died(self, fault: GuestError) -> None:
        """Keep how the first guest of the cell that died did so."""
        if self.outcome is GuestOutcome.OK:
            self.outcome, self.detail = GuestOutcome(fault.kind), fault.message


def run(trial: Trial, take: Take, on_stage: Callable[[str], None] = lambda _: None) -> GuestRun:
    """Boot the kernel once and run every suite `repeats` times, in guests as pristine as each suite asks for.

    A kernel that fails gives a result, no exception; what it takes along is the suites, or tests, of one guest.
    """
    seen = _Seen()
    on_stage("boot")
    try:
        prepare = functools.partial(_prepare, trial)
        with take(trial.machine, workdir=trial.directory, limits=trial.limits, prepare=prepare) as kept:
            seen.boot_seconds = kept.boot_seconds
            for repeat in range(trial.repeats):
                for name, share in _shares(trial.programs):
                    on_stage(name)
                    _in_a_guest(trial, kept, f"{name}{_times(repeat)}", seen, _suites(trial, share, repeat, seen))
                for program in trial.programs:
                    if program.suite.isolation is Isolation.TEST:
                        _one_by_one(trial, kept, program, repeat, seen, on_stage)
    except (BootError, GuestLost) as fault:
        seen.died(fault)
    record = GuestRecord(
        side=trial.cell.side,
        arch=trial.cell.arch,
        flavour=trial.cell.flavour,
        accel=trial.machine.accel,
        boot_seconds=seen.boot_seconds,
        outcome=seen.outcome,
        console=f"{trial.cell}/console.log",
        detail=seen.detail,
    )
    metrics = (Metric(*name, tuple(samples)) for name, samples in seen.metrics.items())
    return GuestRun(record, tuple(seen.results), tuple(metrics), tuple(seen.ends))


def _shares(programs: Sequence[Program]) -> Iterator[tuple[str, list[Program]]]:
    """The guests that whole suites run in: one for all that say `boot`, one for each that says `suite`."""
    if together := [program for program in programs if program.suite.isolation is Isolation.BOOT]:
        yield ", ".join(program.suite.name for program in together), together
    for program in programs:
        if program.suite.isolation is Isolation.SUITE:
            yield program.suite.name, [program]


def _in_a_guest(trial: Trial, kept: Kept, name: str, seen: _Seen, work: Callable[[Guest], None]) -> None:
    """Work in a guest of its own; its words come behind those of the boot and of the guests before."""
    where = trial.directory / "guests" / name
    try:
        with kept.restore(workdir=where, limits=trial.limits) as guest:
            work(guest)
    except (BootError, GuestLost) as fault:
        seen.died(fault)
    finally:
        own = where / "console.log"
        if own.exists():
            with own.open("rb") as words, (trial.directory / "console.log").open("ab") as whole:
                whole.write(f"\n{RESTORED.format(name)}\n".encode())
                shutil.copyfileobj(words, whole)


def _suites(trial: Trial, programs: Iterable[Program], repeat: int, seen: _Seen) -> Callable[[Guest], None]:
    def work(guest: Guest) -> None:
        for program in programs:
            _run_suite(trial, seen, Turn(program.suite, repeat), guest)

    return work


def _one_by_one(
    trial: Trial, kept: Kept, program: Program, repeat: int, seen: _Seen, on_stage: Callable[[str], None]
) -> None:
    """Run each test of a suite in a guest of its own."""
    suite, names = program.suite, list[str]()
    _in_a_guest(trial, kept, f"{suite.name}/list", seen, lambda guest: names.extend(_listed(trial, guest, suite)))
    for number, name in enumerate(names, 1):
        on_stage(f"{suite.name} {number}/{len(names)}")
        turn = Turn(suite, repeat, name)
        _in_a_guest(trial, kept, turn.name, seen, functools.partial(_run_suite, trial, seen, turn))


def _listed(trial: Trial, guest: Guest, suite: Suite) -> list[str]:
    """Ask a program which tests it has. The answer is a guest's: only plain names become commands and paths."""
    done = guest.run(f"{_inside(suite)} --list", timeout=trial.limits.command_seconds)
    names = done.stdout.decode("utf-8", "replace").split()
    if done.exit_status or not names or not all(_NAME.fullmatch(name) for name in names):
        raise UserError(
            f"suite {suite.name} does not list its tests: {suite.name} --list gave exit status {done.exit_status}",
            hint="isolation: suite needs no list",
            log=guest.console,
        )
    return names


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
    limit = suite.timeout * trial.limits.scale
    guest.log_line(f"{turn.name} starts")
    try:
        command = f"KDELTA_SCALE={trial.limits.scale:g} {_inside(suite)} {turn.test}".rstrip()
        done = guest.run(command, timeout=limit)
    except GuestLost as fault:
        partial = fault.stdout
        said.write_bytes(partial)
        _read(suite, partial, repeat, seen)
        seen.ends.append(SuiteEnd(suite.name, repeat, Outcome.LOST, fault.message))
        raise
    said.write_bytes(done.stdout)
    parsed = _read(suite, _whole(done), repeat, seen)
    words = done.stderr.decode("utf-8", "replace")[-_OUTPUT_SHOWN:]
    if done.timed_out:
        end = SuiteEnd(suite.name, repeat, Outcome.TIMEOUT, f"no end after {limit:.0f} s; {words}")
    elif done.truncated:
        end = SuiteEnd(suite.name, repeat, Outcome.FAIL, "its output was longer than kept")
    else:
        end = _judge_exit(suite, repeat, done.exit_status, parsed, words)
    seen.ends.append(end)


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
