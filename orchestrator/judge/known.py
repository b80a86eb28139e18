"""Which reports are known and do not count against a series. Pure: that no entry has expired is seen to elsewhere."""

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.model import GuestRecord, Known, KnownSplat, Splat


def mark(guest: GuestRecord, entries: Iterable[KnownSplat]) -> GuestRecord:
    """Say of each report of a guest whether it is known; the first entry that matches says why."""
    here = [entry for entry in entries if entry.arch in (None, guest.arch)]
    return replace(guest, splats=tuple(replace(splat, known=_why(splat, here)) for splat in guest.splats))


def _why(splat: Splat, entries: Iterable[KnownSplat]) -> Known | None:
    for entry in entries:
        if _matches(entry, splat):
            return Known(entry.reason, entry.link, entry.expiry.isoformat())
    return None


def _matches(entry: KnownSplat, splat: Splat) -> bool:
    return (
        entry.kind in (None, splat.kind)
        and entry.fingerprint in (None, splat.fingerprint)
        and (entry.title is None or entry.title.fullmatch(splat.title) is not None)
    )
