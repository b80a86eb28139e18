"""Both kernels booted once more, and programs run on them in pairs."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from kvm.errors import GuestError
from kvm.snapshot import Kept, Take
from orchestrator.model import BOOT, GuestOutcome, GuestRecord, GuestRun, Metric, Outcome, Pair, Side, SuiteEnd
from orchestrator.trial import runner
from orchestrator.trial.seen import Seen
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.trial import Trial, Yard
from orchestrator.trial.turn import Turn

AGAIN, BOOTS = "again", "boots"  # below the directory of a cell, a directory for each boot beside the first

Look = Callable[[Trial, str, GuestRecord], GuestRecord]
Named = tuple[str, str]  # a suite, and a test of it


def run(
    trials: dict[Side, Trial], take: Take, yard: Yard, look: Look, names: Collection[Named], number: int, where: str
) -> list[Pair]:
    """Boot both sides anew, and run what each test belongs to on both, one side right after the other.

    The `number` says which side is first, so that what warms up or wears out favours none. What is said is kept below
    `where` in the directories of `trials`; `look` adds to a guest's record what its console tells, by the directory
    that this is in. What cannot run alone is left out, and nothing is booted for it. The first pair is of the suite
    `(boot)`: whether both came up, whoever asked; only failures would be counted else. Where one did not there is no
    other.
    """
    turns = [tuple(find(trials[side].payloads, name, number) for side in Side) for name in names]
    able = {(base.name, patched.name): (base, patched) for base, patched in turns if base and patched}  # each once
    if not able and all(suite != BOOT for suite, _ in names):
        return []
    with _couple(trials, take, yard, look, where) as both:
        booted, able = both.booted(), {} if both.faults else able
        return [booted, *(both.run(base, patched, base_first=number % 2 == 1) for base, patched in able.values())]


@dataclass(frozen=True)
class _Couple:
    """Both sides of a lane, booted, but for one that has a fault."""

    trials: dict[Side, Trial]
    kept: dict[Side, Kept]
    faults: dict[Side, GuestError]
    yard: Yard
    look: Look
    where: str

    def booted(self) -> Pair:
        """What both kernels said until they were ready, and whether they were."""
        return Pair(BOOT, "", *map(self._boot, Side))

    def _boot(self, side: Side) -> GuestRun:
        seen, outcome = Seen(), Outcome.PASS
        if fault := self.faults.get(side):
            seen.died(fault)
            outcome = Outcome.CRASH if seen.outcome.bad else Outcome.LOST
        return GuestRun(self._record(side, seen, ""), ends=(SuiteEnd(BOOT, 0, outcome, seen.detail),), asked=(BOOT,))

    def run(self, base: Turn, patched: Turn, *, base_first: bool) -> Pair:
        """Do a turn on each side."""
        turns = {Side.BASE: base, Side.PATCHED: patched}
        given = {side: self._run(side, turns[side]) for side in (Side if base_first else reversed(Side))}
        return Pair(base.suite.name, program(base), given[Side.BASE], given[Side.PATCHED])

    def _run(self, side: Side, turn: Turn) -> GuestRun:
        seen = runner.again(self.trials[side], self.kept[side], self.yard, turn)
        metrics = tuple(Metric(*named, tuple(samples)) for named, samples in seen.metrics.items())
        record, asked = self._record(side, seen, f"guests/{turn.name}"), (turn.suite.name,)
        return GuestRun(record, tuple(seen.results), metrics, _ends(turn, seen), asked)

    def _record(self, side: Side, seen: Seen, name: str) -> GuestRecord:
        """What is known of a guest, or of the boot, the console of which is in the directory of this name."""
        trial = self.trials[side]
        record = GuestRecord(
            *(side, trial.cell.arch, trial.cell.flavour, trial.machine.accel),
            self.kept[side].boot_seconds if side in self.kept else None,
            seen.outcome,
            str(PurePosixPath(str(trial.cell), self.where, name, "console.log")),
            seen.detail,
            went_on=seen.went_on,
        )
        return self.look(trial, name, record)


@contextlib.contextmanager
def _couple(trials: dict[Side, Trial], take: Take, yard: Yard, look: Look, where: str) -> Iterator[_Couple]:
    with contextlib.ExitStack() as stack:
        again, kept, faults = {}, dict[Side, Kept](), dict[Side, GuestError]()
        for side, trial in trials.items():
            again[side] = trial.kept_nothing(trial.directory / where)
            try:
                kept[side] = stack.enter_context(runner.booted(again[side], take, yard))
            except GuestError as fault:
                faults[side] = fault
        yield _Couple(again, kept, faults, yard, look, where)


def unbooted(pairs: Iterable[Pair]) -> str:
    """Say which side did not boot, and why; "" where both did."""
    boots = (one for pair in pairs if pair.suite == BOOT for one in (pair.base, pair.patched))
    return next((f"{one.guest.side}: {end.detail}" for one in boots for end in one.ends if not end.outcome.good), "")


def find(payloads: tuple[Payload, ...], name: Named, number: int) -> Turn | None:
    """Return what runs a test again as it ran before: its program, or, where it had a guest of its own, itself."""
    suite, test = name
    for payload in payloads:
        if payload.suite.name != suite:
            continue
        if payload.single:
            alone = runner.alone(test) if payload.one_by_one else ""
            return None if payload.one_by_one and not alone else Turn(payload, payload.runs[0], number, alone)
        for one in payload.runs:
            if f"{test}/".startswith(f"{one.name}/"):
                return Turn(payload, one, number)
    return None


def program(turn: Turn) -> str:
    """What of its suite a turn runs; "" is all."""
    return turn.test or turn.run.name


def _ends(turn: Turn, seen: Seen) -> tuple[SuiteEnd, ...]:
    """How it ended; of one program of several, that it has no other tests than it showed."""
    if seen.ends or not turn.run.name or seen.outcome is not GuestOutcome.OK:
        return tuple(seen.ends)
    return (SuiteEnd(turn.suite.name, turn.repeat, Outcome.PASS, "", turn.run.name),)
