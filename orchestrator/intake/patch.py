"""The types that the readers of a series share."""

import re
from dataclasses import dataclass

from orchestrator.model import BaseRule, Posting

TEMPLATE = "*** SUBJECT HERE ***"  # what `git format-patch` gives the author of a cover letter to fill in

_PREFIX = re.compile(r"^\s*(?:\[[^\]]*\]\s*)+")


@dataclass(frozen=True)
class Mail:
    """One patch, or the cover letter, whose `diff` is empty.

    `source` names where it was read, `body` is its message without the subject, `strip` is what `patch -p` calls so.
    `trailers` is what a cover letter says below its `---`, `posting` what an answer to it would name.
    """

    source: str
    subject: str
    author: str
    email: str
    date: str
    body: bytes
    diff: bytes
    strip: int = 1
    trailers: bytes = b""
    posting: Posting | None = None

    @property
    def title(self) -> str:
        """The subject without its [PATCH n/m]."""
        return _PREFIX.sub("", self.subject).strip()


@dataclass(frozen=True)
class Mails:
    """A series as it was read: `mails` in order, cover letter first; `notes` say what was decided or left out.

    `base_commit` is what the mails or the range, as `base_rule` says, name as the base; `prerequisites` are `git
    patch-id`s.
    """

    mails: tuple[Mail, ...]
    version: int = 1
    base_commit: str | None = None
    base_rule: BaseRule = BaseRule.TRAILER
    prerequisites: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def patches(self) -> tuple[Mail, ...]:
        """The mails that carry a diff."""
        return tuple(mail for mail in self.mails if mail.diff)
