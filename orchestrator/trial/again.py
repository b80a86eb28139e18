"""A suite, or one test of it, once more, in a guest for a person."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kvm.errors import GuestLost, UserError
from kvm.guest import CommandResult, Guest
from kvm.snapshot import Kept, Take
from kvm.state import STATE
from orchestrator.trial import prepare, runner
from orchestrator.trial.seen import Seen
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.trial import Trial
from orchestrator.trial.turn import Turn, listing, start


def find(trial: Trial, name: str) -> Turn:
    """Read SUITE or SUITE/TEST, as the report says it."""
    suite, _, test = name.partition("/")
    known = {payload.suite.name: payload for payload in trial.payloads}
    if suite not in known:
        raise UserError(f"the run has no suite {suite!r}", hint=f"it has {', '.join(known)}")
    payload = known[suite]
    return Turn(payload, payload.runs[0], 0, runner.alone(test)) if payload.single else _several(payload, test)


def _several(payload: Payload, test: str) -> Turn:
    for run in payload.runs:
        if f"{test}/".startswith(f"{run.name}/"):
            return Turn(payload, run, 0)
    names = ", ".join(run.name for run in payload.runs)
    raise UserError(f"the suite {payload.suite.name} has no program for {test!r}", hint=f"it has {names}")


def kept(trial: Trial, name: str, cell: Path) -> Path | None:
    """Where the guest in which SUITE or SUITE/TEST failed is kept, below the directory of its cell."""
    turn = find(trial, name)
    places = (runner.kept_at(cell, one) for one in (turn, replace(turn, test="")))  # alone, or with its program
    return next((place for place in places if (place / STATE).is_file()), None)


def enact(trial: Trial, take: Take, name: str, then: Callable[[Guest, CommandResult], None], *, tries: int = 1) -> None:
    """Run SUITE or SUITE/TEST in a guest as pristine as in a run, and have `then` that guest as the program left it.

    A test runs alone where the program lists it, as one with `isolation: test` must; else the program runs whole. What
    fails now and then is run in `tries` guests at most, one after the other, until that fails.
    """
    turn, where, limits = find(trial, name), trial.directory, trial.limits
    with _booted(trial, take) as kept:
        if turn.test and not _lists(trial, kept, turn):
            turn = replace(turn, test="")
        for number in range(1, tries + 1):
            seen = Seen()
            with kept.restore(workdir=where / "again", limits=limits) as guest:
                done = start(turn, guest, limits, where, seen)
                if number == tries or _failed(seen, name):
                    then(guest, done)
                    return


@contextlib.contextmanager
def pristine(trial: Trial, take: Take) -> Iterator[Guest]:
    """Lend a guest as pristine as in a run, with the programs of all suites."""
    with _booted(trial, take) as kept, kept.restore(workdir=trial.directory / "again", limits=trial.limits) as guest:
        yield guest


def _booted(trial: Trial, take: Take) -> contextlib.AbstractContextManager[Kept]:
    ready = functools.partial(prepare.guest, replace(trial, counts=False))  # a run's readings stay
    return take(trial.machine, workdir=trial.directory, limits=trial.limits, prepare=ready)


def _failed(seen: Seen, name: str) -> bool:
    """Did the test fail, or, where its program says nothing of it, anything?"""
    own = [result.outcome.bad for result in seen.results if f"{result.suite}/{result.name}" == name]
    return any(own) if own else seen.bad


def _lists(trial: Trial, kept: Kept, turn: Turn) -> bool:
    """Ask the program in another guest, for one that knows no --list may do anything."""
    limits = trial.limits
    try:
        with kept.restore(workdir=trial.directory / "list", limits=limits) as guest:
            done = listing(turn, guest, limits)
    except GuestLost:
        return False
    return turn.test in done.stdout.decode("utf-8", "replace").split()
