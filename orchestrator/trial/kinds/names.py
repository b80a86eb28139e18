"""A test's description in, the name it is compared by out: the same test has it on every kernel and in every run."""

import re

MAX_CHARS = 300

_DASHES = re.compile(r"(?:-(?:\s+|$))*")  # a possessive group matches too much in Python 3.11.2
_COUNT = re.compile(r"(?:#[0-9]{1,9}[.:)]?|[0-9]{1,9}[.:)])\s+(?=\S)")
_POINTER = re.compile(
    r"\b0x(?:ffff(?!f{12})[0-9a-f]{12}|(?:0000)?(?:7f|5[56])[0-9a-f]{10}|0{0,4}aaaa[0-9a-f]{8})\b", re.I
)
_COUNTS = frozenset("#0123456789")
_PID = re.compile(r"\b(pid|tid|tgid)([ =:]{1,2})[0-9]{1,9}\b", re.I)
_TEMPORARY = re.compile(
    r"((?:/tmp|/var/tmp|/dev/shm)/(?:[\w-]{1,64}[./])*?(?:tmp|[\w-]{1,64}\.))"
    r"(?=[a-z]*[A-Z0-9])(?=[A-Z0-9]*[a-z])[A-Za-z0-9_]{6,10}(?![\w.])"
)


def stable(description: str) -> str:
    """Return the name: without what counts tests, and `*` for what is plainly of this run alone.

    A count is a number in front with a hash before or `.`, `:`, `)` behind. Of this run alone are a pointer (a user
    or kernel address by its leading digits, not just any hexadecimal number), the number after `pid`, `tid` or
    `tgid`, and the random end of a name in a directory of temporary files. All else is left as it is.
    """
    name = description.strip()
    if name[:1] == "-":
        name = _DASHES.sub("", name, count=1)
    if name[:1] in _COUNTS:
        name = _COUNT.sub("", name, count=1)
    if len(name) > MAX_CHARS:
        name = f"{name[:MAX_CHARS]}..."
    if "0x" in name or "0X" in name:
        name = _POINTER.sub("0x*", name)
    if "id" in name or "ID" in name:
        name = _PID.sub(r"\1\2*", name)
    if "/" in name:
        name = _TEMPORARY.sub(r"\1*", name)
    return name
