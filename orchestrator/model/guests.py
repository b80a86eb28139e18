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


# Stands in a console between the words of one guest and the next: time goes back there, and no report goes on.
RESTORED = "--- {}: restored from the boot above ---"
# Begins what we say to a guest's kernel log: which test starts, and which ends.
OURS = "kdelta: "


class GuestOutcome(StrEnum):
    """How one guest ended: `ok`, or a fate of kvm's."""

    OK = "ok"
    PANIC = "panic"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    OUT_OF_MEMORY = "out-of-memory"
    REBOOT = "reboot"
    TRIPLE_FAULT = "triple-fault"
    POWEROFF = "poweroff"
    FLOOD = "flood"
    LIVELOCK = "livelock"
    HANG = "hang"
    NO_BOOT = "no-boot"
    KILLED = "killed"
    LOST = "lost"
    CONSOLE_CUT = "console-cut"
    DISK_FULL = "disk-full"

    @property
    def bad(self) -> bool:
        """Is it the kernel under test that went wrong? (Nobody saw who `killed` QEMU, or what broke a connection.)"""
        return self not in (GuestOutcome.OK, *_NOBODYS)


_NOBODYS = (GuestOutcome.KILLED, GuestOutcome.LOST, GuestOutcome.CONSOLE_CUT, GuestOutcome.DISK_FULL)


@dataclass(frozen=True)
class Known:
    """Why it does not count against the series, where that is discussed, until when (YYYY-MM-DD), and whose it is.

    `since` is a day, or a version, in the words of its `owner`.
    """

    reason: str
    link: str
    expiry: str
    owner: str = ""
    since: str = ""

    @property
    def discussed(self) -> str:
        """Since when it is known, if the list says so, and where that is discussed."""
        return f"since {self.since}, {self.link}" if self.since else self.link


@dataclass(frozen=True)
class Splat:
    """A kernel report found on a console: its kind, its title, the report itself.

    `frames` are functions, innermost first, without those that are on every stack; `function file:line` where that is
    known. `fingerprint` is the same for the same report; `times` says how often it came, `left_out` how many of its
    lines are not in `text`.
    """

    kind: str
    title: str
    text: str
    frames: tuple[str, ...] = ()
    fingerprint: str = ""
    times: int = 1
    left_out: int = 0
    known: Known | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two reports one."""
        return self.kind, self.fingerprint if self.frames else self.title


@dataclass(frozen=True)
class GuestRecord:
    """One guest. `boot_seconds` is QEMU's start to the ready line; None if it never came.

    `more_splats` says how many reports are on the console beside `splats`. It `went_on` after what `outcome` names, to
    the end of its suites. `off` are the kernel's own checkers that had switched themselves off by the end of a guest.
    """

    side: Side
    arch: str
    flavour: str
    accel: str
    boot_seconds: float | None
    outcome: GuestOutcome
    console: str
    detail: str = ""
    splats: tuple[Splat, ...] = ()
    more_splats: int = 0
    went_on: bool = False
    off: tuple[str, ...] = ()

    @property
    def counts_instructions(self) -> bool:
        """Does its clock go by the instructions that it executes, one a nanosecond?"""
        return self.accel == "icount"


@dataclass(frozen=True)
class ConsoleLine:
    """A line that the kernel of one `side` alone says, or far more often: `times` in `came` of `of` boots.

    In a boot of the other's it comes `elsewhere` times at most. `words` are as they stood first; numbers in them may
    differ.
    """

    arch: str
    flavour: str
    side: Side
    words: str
    times: int
    came: int
    of: int
    elsewhere: int = 0


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
    """How one program ended in one repeat: `pass` when it said all that it planned and exited as it should.

    `test` is the only one it ran, "" where it ran all; `taint` are the flags that the kernel got from it ("DW").
    """

    suite: str
    repeat: int
    outcome: Outcome
    detail: str
    test: str = ""
    taint: str = ""


@dataclass(frozen=True)
class GuestRun:
    """All that one guest gave: how it ended, its tests, its metrics, how each of the suites `asked` for ended."""

    guest: GuestRecord
    results: tuple[TestResult, ...] = ()
    metrics: tuple[Metric, ...] = ()
    ends: tuple[SuiteEnd, ...] = ()
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A program once more on both sides, one right after the other.

    `program` is "" where it is the whole suite, else its name; where each test has a guest of its own, the test's.
    """

    suite: str
    program: str
    base: GuestRun
    patched: GuestRun

    def runs(self, test: tuple[str, str]) -> bool:
        """Did it run what a test, (suite, name), belongs to?"""
        return self.suite == test[0] and (not self.program or f"{test[1]}/".startswith(f"{self.program}/"))
