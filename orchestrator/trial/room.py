"""Which file systems of a guest are full: a test that failed there failed for want of room. Pure."""

import re

from kvm.root import WHERE

LISTING = "cat /proc/mounts; df -Pk"  # for a shell in the guest
_WRITABLE = re.compile(r"^\S+ (\S+) (?!hugetlbfs )\S+ rw\b", re.MULTILINE)  # of huge pages none need be left
_FULL = re.compile(r" 0 +100% (/.*)$", re.MULTILINE)


def full(listing: bytes) -> list[str]:
    """Read what LISTING printed: where programs could write and no room is left, by the names that they know."""
    text = listing.decode("utf-8", "replace")
    writable = set(_WRITABLE.findall(text))
    where = (name.removeprefix(WHERE) or "/" for name in _FULL.findall(text) if name in writable)
    return list(dict.fromkeys(where))
