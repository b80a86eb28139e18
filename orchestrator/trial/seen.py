"""What has been seen of a kernel so far, in one guest or in several."""

from dataclasses import dataclass, field, replace

from kvm.errors import GuestError
from orchestrator.model import GuestOutcome, Outcome, SuiteEnd, TestResult
from orchestrator.trial.suites.payload import Payload


@dataclass
class Seen:
    """A guest that dies takes nothing of it along; `guests` are the names of those had.

    Of one that was `lent` to a person, these are the bytes of its console until then. `off` are checkers of the
    kernel's own that were off at the end of one; `ended` is how the last program did, while none runs.
    """

    outcome: GuestOutcome = GuestOutcome.OK
    detail: str = ""
    went_on: bool = False
    results: list[TestResult] = field(default_factory=list)
    metrics: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    ends: list[SuiteEnd] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)
    lent: dict[str, int] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    ended: SuiteEnd | None = None

    @property
    def bad(self) -> bool:
        """Did a test fail, or the program?"""
        return any(result.outcome.bad for result in self.results) or any(end.outcome.bad for end in self.ends)

    def died(self, fault: GuestError) -> None:
        """Keep how the first guest of the cell that died did so; between programs that is the end of the one before."""
        if self.ended and GuestOutcome(fault.kind).bad:
            self._lose(replace(self.ended, outcome=Outcome.CRASH, detail=f"its guest died behind it: {fault.message}"))
        if self.outcome is GuestOutcome.OK or self.went_on:
            self.outcome, self.detail, self.went_on = GuestOutcome(fault.kind), fault.message, False

    def _lose(self, end: SuiteEnd) -> None:
        """Put another end on a suite, or on the test that the guest was had for."""
        if not end.test:
            self.ends.append(end)
            return
        own = TestResult(end.suite, end.test, end.outcome, end.detail, end.repeat)
        named = (own.suite, own.name, own.repeat)
        self.results = [one for one in self.results if (one.suite, one.name, one.repeat) != named] + [own]

    def absolve(self, since: int) -> None:
        """Call the tests that ran last, of those from number `since` on, lost: it was nobody's fault."""
        for number in range(len(self.results) - 1, since - 1, -1):
            if self.results[number].outcome not in (Outcome.CRASH, Outcome.MISSING):
                break
            self.results[number] = replace(self.results[number], outcome=Outcome.LOST)

    def note(self, outcome: GuestOutcome, detail: str) -> None:
        """Keep what is wrong with a guest that goes on, unless something worse is known."""
        if self.outcome is GuestOutcome.OK:
            self.outcome, self.detail, self.went_on = outcome, detail, True

    def add(self, later: "Seen") -> None:
        """Put what another guest gave behind it."""
        graver = self.went_on or (later.outcome.bad and not self.outcome.bad)  # the kernel's fault, and not nobody's
        worse = graver and later.outcome is not GuestOutcome.OK and not later.went_on
        if self.outcome is GuestOutcome.OK or worse:
            self.outcome, self.detail, self.went_on = later.outcome, later.detail, later.went_on
        self.results += later.results
        self.ends += later.ends
        self.guests += later.guests
        self.lent |= later.lent
        self.off |= later.off
        for name, samples in later.metrics.items():
            self.metrics.setdefault(name, []).extend(samples)

    def finish(self, payload: Payload, repeat: int) -> None:
        """Say of a suite of several programs how it went, and of each that got no turn that it is missing."""
        if payload.single:
            return  # its end was seen
        name = payload.suite.name
        ran = {result.name: result for result in self.results if (result.suite, result.repeat) == (name, repeat)}
        self.results += [TestResult(name, one.name, one.outcome, one.why, repeat) for one in payload.unrun]
        left = [run.name for run in payload.runs if run.name not in ran]
        self.results += [TestResult(name, one, Outcome.MISSING, "", repeat) for one in left]
        lost = [run.name for run in payload.runs if run.name in ran and ran[run.name].outcome is Outcome.LOST]
        words = [f"{len(left)} of {len(payload.runs)} programs did not run" if left else ""]
        words += [f"the guest was lost under {', '.join(lost)}" if lost else ""]
        outcome = Outcome.LOST if left or lost else Outcome.PASS
        self.ends.append(SuiteEnd(name, repeat, outcome, "; ".join(filter(None, words))))
