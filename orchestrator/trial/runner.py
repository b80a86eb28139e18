"""One kernel image in, one GuestRun out: boot, push, run every suite, and keep whatever was said when it ends."""

import logging
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvm import guest as guests
from kvm.errors import BootError, GuestLost, InfraError
from kvm.qemu import Machine
from orchestrator.model import Cell, GuestOutcome, GuestRecord, GuestRun, Metric, Outcome, SuiteEnd, TestResult
from orchestrator.trial import kinds
from orchestrator.trial.kinds import KINDS
from orchestrator.trial.parsed import Parsed
from orchestrator.trial.suites import Suite

log = logging.getLogger(__name__)

_OUTPUT_SHOWN = 4096


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
    limits: guests.Limits
    programs: tuple[Program, ...]
    repeats: int
    directory: Path


@dataclass
class _Seen:
    """What has been seen so far: a guest that dies takes nothing of it along."""

    boot_seconds: float | None = None
    results: list[TestResult] = field(default_factory=list)
    metrics: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    ends: list[SuiteEnd] = field(default_factory=list)


def run(trial: Trial, boot: guests.Boot, on_stage: Callable[[str], None] = lambda _: None) -> GuestRun:
    """Boot the kernel and run every suite `repeats` times in it; a kernel that fails gives a result, no exception."""
    seen = _Seen()
    outcome, detail = GuestOutcome.OK, ""
    on_stage("boot")
    try:
        with boot(trial.machine, workdir=trial.directory, limits=trial.limits) as guest:
            seen.boot_seconds = guest.boot_seconds
            _swap_on(trial, guest)
            for repeat, program in _schedule(trial):
                on_stage(program.suite.name)
                _run_suite(trial, guest, program, repeat, seen)
    except (BootError, GuestLost) as fault:
        outcome, detail = GuestOutcome(fault.kind), fault.message
    record = GuestRecord(
        side=trial.cell.side,
        arch=trial.cell.arch,
        flavour=trial.cell.flavour,
        accel=trial.machine.accel,
        boot_seconds=seen.boot_seconds,
        outcome=outcome,
        console=f"{trial.cell}/console.log",
        detail=detail,
    )
    metrics = (Metric(*name, tuple(samples)) for name, samples in seen.metrics.items())
    return GuestRun(record, tuple(seen.results), tuple(metrics), tuple(seen.ends))


def _schedule(trial: Trial) -> Iterator[tuple[int, Program]]:
    for repeat in range(trial.repeats):
        for program in trial.programs:
            yield repeat, program


def _swap_on(trial: Trial, guest: guests.Guest) -> None:
    if trial.machine.disk_mib:
        done = guest.run("mkswap /dev/vda && swapon /dev/vda", timeout=trial.limits.command_seconds)
        if done.exit_status:
            words = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            raise InfraError(f"{trial.cell}: no swap in the guest: {words}", log=guest.console)


def _run_suite(trial: Trial, guest: guests.Guest, program: Program, repeat: int, seen: _Seen) -> None:
    """Run one suite and add what it said to `seen`, also when the guest dies under it."""
    suite = program.suite
    inside = f"/tmp/{suite.name}"  # noqa: S108  (a directory of the guest)
    said = trial.directory / "tests" / f"{suite.name}{f'.{repeat}' if repeat else ''}.ktap"
    said.parent.mkdir(parents=True, exist_ok=True)
    limit = suite.timeout * trial.limits.scale
    if repeat == 0:
        guest.push(program.path, inside)
    guest.log_line(f"suite {suite.name} starts")
    try:
        done = guest.run(f"KDELTA_SCALE={trial.limits.scale:g} {shlex.quote(inside)}", timeout=limit)
    except GuestLost as fault:
        partial = fault.stdout
        said.write_bytes(partial)
        _read(suite, partial, repeat, seen)
        seen.ends.append(SuiteEnd(suite.name, repeat, Outcome.LOST, fault.message))
        raise
    said.write_bytes(done.stdout)
    complete = _read(suite, done.stdout, repeat, seen)
    words = done.stderr.decode("utf-8", "replace")[-_OUTPUT_SHOWN:]
    if done.timed_out:
        end = SuiteEnd(suite.name, repeat, Outcome.TIMEOUT, f"no end after {limit:.0f} s; {words}")
    elif done.truncated:
        end = SuiteEnd(suite.name, repeat, Outcome.FAIL, "its output was longer than kept")
    else:
        end = _judge_exit(suite, repeat, done.exit_status, complete, words)
    seen.ends.append(end)


def _judge_exit(suite: Suite, repeat: int, status: int, parsed: Parsed, words: str) -> SuiteEnd:
    """Say how the program itself ended; what belongs to no test explains it."""
    outcome, why = kinds.judge(KINDS[suite.kind], status, parsed)
    said = (why, parsed.output[-_OUTPUT_SHOWN:], "" if outcome is Outcome.PASS else words.strip())
    return SuiteEnd(suite.name, repeat, outcome, "; ".join(part for part in said if part))


def _read(suite: Suite, output: bytes, repeat: int, seen: _Seen) -> Parsed:
    """Add what a suite printed to `seen`."""
    parsed = KINDS[suite.kind].parse(output.decode("utf-8", "replace"), suite.name, repeat)
    seen.results.extend(parsed.results)
    for metric in parsed.metrics:
        seen.metrics.setdefault((metric.suite, metric.name, metric.unit), []).extend(metric.samples)
    return parsed
