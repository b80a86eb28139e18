"""What the subject and the headers of a message say about its place in a series."""

import functools
import re
from dataclasses import dataclass

_REPLY = re.compile(r"\s*(?:re|aw|antw|sv|fwd?|wg)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
_BRACKETS = re.compile(r"\s*(?:\[[^\]]*\]\s*)*")
_VERSION = re.compile(r"(?:^|[\s,\[]|(?:PATCH|RFC)[-_]?)v(\d{1,4})(?:\.(\d{1,4}))?(?=[\s,\]]|$)", re.IGNORECASE)
_NUMBER = re.compile(r"(?:^|[\s,\[]|PATCH)(\d{1,4})(?: ?/ ?| of )0*([1-9]\d{0,3})(?=[\s,\]]|$)", re.IGNORECASE)
_RESEND = re.compile(r"\b(RESEND|REPOST|REBASED)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Head:
    """What the choice depends on; `parents` are the Message-IDs of In-Reply-To and References, nearest first."""

    source: str
    subject: str
    message_id: str
    parents: tuple[str, ...]
    has_diff: bool

    @functools.cached_property
    def reply(self) -> bool:
        """Is it somebody's answer to a patch?"""
        return bool(_REPLY.match(self.subject))

    @functools.cached_property
    def tags(self) -> str:
        """What stands in the brackets before the title; a second [PATCH ...] is part of the title."""
        start = _BRACKETS.match(_REPLY.sub("", self.subject, count=1))
        groups = re.findall(r"\[[^\]]*\]", start[0]) if start else []
        marks = [place for place, group in enumerate(groups) if "PATCH" in group.upper()]
        if marks and _NUMBER.search(groups[marks[0]]):
            return " ".join(groups[: marks[0] + 1])
        return " ".join(groups[: marks[1]] if len(marks) > 1 else groups)

    @functools.cached_property
    def title(self) -> str:
        """The subject without brackets and `Re:`."""
        return _BRACKETS.sub("", _REPLY.sub("", self.subject, count=1), count=1).strip()

    @functools.cached_property
    def number(self) -> tuple[int, int] | None:
        """The n and m of [PATCH n/m]."""
        found = _NUMBER.search(self.tags)
        return (int(found[1]), int(found[2])) if found else None

    @functools.cached_property
    def version(self) -> tuple[int, int]:
        """The v of [PATCH v3], and how often it was sent again; the first is v1, which nobody writes.

        The v4.19 of [PATCH v4.19] is a kernel's, as far as the subject tells; see `revises`.
        """
        found = _VERSION.search(self.tags)
        return int(found[1]) if found and not found[2] else 1, len(_RESEND.findall(self.tags))

    @functools.cached_property
    def revises(self) -> tuple[int, int] | None:
        """The 2 and the 1 of [PATCH v2.1], which may replace a patch of v2."""
        found = _VERSION.search(self.tags)
        return (int(found[1]), int(found[2])) if found and found[2] else None
