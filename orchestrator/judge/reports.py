"""Reports of both consoles in, a row for each that patched alone has out: compared as a test that fails. Pure."""

from collections.abc import Mapping

from orchestrator.judge import sheet, verdict
from orchestrator.judge.sheet import Name
from orchestrator.model import BOOT, Change, ChangeKind, GuestRecord, Observed, Outcome


def compare(base: GuestRecord, patched: GuestRecord, under: Mapping[str, Name]) -> list[Change]:
    """Return what is new on patched's console; `under` says, by fingerprint, under which suite a report came, and which
    program or test of it; "" is all of the suite.

    The suite is "" where nobody can say; such a report cannot be run again, and has no row; nor has one that is known,
    or of which nobody can say that base does not have it. One that has no entry came as the kernel booted.
    """
    places = {splat.fingerprint: under.get(splat.fingerprint, (BOOT, "")) for splat in patched.splats}
    found = [
        Change(
            suite=places[splat.fingerprint][0],
            name=sheet.report(places[splat.fingerprint][1], splat.title),
            arch=patched.arch,
            flavour=patched.flavour,
            base=Observed(Outcome.PASS, "", (Outcome.PASS,)),
            patched=Observed(Outcome.FAIL, splat.fingerprint, (Outcome.FAIL,)),
            change=ChangeKind.REGRESSED,
            fingerprint=splat.fingerprint,
        )
        for splat in verdict.new_splats(base, patched)
        if places[splat.fingerprint][0] and not splat.known and not base.more_splats
    ]
    return list({(change.suite, change.name): change for change in reversed(found)}.values())[::-1]  # once by title
