"""How a guest ended: what its reports say of that, whether its results count, and whose fault it was. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.judge import reports
from orchestrator.model import Change, ChangeKind, GuestOutcome, GuestRecord, Outcome, Side, Splat

# Kinds of reports (configs/splats.yaml) that name a guest's outcome, though it goes on.
_NAMED = {
    "soft-lockup": GuestOutcome.SOFT_LOCKUP,
    "hard-lockup": GuestOutcome.HARD_LOCKUP,
    "rcu-stall": GuestOutcome.RCU_STALL,
    "hung-task": GuestOutcome.HUNG_TASK,
    "oom": GuestOutcome.OUT_OF_MEMORY,
}


def name(guest: GuestRecord) -> GuestRecord:
    """Name the outcome of a guest that lived to its end after what it reported; the first such report names it."""
    if guest.outcome is not GuestOutcome.OK:
        return guest
    for splat in guest.splats:
        if (outcome := _NAMED.get(splat.kind)) and not _of_a_cgroup(splat):
            return replace(guest, outcome=outcome, detail=f"{splat.title}; it went on", went_on=True)
    return guest


def reported(guest: GuestRecord) -> bool:
    """Did it go on after a report, which is judged as a report?"""
    return guest.went_on and guest.outcome in _NAMED.values()


def lived(guest: GuestRecord) -> bool:
    """Did it live to its end, with nothing that makes its results worth less?"""
    return guest.outcome is GuestOutcome.OK or reported(guest)


def comparable(guests: Iterable[GuestRecord]) -> Iterator[tuple[GuestRecord, GuestRecord]]:
    """Yield base's guest and patched's, of each lane whose base lived."""
    base = {(guest.arch, guest.flavour): guest for guest in guests if guest.side is Side.BASE}
    for guest in guests:
        before = base.get((guest.arch, guest.flavour))
        if guest.side is Side.PATCHED and before and lived(before):
            yield before, guest


def blamed(guest: GuestRecord, changes: Iterable[Change]) -> bool:
    """Is it the kernel that ended a guest, and, where what it took along was run again, not by chance?"""
    taken = (Outcome.CRASH, Outcome.LOST, Outcome.MISSING)
    lane = [change for change in changes if (change.arch, change.flavour) == (guest.arch, guest.flavour)]
    tried = (change for change in lane if change.evidence or change.change is ChangeKind.UNDECIDED)
    again = [change for change in tried if change.patched.outcome in taken]
    return (
        not lived(guest)
        and guest.outcome.bad
        and (not again or any(change.change is ChangeKind.REGRESSED for change in again))
    )


def seen_again(guest: GuestRecord, guests: Iterable[GuestRecord], changes: Iterable[Change]) -> bool:
    """Was a guest killed from outside, and all that it took along seen in pairs?

    What base reports is not all there then: where patched reported anything new nobody can say that base does not.
    """
    lane = guest.arch, guest.flavour
    here = [change for change in changes if (change.arch, change.flavour) == lane]
    observed = [(change, change.base if guest.side is Side.BASE else change.patched) for change in here]
    taken = [change for change, seen in observed if seen.outcome in (Outcome.LOST, Outcome.MISSING)]
    known = guest.side is Side.PATCHED or not any(
        reports.new(guest, one) for one in guests if one.side is Side.PATCHED and (one.arch, one.flavour) == lane
    )
    killed = guest.outcome is GuestOutcome.KILLED  # what breaks a connection may be the kernel, now and then
    again = all(change.change not in (ChangeKind.INFRA, ChangeKind.MISSING) for change in taken)
    return killed and known and again and any(change.evidence for change in taken)


def _of_a_cgroup(splat: Splat) -> bool:
    """A cgroup that reaches its own limit leaves the guest memory enough."""
    return "CONSTRAINT_MEMCG" in splat.text or "Memory cgroup out of memory" in splat.text
