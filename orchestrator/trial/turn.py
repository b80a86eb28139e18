"""One program started once in a guest, and all that was seen of it, also when the guest dies under it."""

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kvm.errors import GuestError, GuestLost
from kvm.guest import CommandResult, Guest
from kvm.vm import Limits
from orchestrator.model import GuestOutcome, Outcome, SuiteEnd, TestResult
from orchestrator.trial import room, stretch, wrap
from orchestrator.trial.kinds import kunit, status
from orchestrator.trial.kinds.kind import KINDS, Kind, SuiteKind, judge
from orchestrator.trial.kinds.parsed import Parsed
from orchestrator.trial.seen import Seen
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.run import Run
from orchestrator.trial.suites.stage import inside
from orchestrator.trial.suites.suite import Suite

_OUTPUT_SHOWN = 4096


@dataclass(frozen=True)
class Turn:
    """One start of a program of a suite: for all its tests, or for one."""

    payload: Payload
    run: Run
    repeat: int
    test: str = ""

    @property
    def suite(self) -> Suite:
        """Whose program it is."""
        return self.payload.suite

    @property
    def kind(self) -> Kind:
        """How it is read; selftests are read one by one, not as their runner wraps them."""
        return KINDS[SuiteKind.AUTO if self.suite.targets else self.suite.kind]

    @property
    def name(self) -> str:
        """What its files are called after; of names that others gave, what no file system minds."""
        return f"{self.known}{times(self.repeat)}"

    @property
    def known(self) -> str:
        """What it is known as from one run to the next."""
        return self.payload.known(self.run, self.test)

    @property
    def whole(self) -> str:
        """The name of what a program says of itself as a whole."""
        return self.run.name if self.run.name and self.kind.of_itself else self.suite.name

    def own(self, parsed: Parsed) -> TestResult | None:
        """What a program that is a test said of that test; None where others judge it, or it is the suite."""
        named = self.run.name if self.kind.of_itself else None
        return next((result for result in parsed.results if result.name == named), None)

    def place(self, name: str) -> str:
        """The name of a test that a program printed, below the program's own."""
        inside = not self.run.name or (self.kind.of_itself and name.startswith(f"{self.run.name}/"))
        return name if inside else f"{self.run.name}/{name}"

    @property
    def loads(self) -> bool:
        """Does it load modules, whose tests the kernel tells of?"""
        return bool(self.suite.modules)

    @property
    def seconds(self) -> float:
        """Its limit, for hardware virtualisation."""
        return self.run.seconds or self.suite.limit

    def command(self, scale: float, more: str = "") -> str:
        """What a shell in the guest is told; `scale` is how much slower than hardware it is."""
        where = shlex.quote(f"{inside(self.suite.name)}/{self.run.directory}".rstrip("/"))
        also = "exec 2>&1; " if self.kind.both_streams else ""
        words = f"{self.run.command} {more or self.test}".rstrip()
        told = f"KDELTA_SCALE={scale:g}" if self.test else f"KDELTA_SCALE={scale:g} KDELTA_TEST={self.name}"
        whole = f"export {told}; {also}cd {where} && {self.run.start}{words}"
        return f"sh -c {shlex.quote(whole)}"  # whatever it holds, it ends where it ends


def times(repeat: int) -> str:
    """What the files of a repeat have at their end; no plain name has such a mark in it."""
    return f"@{repeat}" if repeat else ""


def listing(turn: Turn, guest: Guest, limits: Limits) -> CommandResult:
    """Ask a program which tests it has."""
    return guest.run(guest.inside(turn.command(limits.scale, "--list")), timeout=limits.command_seconds)


def start(turn: Turn, guest: Guest, limits: Limits, directory: Path, seen: Seen) -> CommandResult:
    """Run a program, keep its output in `directory`, add what it said to `seen`, and return what it gave."""
    said = directory / "tests" / f"{turn.name}.ktap"
    said.parent.mkdir(parents=True, exist_ok=True)
    wrapped, began = wrap.wrap(turn.name, guest.inside(turn.command(limits.scale))), len(seen.results)
    since, seen.ended = guest.console.stat().st_size, None
    guest.begin()
    try:
        done = guest.run(wrapped.command, timeout=turn.seconds * limits.scale)
        if turn.loads:
            _hear(limits, guest, wrapped)
    except GuestLost as fault:
        output, _ = _output(turn, fault.stdout, directory, guest, since)
        said.write_bytes(output)
        own = turn.own(_read(turn, output, seen))
        bad = GuestOutcome(fault.kind).bad
        if not bad:
            seen.absolve(began)
        # a program is a test that ran; the end of a whole suite was not seen
        outcome = Outcome.CRASH if bad and turn.run.name else Outcome.LOST
        why = f"{fault.message}; {own.output}" if own else fault.message
        _close(turn, SuiteEnd(turn.suite.name, turn.repeat, outcome, why, turn.test), seen)
        raise
    output, whole = _output(turn, done.stdout, directory, guest, since)
    said.write_bytes(output)
    parsed = _read(turn, _ended(done, output), seen, whole=whole)
    stderr, taints = wrapped.unwrap(done.stderr)
    end, taint = _end(turn, done, parsed, stderr.decode("utf-8", "replace")[-_OUTPUT_SHOWN:], limits.scale), ""
    seen.ended = replace(end, test=turn.test or turn.run.name) if turn.payload.one_by_one else end
    try:
        if done.timed_out:
            late = guest.run(wrapped.late, timeout=limits.command_seconds)
            taints += wrapped.unwrap(late.stderr)[1]
        taint = wrap.added(taints[0], taints[-1]) if taints else ""
        _look_around(
            limits, seen, guest, wrapped, well=end.outcome in (Outcome.PASS, Outcome.SKIP) and not parsed.failed
        )
    finally:
        _close(turn, replace(end, taint=taint), seen)
    return replace(done, stderr=stderr)


