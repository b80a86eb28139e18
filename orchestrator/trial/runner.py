"""One kernel image in, one GuestRun out: boot, push, run every suite, and keep whatever was said when it ends."""

import contextlib
import functools
import logging
import re
import shlex
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm.errors import BootError, GuestLost, UserError
from kvm.fate import Fate
from kvm.guest import Guest
from kvm.snapshot import Kept, Take
from orchestrator.model import RESTORED, GuestRecord, GuestRun, Metric, Side
from orchestrator.places import Need
from orchestrator.trial import checkers, counters, prepare, stints
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.seen import Seen
from orchestrator.trial.stints import Stint
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.suite import Isolation
from orchestrator.trial.trial import Trial, Yard
from orchestrator.trial.turn import Turn, at_boot, listing, start, times

log = logging.getLogger(__name__)

_LONGEST_NAME = 150  # of the directory of a guest for all suites
_IN_VAIN = 2  # so many guests in a row that came to no program: the next one would not, either
NAME = re.compile(r"[\w:+][\w.:+-]{0,99}", re.ASCII)  # as a path it stays where it is put, as a word it is no option


def run(trial: Trial, take: Take, yard: Yard, on_stage: Callable[[str], None] = lambda _: None) -> GuestRun:
    """Boot the kernel once and run every suite as often as it says, in guests as pristine as it asks for.

    A kernel that fails gives a result, no exception; what it takes along is what was running in one guest.
    """
    seen, boot_seconds = Seen(), None
    try:
        with booted(trial, take, yard, on_stage) as kept:
            boot_seconds = kept.boot_seconds
            for one in _Cell(trial, kept, yard, on_stage).seen():
                seen.add(one)
            for repeat in range(trial.most_repeats):
                for payload in trial.at(repeat):
                    seen.finish(payload, repeat)
    except (BootError, GuestLost) as fault:
        seen.died(fault)
        if boot_seconds is None:
            for payload in (one for one in trial.payloads if one.at_boot):
                at_boot(Turn(payload, payload.runs[0], 0), trial.directory / "console.log", fault, seen)
    _join_consoles(trial.directory, seen.guests, trial.directory / "console.log", seen.lent)
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
        off=tuple(sorted(seen.off)),
    )
    metrics = (Metric(*name, tuple(samples)) for name, samples in seen.metrics.items())
    return GuestRun(record, tuple(seen.results), tuple(metrics), tuple(seen.ends))


@contextlib.contextmanager
def booted(trial: Trial, take: Take, yard: Yard, on_stage: Callable[[str], None] = lambda _: None) -> Iterator[Kept]:
    """Boot the kernel in a place of its own, and lend what is kept of it, which needs none."""
    with contextlib.ExitStack() as stack:
        expected = sum(yard.durations.expect(one.suite.name, one.suite.limit) for one in trial.payloads)
        with yard.places.hold(Need(trial.machine.memory_mib, expected * trial.most_repeats)):
            on_stage("boot")
            ready = functools.partial(prepare.guest, trial)
            taking = take(trial.machine, workdir=trial.directory, limits=trial.limits, prepare=ready)
            kept = stack.enter_context(taking)
        yield kept


def again(trial: Trial, kept: Kept, yard: Yard, name: str, turns: Sequence[Turn]) -> Seen:
    """Do these turns once more in a guest of this name."""
    [seen] = stints.run([_Cell(trial, kept, yard, lambda _: None).stint(name, turns)], yard.places)
    _join_consoles(trial.directory, seen.guests[1:], _home(trial.directory, name) / "console.log", seen.lent)
    return seen


