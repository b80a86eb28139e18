"""The record of a run: what run.json holds."""

from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.model.answers import Change, Culprit, MetricPair, Verdict
from orchestrator.model.code import BinaryDiff, FindingRecord, ToolRecord
from orchestrator.model.coverage import LineCoverage
from orchestrator.model.guests import ConsoleLine, GuestRecord
from orchestrator.model.kernels import BuildRecord, ConfigChange, StepRecord, Uncompiled
from orchestrator.model.mutants import MutantRecord
from orchestrator.model.source import KernelSource, Series

SCHEMA = "kdelta.run/1"


class RunStatus(StrEnum):
    """Where a run stands; `interrupted` also covers one that failed on the way."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class AccelChoice:
    """Which QEMU accelerator runs the guests of one architecture, and why."""

    used: str
    reason: str


@dataclass(frozen=True)
class HostFacts:
    """The machine that ran it: versions by program name, accelerator by arch."""

    cpus: int
    qemu: dict[str, str] = field(default_factory=dict)
    compilers: dict[str, str] = field(default_factory=dict)
    accel: dict[str, AccelChoice] = field(default_factory=dict)


@dataclass(frozen=True)
class TimelineEntry:
    """When one task ran, in seconds since the run started.

    It began when the task `after` had ended, "" where it waited for none; the first `waited` seconds of its own it had
    no place among the guests.
    """

    task: str
    start: float
    end: float
    after: str = ""
    waited: float = 0.0


@dataclass(frozen=True)
class CoresBusy:
    """How many cores of the machine worked, on the average from `start` to `end`, whoever they worked for."""

    start: float
    end: float
    cores: float


@dataclass(frozen=True)
class Run:
    """The whole record of one run: what run.json holds (docs/run.schema.json)."""

    id: str
    status: RunStatus
    started: str
    finished: str | None
    wall_seconds: float | None
    command: tuple[str, ...]
    series: Series
    kernel: KernelSource
    host: HostFacts
    builds: tuple[BuildRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    configs: tuple[ConfigChange, ...] = ()
    uncompiled: tuple[Uncompiled, ...] = ()
    tools: tuple[ToolRecord, ...] = ()
    findings: tuple[FindingRecord, ...] = ()
    binaries: tuple[BinaryDiff, ...] = ()
    coverage: tuple[LineCoverage, ...] = ()
    mutants: tuple[MutantRecord, ...] = ()
    notes: tuple[str, ...] = ()
    guests: tuple[GuestRecord, ...] = ()
    lines: tuple[ConsoleLine, ...] = ()
    tests: tuple[Change, ...] = ()
    metrics: tuple[MetricPair, ...] = ()
    verdict: Verdict | None = None
    culprits: tuple[Culprit, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    busy: tuple[CoresBusy, ...] = ()
    schema: str = SCHEMA
