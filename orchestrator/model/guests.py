"""What the guests gave: outcomes, tests, metrics."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.cells import Side


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
    """How one guest ended: `ok`, or a fate of kvm's."""

    OK = "ok"
    PANIC = "panic"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    REBOOT = "reboot"
    POWEROFF = "poweroff"
    FLOOD = "flood"
    HANG = "hang"
    NO_BOOT = "no-boot"
    KILLED = "killed"
    LOST = "lost"

    @property
    def bad(self) -> bool:
        """Is it the kernel under test that went wrong? (Nobody saw who `killed` QEMU, or what broke a connection.)"""
        return self not in (GuestOutcome.OK, GuestOutcome.KILLED, GuestOutcome.LOST)


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


@dataclass(frozen=True, slots=True)
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