@dataclass(frozen=True)
class _Cell:
    """A booted kernel, and what is to be done with guests of it."""

    trial: Trial
    kept: Kept
    yard: Yard
    on_stage: Callable[[str], None]

    def seen(self) -> list[Seen]:
        """Do all of it, and return what each guest gave, in the same order whichever ended first."""
        names = {one.suite.name: list[str]() for one in self.trial.payloads if one.single and one.one_by_one}
        listing = [self._listing(one, names[one.suite.name]) for one in self.trial.payloads if one.suite.name in names]
        listed = stints.run(listing, self.yard.places)
        todo = [
            self.stint(*share) for repeat in range(self.trial.most_repeats) for share in self._shares(repeat, names)
        ]
        return [*listed, *stints.run(todo, self.yard.places)]

    def _shares(self, repeat: int, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[Turn]]]:
        """The guests of one repeat: one for all suites that say `boot`, one for each, or one for each test."""
        payloads = self.trial.at(repeat)
        if together := [payload for payload in payloads if payload.suite.isolation is Isolation.BOOT]:
            name = ", ".join(payload.suite.name for payload in together)
            if len(name) > _LONGEST_NAME:
                name = f"{together[0].suite.name} and {len(together) - 1} more"
            yield f"{name}{times(repeat)}", [turn for payload in together for turn in _turns(payload, repeat)]
        for payload in payloads:
            if payload.suite.isolation is Isolation.SUITE:
                yield f"{payload.suite.name}{times(repeat)}", _turns(payload, repeat)
        for payload in payloads:
            if payload.one_by_one:
                yield from ((turn.name, [turn]) for turn in _turns(payload, repeat, names.get(payload.suite.name)))

    def stint(self, name: str, turns: Sequence[Turn]) -> Stint[Seen]:
        """A guest for these turns, and another one for those that follow a program that destroyed it."""
        left = deque(turns)

        def use(guest: Guest, seen: Seen) -> None:
            while left:
                turn, began = left.popleft(), time.monotonic()
                self._start(turn, guest, seen)
                self.yard.durations.note(turn.known, time.monotonic() - began)
                kept = kept_at(self.trial.directory, turn)
                if self.trial.keep_state and seen.bad and not kept.exists():
                    guest.keep(kept)

        def work() -> Seen:
            seen, in_vain = Seen(), 0
            while left and in_vain < _IN_VAIN:
                before = len(left)
                seen.add(self._in_a_guest(f"{name}+{len(seen.guests)}" if seen.guests else name, use))
                in_vain = in_vain + 1 if len(left) == before else 0
            return seen

        return self._stint(turns, work)

    def _start(self, turn: Turn, guest: Guest, seen: Seen) -> None:
        """Run a program, and keep what it ran of the objects that count."""
        limits, directory = self.trial.limits, self.trial.directory
        try:
            start(turn, guest, limits, directory, seen)
        except GuestLost:
            if self.trial.counts:
                counters.lose(turn.known, directory)
            raise
        if self.trial.counts:
            counters.read(turn.known, guest, limits, directory)

    def _listing(self, payload: Payload, names: list[str]) -> Stint[Seen]:
        """Ask which tests a suite has."""
        whole = Turn(payload, payload.runs[0], 0)
        ask = functools.partial(
            self._in_a_guest,
            f"{payload.suite.name}/--list",
            lambda guest, _: names.extend(_listed(self.trial, guest, whole)),
        )
        return self._stint([], ask)

    def _stint(self, turns: Sequence[Turn], work: Callable[[], Seen]) -> Stint[Seen]:
        """Work in guests of its own, which have a part of the memory of the boot to themselves, seldom half of it."""
        seconds = sum(self.yard.durations.expect(one.known, one.seconds) for one in turns)
        alone = any(one.suite.kind is SuiteKind.BENCH for one in turns)
        return Stint(Need(self.trial.machine.memory_mib // 2, seconds, alone), work)

    def _in_a_guest(self, name: str, work: Callable[[Guest, Seen], None]) -> Seen:
        seen = Seen(guests=[name])
        self.on_stage(name)
        try:
            with self._restored(name) as guest:
                work(guest, seen)
                seen.off |= checkers.look(guest, self.trial.limits)
                if self.trial.keep_guest and seen.bad:
                    seen.lent[name] = guest.console.stat().st_size
                    _lend(f"{self.trial.cell}: a test failed in {name}", guest)
        except (BootError, GuestLost) as fault:
            seen.died(fault)
        return seen

    @contextlib.contextmanager
    def _restored(self, name: str) -> Iterator[Guest]:
        """Lend a guest; of a patched kernel that refuses one, or the user's root file system, that is no boot."""
        with contextlib.ExitStack() as stack:
            home = _home(self.trial.directory, name)
            with prepare.refusal(self.trial.cell.side):
                guest = stack.enter_context(self.kept.restore(workdir=home, limits=self.trial.limits))
            yield guest


def _lend(why: str, guest: Guest) -> None:
    """Let a person in, and wait until the guest is ended from inside."""
    with tempfile.TemporaryDirectory(prefix="kdelta-ssh-") as private:
        line = shlex.join(guest.open_ssh().command(Path(private)))
        log.warning("%s, which stays until `poweroff -f` in it: %s", why, line)
        guest.linger()


def kept_at(directory: Path, turn: Turn) -> Path:
    """Where the guest in which a program first failed is kept, below the directory of its cell."""
    return directory / "failed" / turn.known


def alone(test: str) -> str:
    """Return what a program is told to run one test alone: its name, or that of the one it is a part of.

    It is a guest's word, which becomes a word of a command and a path: "" where it is no plain name.
    """
    name = test.partition("/")[0]
    return name if NAME.fullmatch(name) else ""


def _home(directory: Path, guest: str) -> Path:
    """Where a restored guest has its files."""
    return directory / "guests" / guest


def _join_consoles(directory: Path, guests: Iterable[str], into: Path, lent: Mapping[str, int]) -> None:
    """Put the words of restored guests behind those of the boot, or of the first, in the order of the record.

    What a kernel says to a person is no word of its tests; the guest's own file has that.
    """
    for name in guests:
        own = _home(directory, name) / "console.log"
        if own.exists():
            with own.open("rb") as words, into.open("ab") as whole:
                whole.write(f"\n{RESTORED.format(name)}\n".encode())
                began = whole.tell()
                shutil.copyfileobj(words, whole)
                if name in lent:
                    whole.truncate(began + lent[name])


def _turns(payload: Payload, repeat: int, tests: Sequence[str] | None = None) -> list[Turn]:
    """Every start of a program of a suite; of one program, one for each of the `tests` that it lists."""
    if tests is not None:
        return [Turn(payload, payload.runs[0], repeat, name) for name in tests]
    return [Turn(payload, one, repeat) for one in payload.runs]


def _listed(trial: Trial, guest: Guest, whole: Turn) -> list[str]:
    """Ask a program which tests it has. The answer is a guest's: only plain names become commands and paths."""
    done = listing(whole, guest, trial.limits)
    names, suite = done.stdout.decode("utf-8", "replace").split(), whole.suite
    if done.timed_out:
        why = f"{suite.name} --list: {trial.limits.late()}"
    elif done.exit_status or not names:
        why = f"{suite.name} --list gave exit status {done.exit_status}"
    elif odd := [name for name in names if not NAME.fullmatch(name)]:
        why = f"{odd[0][:100]!r} is no plain name"
    elif len(set(names)) < len(names):
        why = "a name comes twice"
    else:
        return names
    words = f"suite {suite.name} does not list its tests: {why}"
    if trial.cell.side is Side.PATCHED:  # base's would end the run
        raise GuestLost(words, kind=Fate.LOST, log=guest.console)
    raise UserError(words, hint="isolation: suite needs no list", log=guest.console)
