"""What the report shows beside its tests, shaped and ordered for its tables; a side or a guest is never dropped."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from orchestrator.model import GuestOutcome, GuestRecord, Lane, Run, Side
from orchestrator.publish import digest, excerpt
from orchestrator.publish.excerpt import Excerpt, Pane, Shelf

Names = dict[Lane, str]
Find = Callable[[str], Path | None]


@dataclass(frozen=True)
class Quantity:
    """One thing that both kernels of a lane have: as words, and what patched adds; None is a side that has none."""

    lane: str
    name: str
    base: str | None
    patched: str | None
    change: str


def quantities(run: Run, names: Names) -> list[Quantity]:
    """The boot time and the image of both kernels of each lane, where a side has any."""
    rows = []
    for lane, name in names.items():
        boots = _sides(lane, {(one.side, digest.lane_of(one)): one.boot_seconds for one in run.guests})
        images = _sides(lane, {(one.side, digest.lane_of(one)): one.image_bytes for one in run.builds})
        rows += [_quantity(name, "boot", boots, ",.2f", "s"), _quantity(name, "image", images, ",", "bytes")]
    return [row for row in rows if row.base or row.patched]


def _sides(lane: Lane, known: Mapping[tuple[Side, Lane], float | None]) -> list[float | None]:
    return [known.get((side, lane)) for side in Side]


def _quantity(lane: str, name: str, sides: list[float | None], digits: str, unit: str) -> Quantity:
    base, patched = sides
    change = ""
    if base and patched is not None:
        part = (patched / base - 1) * 100
        change = f"{patched - base:+{digits}} {unit} ({part:+.2g} %)" if patched != base else "none"
    told = [None if one is None else f"{one:{digits}} {unit}" for one in sides]
    return Quantity(lane, name, told[0], told[1], change)


def consoles(run: Run, names: Names, find: Find, share: int = 1) -> dict[str, list[Pane]]:
    """The consoles of each lane, base beside patched; those of guests that did not end well get room first."""
    shelf = Shelf(excerpt.CONSOLES_ROOM // share)
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


def boots(run: Run, directory: Path) -> list[str]:
    """The commands that boot each guest again by hand; qemu.sh lies beside its console."""
    scripts = {directory / Path(guest.console).parent / "qemu.sh": None for guest in run.guests if guest.console}
    return [shlex.join([str(script)]) for script in scripts]
