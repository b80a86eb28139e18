"""The kernels of both sides booted once more, programs run on them in pairs: one side right after the other."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kvm.snapshot import Kept, Take
from orchestrator.model import GuestOutcome, GuestRecord, GuestRun, Metric, Outcome, Pair, Side, SuiteEnd
from orchestrator.trial import runner
from orchestrator.trial.runner import Trial, Yard
from orchestrator.trial.seen import Seen
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.turn import Turn

AGAIN = "again"

Look = Callable[[Trial, str, GuestRecord], GuestRecord]


@dataclass(frozen=True)
class Couple:
    """Both sides of a lane, booted; `look` adds to a guest's record what its console, by the guest's name, tells."""

    trials: dict[Side, Trial]
    kept: dict[Side, Kept]
    yard: Yard
    look: Look
    name: str

    def run(self, name: tuple[str, str], number: int) -> Pair | None:
        """Run what a test belongs to on both sides, the `number`th pair of it; None if nothing of it can run alone.

        The order is swapped from pair to pair, so that what warms up or wears out favours no side.
        """
        order = (Side.BASE, Side.PATCHED) if number % 2 else (Side.PATCHED, Side.BASE)
        turns = {side: find(self.trials[side].payloads, name, number) for side in Side}
        base, patched = turns[Side.BASE], turns[Side.PATCHED]
        if base is None or patched is None:
            return None
        given = {side: self._run(side, base if side is Side.BASE else patched) for side in order}
        return Pair(name[0], program(base), given[Side.BASE], given[Side.PATCHED])

    def _run(self, side: Side, turn: Turn) -> GuestRun:
        trial = self.trials[side]
        seen = runner.again(trial, self.kept[side], self.yard, turn)
        record = GuestRecord(
            *(side, trial.cell.arch, trial.cell.flavour, trial.machine.accel),
            self.kept[side].boot_seconds,
            seen.outcome,
            f"{trial.cell}/{self.name}/guests/{turn.name}/console.log",
            seen.detail,
            went_on=seen.went_on,
        )
        metrics = tuple(Metric(*named, tuple(samples)) for named, samples in seen.metrics.items())
        record, asked = self.look(trial, turn.name, record), (turn.suite.name,)
        return GuestRun(record, tuple(seen.results), metrics, _ends(turn, seen), asked)


@contextlib.contextmanager
def couple(trials: dict[Side, Trial], take: Take, yard: Yard, look: Look, name: str = AGAIN) -> Iterator[Couple]:
    """Boot both sides anew, and lend them. Raises BootError or GuestLost where one does not come up.

    What they say is kept below `name` in the directories of their trials.
    """
    with contextlib.ExitStack() as stack:
        again, kept = {}, {}
        for side, trial in trials.items():
            again[side] = replace(trial, directory=trial.directory / name, keep_guest=False, counts=False)
            kept[side] = stack.enter_context(runner.booted(again[side], take, yard))
        yield Couple(again, kept, yard, look, name)


def find(payloads: tuple[Payload, ...], name: tuple[str, str], number: int) -> Turn | None:
    """Return what runs a test again as it ran before: its program, or, where it had a guest of its own, itself."""
    suite, test = name
    for payload in payloads:
        if payload.suite.name != suite:
            continue
        if payload.single:
            ends = test.startswith("(")
            alone = test if payload.one_by_one and not ends else ""
            return None if payload.one_by_one and ends else Turn(payload, payload.runs[0], number, alone)
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
