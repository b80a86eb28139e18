"""The types that flow through the rooms, and the run record that is written to run.json. No I/O."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

SCHEMA = "kdelta.run/1"


class Side(StrEnum):
    """Which kernel: the tree as it is, or the tree with the series."""

    BASE = "base"
    PATCHED = "patched"


class Outcome(StrEnum):
    """How one test ended on one kernel. A test that started is `crash` until it earns better."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIP = "skip"
    XFAIL = "xfail"
    CRASH = "crash"
    TIMEOUT = "timeout"
    LOST = "lost"
    MISSING = "missing"

    @property
    def good(self) -> bool:
        """Did the test do what it should?"""
        return self in (Outcome.PASS, Outcome.XFAIL)

    @property
    def bad(self) -> bool:
        """Did the kernel under test do something wrong? (`skip` could not test, `missing` and `lost` did not see.)"""
        return self in (Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT)


class GuestOutcome(StrEnum):
    """How one guest ended."""

    OK = "ok"
    PANIC = "panic"
    HANG = "hang"
    LOST = "lost"
    NO_BOOT = "no-boot"


class ChangeKind(StrEnum):
    """What the series did to one test."""

    SAME = "same"
    REGRESSED = "regressed"
    FIXED = "fixed"
    ADDED = "added"
    REMOVED = "removed"
    FLAKY = "flaky"
    INFRA = "infra"


class VerdictValue(StrEnum):
    """The answer, worst first when cells are combined: regressed > unmet > inconclusive > validated, clean."""

    REGRESSED = "regressed"
    UNMET = "unmet"
    INCONCLUSIVE = "inconclusive"
    VALIDATED = "validated"
    CLEAN = "clean"

    @property
    def exit_code(self) -> int:
        """The process exit code that carries this verdict; `git bisect run` reads 125 as skip."""
        return {"regressed": 1, "unmet": 1, "inconclusive": 125}.get(self.value, 0)


class RunStatus(StrEnum):
    """Where a run stands; `interrupted` also covers one that failed on the way."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


class Lane(NamedTuple):
    """One architecture in one flavour: its base cell and its patched cell are compared."""

    arch: str
    flavour: str

    def __str__(self) -> str:
        return f"{self.arch}-{self.flavour}"


@dataclass(frozen=True, order=True)
class Cell:
    """One kernel to build and boot: side x arch x flavour."""

    side: Side
    arch: str
    flavour: str

    @property
    def lane(self) -> Lane:
        """What the other side's cell shares."""
        return Lane(self.arch, self.flavour)

    def __str__(self) -> str:
        return f"{self.side}/{self.lane}"


def cells(lane: Lane) -> tuple[Cell, ...]:
    """Both sides of a lane, base first."""
    return tuple(Cell(side, lane.arch, lane.flavour) for side in Side)


@dataclass(frozen=True)
class Patch:
    """One commit of the series; `author` is "Name <mail>", `files` are paths in the kernel tree."""

    subject: str
    author: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """What is to be validated."""

    title: str
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class KernelSource:
    """The tree the series was applied to; `base_commit` is a commit of kdelta's store or of the user's repository.

    `chosen` says how it was found; `reverted` that it is the tree without a series that the source holds.
    """

    source: str
    release: str
    base_commit: str
    chosen: "Base | None" = None
    reverted: bool = False


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
class BuildRecord:
    """One kernel build. Paths are relative to the run directory; `error` is the first compiler error, or None."""

    side: Side
    arch: str
    flavour: str
    seconds: float
    cpu_seconds: float
    cached: bool
    image_sha256: str | None
    noop: bool
    log: str
    error: str | None = None
    ccache_hits: int = 0
    ccache_asked: int = 0


@dataclass(frozen=True)
class StepRecord:
    """The tree after the first `number` patches of the series, built; `error` as in BuildRecord."""

    number: int
    subject: str
    arch: str
    flavour: str
    seconds: float
    cpu_seconds: float
    cached: bool
    log: str
    error: str | None = None


@dataclass(frozen=True)
class ConfigChange:
    """An option that came out otherwise on patched, as in .config; "n" where it is not set or not known."""

    arch: str
    flavour: str
    option: str
    base: str
    patched: str


@dataclass(frozen=True)
class Uncompiled:
    """A source file of the series that a lane's kernel is built without; `options` are those it waits for."""

    arch: str
    flavour: str
    file: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Splat:
    """A kernel report found on a console: its kind, its title, the report itself."""

    kind: str
    title: str
    text: str


@dataclass(frozen=True)
class GuestRecord:
    """One guest. `boot_seconds` is QEMU's start to the ready line; None if it never came."""

    side: Side
    arch: str
    flavour: str
    accel: str
    boot_seconds: float | None
    outcome: GuestOutcome
    console: str
    detail: str = ""
    splats: tuple[Splat, ...] = ()


@dataclass(frozen=True)
class TestResult:
    """One test on one kernel in one repeat; `output` is the test's own words, never the console's."""

    __test__ = False  # not a pytest class

    suite: str
    name: str
    outcome: Outcome
    output: str = ""
    repeat: int = 0


@dataclass(frozen=True)
class Metric:
    """Samples of one measured quantity on one kernel."""

    suite: str
    name: str
    unit: str
    samples: tuple[float, ...]


