"""Of guests: how they ended, and what their kernels newly report."""

from collections.abc import Iterable, Sequence

from orchestrator.judge import ending, reports
from orchestrator.judge.reasons.reason import Reason
from orchestrator.model import BuildRecord, Change, GuestRecord, VerdictValue


def of_guests(guests: Sequence[GuestRecord], changes: Sequence[Change]) -> Iterable[Reason]:
    """How guests ended, and, where base lived, what patched's newly reports, and what it could not."""
    told = {(change.arch, change.flavour, title) for change, title in reports.rows(changes, guests)}
    compared = {guest: before for before, guest in ending.comparable(guests)}
    for guest in guests:
        name, before = f"{guest.side}/{guest.arch}-{guest.flavour}", compared.get(guest)
        if not ending.lived(guest):
            yield _of_death(name, guest, guests, changes, base_ok=before is not None)
        if before:
            yield from _of_splats(name, before, guest, told)
            if off := sorted({*guest.off} - {*before.off}):
                yield VerdictValue.INCONCLUSIVE, f"{name}: {', '.join(off)} was off before the end, and base's was not"


def _of_death(
    name: str, guest: GuestRecord, guests: Sequence[GuestRecord], changes: Sequence[Change], *, base_ok: bool
) -> Reason:
    """What the end of a guest comes to: base's own comes to no more than that nothing can be compared."""
    end = f"{name}: {_end(guest)}"
    if ending.seen_again(guest, guests, changes):
        return VerdictValue.CLEAN, f"{end}; what it took along was seen when run again"
    if base_ok and ending.blamed(guest, changes):
        return VerdictValue.REGRESSED, end
    chance = base_ok and guest.outcome.bad
    return VerdictValue.INCONCLUSIVE, f"{end}{'; not against chance when run again' if chance else ''}"


def _end(guest: GuestRecord) -> str:
    said = guest.detail.removeprefix(f"{guest.outcome}: ")
    return f"{guest.outcome}: {said}"


def _of_splats(
    name: str, base: GuestRecord, patched: GuestRecord, told: Iterable[tuple[str, str, str]]
) -> Iterable[Reason]:
    """A report that base does not have; of a base that has more than were kept nobody knows what it does not have.

    Those that are `told` have rows of their own: they were run again.
    """
    for splat in reports.new(base, patched):
        if (patched.arch, patched.flavour, splat.title) in told:
            continue
        if splat.known:
            words = f"{name}: known {splat.kind} on the console: {splat.title}"
            yield VerdictValue.CLEAN, f"{words} ({splat.known.reason}, {splat.known.discussed})"
        elif base.more_splats:
            words = f"{name}: {splat.kind} on the console: {splat.title}: may be among {base.more_splats} more of base"
            yield VerdictValue.INCONCLUSIVE, words
        else:
            yield VerdictValue.REGRESSED, f"{name}: new {splat.kind} on the console: {splat.title}"
    if patched.more_splats:
        words = f"{name}: {patched.more_splats} more reports on the console than are kept and compared"
        yield VerdictValue.INCONCLUSIVE, words


def of_unseen(
    builds: Sequence[BuildRecord], guests: Sequence[GuestRecord], changes: Sequence[Change]
) -> Iterable[Reason]:
    """Nothing is good because nobody looked."""
    if not builds and not guests and not changes:
        yield VerdictValue.INCONCLUSIVE, "nothing was built"
    noop = {(build.arch, build.flavour) for build in builds if build.noop}
    seen = {(guest.side, guest.arch, guest.flavour) for guest in guests}
    for build in builds:
        lane = (build.arch, build.flavour)
        if not build.error and lane not in noop and (build.side, *lane) not in seen:
            yield VerdictValue.INCONCLUSIVE, f"{build.side}/{build.arch}-{build.flavour} was not booted"
