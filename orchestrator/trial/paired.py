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
from orchestrator.trial.turn import Turn, times

AGAIN, BOOTS = "again", "boots"  # below the directory of a cell, a directory for each boot beside the first

Look = Callable[[Trial, str, GuestRecord], GuestRecord]
Named = tuple[str, str]  # a suite, and a test of it; "" is all of it


@dataclass(frozen=True)
class Share:
    """What a guest is had for: a `program` of a suite, or a test that had a guest of its own; "" is all of it."""

    payload: Payload
    program: str
    turns: tuple[Turn, ...]
    number: int

    @property
    def name(self) -> str:
        """What its guest's files are called after."""
        return self.turns[0].name if self.program else f"{self.payload.suite.name}{times(self.number)}"


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
    shares = [tuple(find(trials[side].payloads, name, number) for side in Side) for name in names]
    able = {(base.name, patched.name): (base, patched) for base, patched in shares if base and patched}  # each once
    whole = {base.payload.suite.name for base, _ in able.values() if not base.program}
    able = {key: both for key, both in able.items() if not both[0].program or both[0].payload.suite.name not in whole}
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

    def run(self, base: Share, patched: Share, *, base_first: bool) -> Pair:
        """Do the same on each side."""
        shares = {Side.BASE: base, Side.PATCHED: patched}
        given = {side: self._run(side, shares[side]) for side in (Side if base_first else reversed(Side))}
        return Pair(base.payload.suite.name, base.program, given[Side.BASE], given[Side.PATCHED])

    def _run(self, side: Side, share: Share) -> GuestRun:
        seen = runner.again(self.trials[side], self.kept[side], self.yard, share.name, share.turns)
        if not share.program:
            seen.finish(share.payload, share.number)
        metrics = tuple(Metric(*named, tuple(samples)) for named, samples in seen.metrics.items())
        record, asked = self._record(side, seen, f"guests/{share.name}"), (share.payload.suite.name,)
        return GuestRun(record, tuple(seen.results), metrics, _ends(share.turns[0], seen), asked)

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


def find(payloads: tuple[Payload, ...], name: Named, number: int) -> Share | None:
    """Return what runs a test again as it ran before: its program, or, where it had a guest of its own, itself.

    What is of a whole suite runs again with all of it, unless that never was in one guest.
    """
    suite, test = name
    payload = next((one for one in payloads if one.suite.name == suite), None)
    if payload is None:
        return None
    if payload.single:
        alone = runner.alone(test) if payload.one_by_one else ""
        able = alone or not payload.one_by_one
        return Share(payload, alone, (Turn(payload, payload.runs[0], number, alone),), number) if able else None
    if not test:
        whole = tuple(Turn(payload, one, number) for one in payload.runs)
        return Share(payload, "", whole, number) if whole and not payload.one_by_one else None
    own = next((one for one in payload.runs if f"{test}/".startswith(f"{one.name}/")), None)
    return Share(payload, own.name, (Turn(payload, own, number),), number) if own else None


def program(payloads: tuple[Payload, ...], name: Named) -> Named:
    """What runs a test again, as a test is named; what cannot run again is by itself."""
    share = find(payloads, name, 0)
    return (name[0], share.program) if share else name


def _ends(turn: Turn, seen: Seen) -> tuple[SuiteEnd, ...]:
    """How it ended; of one program of several, that it has no other tests than it showed."""
    if seen.ends or not turn.run.name or seen.outcome is not GuestOutcome.OK:
        return tuple(seen.ends)
    return (SuiteEnd(turn.suite.name, turn.repeat, Outcome.PASS, "", turn.run.name),)
