"""What is validated: the series, its base, whether the tree holds it already."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Patch:
    """One commit of the series; `author` is "Name <mail>", `files` are paths in the kernel tree.

    `message_id` is that of its mail, in angle brackets; "" where it came by no mail.
    """

    subject: str
    author: str
    files: tuple[str, ...]
    message_id: str = ""


@dataclass(frozen=True)
class Posting:
    """The mail that an answer to the series answers: its cover letter, or else its first patch.

    `message_id` and `references`, the mails above it, have their angle brackets; `sender` and those of To and Cc are
    "Name <mail>".
    """

    message_id: str
    subject: str
    sender: str
    recipients: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """What is to be validated; `posting` is None where it came by no mail with a Message-ID."""

    title: str
    patches: tuple[Patch, ...]
    posting: Posting | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every path that a patch touches, once, in order."""
        return tuple(sorted({file for patch in self.patches for file in patch.files}))


class BaseRule(StrEnum):
    """What found the commit that the series is applied to, the strongest rule first."""

    ASKED = "--base"
    RANGE = "commit range"
    TRAILER = "base-commit trailer"
    BLOBS = "blob hashes"
    HEAD = "HEAD"


@dataclass(frozen=True)
class Base:
    """The commit to apply the series to, what found it, how sure that is, and what else is to be said of it."""

    commit: str
    rule: BaseRule
    sure: str
    notes: tuple[str, ...] = ()


class Presence(StrEnum):
    """Is a patch in the tree already? `changed`: it was applied once, and cannot be taken out as it is."""

    ABSENT = "absent"
    PRESENT = "present"
    CHANGED = "changed"


@dataclass(frozen=True)
class InTree:
    """Whether one patch is in the tree, and the commits that brought it, as `1234567890ab ("subject")`."""

    patch: str
    presence: Presence
    commits: tuple[str, ...] = ()


@dataclass(frozen=True)
class KernelSource:
    """The tree the series was applied to; `base_commit` is a commit of kdelta's store or of the user's repository.

    `chosen` says how it was found; `reverted` that it is the tree without a series that the source holds.
    """

    source: str
    release: str
    base_commit: str
    chosen: Base | None = None
    reverted: bool = False