@dataclass(frozen=True)
class SuiteEnd:
    """How one program ended in one repeat: `pass` when it said all that it planned and exited as it should."""

    suite: str
    repeat: int
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class GuestRun:
    """All that one guest gave: how it ended, its tests, its metrics, how each suite ended."""

    guest: GuestRecord
    results: tuple[TestResult, ...] = ()
    metrics: tuple[Metric, ...] = ()
    ends: tuple[SuiteEnd, ...] = ()


@dataclass(frozen=True)
class Observed:
    """One side of a comparison; over several repeats the worst outcome, and every outcome in `repeats`."""

    outcome: Outcome
    output: str = ""
    repeats: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Change:
    """One test, compared; `expected` is what the series declares for it, if it does."""

    suite: str
    name: str
    arch: str
    flavour: str
    base: Observed
    patched: Observed
    change: ChangeKind
    expected: ChangeKind | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of one side."""

    samples: tuple[float, ...] = ()


@dataclass(frozen=True)
class MetricPair:
    """One metric, side by side."""

    suite: str
    name: str
    unit: str
    arch: str
    flavour: str
    base: Samples
    patched: Samples


@dataclass(frozen=True)
class Expectation:
    """What the series declares for one test: the change it must show, on every architecture."""

    suite: str
    name: str
    change: ChangeKind


@dataclass(frozen=True)
class Verdict:
    """The answer and why, the strongest reason first."""

    value: VerdictValue
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class TimelineEntry:
    """When one task ran, in seconds since the run started."""

    task: str
    start: float
    end: float


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
    findings: tuple["FindingRecord", ...] = ()
    binaries: tuple["BinaryDiff", ...] = ()
    notes: tuple[str, ...] = ()
    guests: tuple[GuestRecord, ...] = ()
    tests: tuple[Change, ...] = ()
    metrics: tuple[MetricPair, ...] = ()
    verdict: Verdict | None = None
    timeline: tuple[TimelineEntry, ...] = ()
    schema: str = SCHEMA


class FindingChange(StrEnum):
    """What the series did to one finding."""

    NEW = "new"
    GONE = "gone"
    MOVED = "moved"
    SAME = "same"
    MISSING = "missing"  # base has it, and nobody looked on patched

    @property
    def changed(self) -> bool:
        """Is it one that the author of the series should read?"""
        return self in (FindingChange.NEW, FindingChange.GONE)


@dataclass(frozen=True)
class Finding:
    """One complaint of a compiler, the build or a checker about the tree.

    `kind` is the flag (-Wunused-variable) or a rule's name; `file` is relative to the tree, "" where none is named;
    line and column count from 1, 0 where none is named. `chain` are the files that include `file`, outermost first;
    `site` is where a macro or an inlined function that holds `line` is used: ("mm/madvise.c", 12).
    """

    tool: str
    kind: str
    file: str
    line: int
    column: int
    message: str
    function: str = ""
    chain: tuple[str, ...] = ()
    site: tuple[str, int] | None = None


@dataclass(frozen=True)
class FindingRecord:
    """One finding, compared. `line` is patched's, base's for one that is gone; `base_line` is None for a new one.

    `objects` says how many object files show it (a header's is seen by all that include it).
    """

    tool: str
    kind: str
    file: str
    line: int
    message: str
    arch: str
    flavour: str
    change: FindingChange
    function: str = ""
    site: str = ""
    base_line: int | None = None
    objects: int = 1


class BaseRule(StrEnum):
    """What found the commit that the series is applied to, the strongest rule first."""

    ASKED = "--base"
    TRAILER = "base-commit trailer"
    BLOBS = "blob hashes"
    HEAD = "HEAD"


@dataclass(frozen=True)
class Base:
    """The commit to apply the series to, what found it, how sure that is, and what else is to be said of it."""

    commit: str
    rule: BaseRule
    sure: str
    notes: tuple[str, ...] = ()


class Presence(StrEnum):
    """Is a patch in the tree already? `changed`: it was applied once, and cannot be taken out as it is."""

    ABSENT = "absent"
    PRESENT = "present"
    CHANGED = "changed"


@dataclass(frozen=True)
class InTree:
    """Whether one patch is in the tree, and the commits that brought it, as `1234567890ab ("subject")`."""

    patch: str
    presence: Presence
    commits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ByteChange:
    """Something measured in bytes: None on the side that lacks it; equal when only its contents changed."""

    name: str
    where: str
    base: int | None
    patched: int | None


@dataclass(frozen=True)
class TextChange:
    """Something said in words (a layout, a macro's value, an export): None on the side that lacks it."""

    name: str
    where: str
    base: str | None
    patched: str | None


@dataclass(frozen=True)
class ObjectChange:
    """One object file that differs; `parts` are added, removed, or code, rodata, data, bss, lines, symbols, file."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class UapiProblem:
    """What a compiler says of a uapi header alone, and did not say of base's."""

    header: str
    compiler: str
    words: str


@dataclass(frozen=True)
class BinaryDiff:
    """What the series did to the binary of one architecture and flavour; `summary` is one sentence."""

    arch: str
    flavour: str
    summary: str
    objects: tuple[ObjectChange, ...] = ()
    functions: tuple[ByteChange, ...] = ()
    frames: tuple[ByteChange, ...] = ()
    sections: tuple[ByteChange, ...] = ()
    structs: tuple[TextChange, ...] = ()
    exports: tuple[TextChange, ...] = ()
    constants: tuple[TextChange, ...] = ()
    uapi_problems: tuple[UapiProblem, ...] = ()
    notes: tuple[str, ...] = ()
