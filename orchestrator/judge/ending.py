"""What a guest's reports say of it, beside how it ended. Pure."""

from dataclasses import replace

from orchestrator.model import GuestOutcome, GuestRecord, Splat

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


def _of_a_cgroup(splat: Splat) -> bool:
    """A cgroup that reaches its own limit leaves the guest memory enough."""
    return "CONSTRAINT_MEMCG" in splat.text or "Memory cgroup out of memory" in splat.text
