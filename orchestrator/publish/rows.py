"""What the report shows beside its tests, shaped and ordered for its tables; a side or a guest is never dropped."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from orchestrator.model import GuestOutcome, GuestRecord, Lane, Run, Side
from orchestrator.publish import excerpt
from orchestrator.publish.excerpt import Excerpt, Pane, Shelf

Names = dict[Lane, str]
Find = Callable[[str], Path | None]


@dataclass(frozen=True)
class Bar:
    """One task on a time axis of 0 to 1000; `side` is empty where the task serves both."""

    task: str
    start: float
    seconds: float
    x: float
    width: float
    side: str


def consoles(run: Run, names: Names, find: Find) -> dict[str, list[Pane]]:
    """The consoles of each lane, base beside patched; those of guests that did not end well get room first."""
    shelf = Shelf(excerpt.CONSOLES_ROOM)
    troubled_first = sorted(run.guests, key=lambda guest: guest.outcome is GuestOutcome.OK)
    held = {guest: shelf.hold(excerpt.console(find(guest.console))) for guest in troubled_first}
    shown = {name: _lane_consoles(run, lane, name, held) for lane, name in names.items()}
    return {name: panes for name, panes in shown.items() if panes}


def _lane_consoles(run: Run, lane: Lane, name: str, held: dict[GuestRecord, Excerpt]) -> list[Pane]:
    here = [guest for guest in run.guests if (guest.arch, guest.flavour) == lane]
    base, patched = ([guest for guest in here if guest.side is side] for side in Side)
    return [
        _console(f"{side} {name}", guest, other, held)
        for couple in zip_longest(base, patched)
        for side, guest, other in ((Side.BASE, *couple), (Side.PATCHED, *couple[::-1]))
    ]


def _console(
    title: str, guest: GuestRecord | None, other: GuestRecord | None, held: dict[GuestRecord, Excerpt]
) -> Pane:
    if guest is None:
        return Pane(title, "no guest", ())
    compared = held[other] if other else None
    return excerpt.pane(f"{title}: {guest.outcome}", held[guest], compared, excerpt.same_message)


def bars(run: Run) -> list[Bar]:
    """The timeline, earliest first."""
    reach = max((entry.end for entry in run.timeline), default=0.0) or 1.0
    return [
        Bar(
            task=entry.task,
            start=entry.start,
            seconds=entry.end - entry.start,
            x=entry.start / reach * 1000,
            width=max(2.0, (entry.end - entry.start) / reach * 1000),
            side=next((side for side in Side if side in entry.task), ""),
        )
        for entry in sorted(run.timeline, key=lambda entry: (entry.start, entry.end, entry.task))
    ]


def boots(run: Run, directory: Path) -> list[str]:
    """The commands that boot each guest again by hand; qemu.sh lies beside its console."""
    scripts = {directory / Path(guest.console).parent / "qemu.sh": None for guest in run.guests if guest.console}
    return [shlex.join([str(script)]) for script in scripts]