def at_boot(turn: Turn, console: Path, fault: GuestError, seen: Seen) -> None:
    """Add what tests that run while the kernel boots said on its console: it died, and took what it kept along."""
    parsed = _read(turn, stretch.head(console), seen)
    if parsed.results:
        _close(turn, SuiteEnd(turn.suite.name, turn.repeat, Outcome.LOST, fault.message), seen)


def _output(turn: Turn, printed: bytes, directory: Path, guest: Guest, since: int) -> tuple[bytes, bool]:
    """Return what there is to be read of a program, and whether that is all that a kernel said of its modules.

    KUnit is read off the console: the kernel's ring forgets its beginning, debugfs the end of a case (Linux 5.10 keeps
    512 bytes), and of a kernel that dies neither is printed. They are what is left where the console has nothing.
    """
    if turn.kind is not KINDS[SuiteKind.KUNIT]:
        return printed, False
    if turn.loads:
        said, whole = stretch.of(stretch.head(guest.console, since).decode("utf-8", "replace"), turn.name)
    elif turn.payload.at_boot:
        said, whole = stretch.head(directory / "console.log").decode("utf-8", "replace"), False
    else:
        return printed, False
    return (said.encode(), whole) if kunit.told(said) else (printed, False)


def _read(turn: Turn, output: bytes, seen: Seen, *, whole: bool = False) -> Parsed:
    """Add what a program printed; of a suite of several, each has its tests below its name."""
    parse = kunit.whole if whole else turn.kind.parse
    parsed = parse(output.decode("utf-8", "replace"), turn.whole, turn.repeat)
    own, suite = turn.own(parsed), turn.suite.name
    seen.results += [
        replace(result, suite=suite, name=turn.place(result.name)) for result in parsed.results if result is not own
    ]
    for metric in parsed.metrics:
        seen.metrics.setdefault((suite, turn.place(metric.name), metric.unit), []).extend(metric.samples)
    return parsed


def _close(turn: Turn, end: SuiteEnd, seen: Seen) -> None:
    """Add how a program ended: as the suite's end, or, of several, as a test."""
    if not turn.run.name:
        seen.ends.append(end)
        return
    seen.results.append(TestResult(end.suite, turn.run.name, end.outcome, end.detail, end.repeat))
    if end.taint:  # of which only ends tell
        seen.ends.append(SuiteEnd(end.suite, end.repeat, Outcome.PASS, "", turn.run.name, end.taint))


def _end(turn: Turn, done: CommandResult, parsed: Parsed, words: str, scale: float) -> SuiteEnd:
    """Say how a program ended in a guest that lives; what belongs to no test explains it."""
    if done.timed_out:
        given = f"{turn.suite.name}'s timeout of {turn.seconds:g} s x {scale:g}"
        outcome, detail = Outcome.TIMEOUT, f"no end after {turn.seconds * scale:.0f} s ({given}); {words}"
    elif done.truncated:
        outcome, detail = Outcome.FAIL, "its output was longer than kept"
    else:
        outcome, why = judge(turn.kind, done.exit_status, parsed)
        own = turn.own(parsed)
        if outcome is Outcome.PASS and own:
            outcome = own.outcome
        elif outcome is Outcome.PASS and turn.run.name and parsed.failed:  # it ended well, but is a test itself
            outcome, why = Outcome.FAIL, "not all of its tests passed"
        said = (why, (own or parsed).output[-_OUTPUT_SHOWN:], "" if outcome is Outcome.PASS else words.strip())
        detail = "; ".join(part for part in said if part)
    return SuiteEnd(turn.suite.name, turn.repeat, outcome, detail, turn.test)


def _look_around(limits: Limits, seen: Seen, guest: Guest, wrapped: wrap.Wrapped, *, well: bool) -> None:
    """Look for what makes results worth less: a silent console, and, where not all is `well`, a full disk."""
    if not _hear(limits, guest, wrapped):
        seen.note(GuestOutcome.CONSOLE_CUT, f"the console says nothing of the end of {wrapped.name}")
    if not well:
        listing = guest.run(room.LISTING, timeout=limits.command_seconds).stdout
        if where := ", ".join(room.full(listing)):
            seen.note(GuestOutcome.DISK_FULL, f"no room is left on {where} after {wrapped.name}")


def _hear(limits: Limits, guest: Guest, wrapped: wrap.Wrapped) -> bool:
    """Does the console tell of a program's end? printk may be behind: it is waited for while it goes on."""
    size, end = -1, time.monotonic() + limits.command_seconds
    while not (heard := wrapped.heard(guest.console)) and time.monotonic() < end:
        before, size = size, guest.console.stat().st_size
        if size == before:
            break
        guest.run("sleep 1", timeout=limits.command_seconds)
    return heard


def _ended(done: CommandResult, output: bytes) -> bytes:
    """What a program said; the last line of one that ended by itself is whole, with a newline or without."""
    cut = done.timed_out or done.truncated or status.name_of_signal(done.exit_status)
    return output if cut or output.endswith(b"\n") else output + b"\n"
