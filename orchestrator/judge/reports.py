"""Reports of both consoles in, a row for each that patched alone has out: compared as a test that fails. Pure."""

from collections.abc import Mapping

from orchestrator.judge import verdict
from orchestrator.judge.sheet import REPORT
from orchestrator.model import BOOT, Change, ChangeKind, GuestRecord, Observed, Outcome


def compare(base: GuestRecord, patched: GuestRecord, suites: Mapping[str, str]) -> list[Change]:
    """Return what is new on patched's console; `suites` says, by fingerprint, under which suite a report came.

    It is "" where nobody can say; such a report cannot be run again, and has no row; nor has one that is known, or of
    which nobody can say that base does not have it. One that has no entry came as the kernel booted.
    """
    return [
        Change(
            suite=suites.get(splat.fingerprint, BOOT),
            name=f"{REPORT}{splat.title}",
            arch=patched.arch,
            flavour=patched.flavour,
            base=Observed(Outcome.PASS, "", (Outcome.PASS,)),
            patched=Observed(Outcome.FAIL, splat.fingerprint, (Outcome.FAIL,)),
            change=ChangeKind.REGRESSED,
            fingerprint=splat.fingerprint,
        )
        for splat in verdict.new_splats(base, patched)
        if suites.get(splat.fingerprint, BOOT) and not splat.known and not base.more_splats
    ]
