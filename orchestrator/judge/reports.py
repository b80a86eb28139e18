"""Reports of both consoles in, a row for each that patched alone has out: compared as a test that fails. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.judge import sheet
from orchestrator.judge.sheet import Name
from orchestrator.model import BOOT, Change, ChangeKind, GuestRecord, Observed, Outcome, Splat


def compare(base: GuestRecord, patched: GuestRecord, under: Mapping[str, Name]) -> list[Change]:
    """Return what is new on patched's console; `under` says, by fingerprint, under which suite a report came, and which
    program or test of it; "" is all of the suite.

    One that is known has no row, nor has one of which nobody can say that base does not have it. One that has no entry
    came as the kernel booted.
    """
    places = {splat.fingerprint: under.get(splat.fingerprint, (BOOT, "")) for splat in patched.splats}
    found: dict[Name, Change] = {}
    for splat in new(base, patched):
        suite, program = places[splat.fingerprint]
        if splat.known or base.more_splats:
            continue
        name = sheet.report(program, splat.title)
        change = Change(
            suite=suite,
            name=name,
            arch=patched.arch,
            flavour=patched.flavour,
            base=Observed.once(Outcome.PASS),
            patched=Observed.once(Outcome.FAIL, splat.fingerprint),
            change=ChangeKind.REGRESSED,
            fingerprint=splat.fingerprint,
        )
        found.setdefault((suite, name), change)
    return list(found.values())


def new(base: GuestRecord, patched: GuestRecord) -> list[Splat]:
    """Return the reports that base's console does not have, without the one that says how patched ended."""
    seen, ended = {splat.identity for splat in base.splats}, None if patched.went_on else patched.outcome
    return [splat for splat in patched.splats if splat.identity not in seen and splat.kind not in ("panic", ended)]


def rows(changes: Iterable[Change], guests: Iterable[GuestRecord]) -> Iterator[tuple[Change, str]]:
    """Yield the rows of reports, with their titles; a test may bear such a name, and has no report's fingerprint."""
    known = {splat.fingerprint for guest in guests for splat in guest.splats}
    for change in changes:
        if (title := sheet.reported(change.name)) and change.fingerprint in known:
            yield change, title
