"""Reports of both consoles in, a row for each that patched alone has out: compared as a test that fails. Pure."""

from collections.abc import Mapping

from orchestrator.judge import verdict
from orchestrator.judge.sheet import REPORT
from orchestrator.model import Change, ChangeKind, GuestRecord, Observed, Outcome


def compare(base: GuestRecord, patched: GuestRecord, suites: Mapping[str, str]) -> list[Change]:
    """Return what is new on patched's console; `suites` says, by fingerprint, under which suite a report came.

    One that came under none, as the kernel booted, cannot be run again, and has no row; nor has one that is known, or
    of which nobody can say that base does not have it.
    """
    return [
        Change(
            suite=suites[splat.fingerprint],
            name=f"{REPORT}{splat.title}",
            arch=patched.arch,
            flavour=patched.flavour,
            base=Observed(Outcome.PASS, "", (Outcome.PASS,)),
            patched=Observed(Outcome.FAIL, splat.fingerprint, (Outcome.FAIL,)),
            change=ChangeKind.REGRESSED,
            fingerprint=splat.fingerprint,
        )
        for splat in verdict.new_splats(base, patched)
        if splat.fingerprint in suites and not splat.known and not base.more_splats
    ]
