"""Mails in, their threads with patches out, each as a Maildir of its own, which is what a series may be."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from kvm import disk
from kvm.errors import UserError
from orchestrator.intake import choice, folder, letters, mail
from orchestrator.intake.head import Head

_LONGEST = 80  # of a name that is shown


def in_maildir(path: Path) -> Iterator[bytes]:
    """The messages of a Maildir, but for those that are marked as deleted."""
    box = folder.maildir(path) if path.is_dir() else None
    if box is None:
        raise UserError(f"{path} is no Maildir", hint="a Maildir has cur/, new/ and tmp/")
    return (file.read_bytes() for file in box.files)


def split(messages: Iterable[bytes], into: Path) -> Iterator[tuple[str, Path]]:
    """Write each thread that holds a patch as a Maildir into the directory `into`, which is made anew.

    It is named by its first message's Message-ID, so that it is the same thread when an answer comes.
    """
    disk.clear(into)
    known: dict[str, tuple[Head, bytes]] = {}
    for raw in messages:
        head = mail.head(letters.one(raw, "a mail"))
        known.setdefault(head.message_id, (head, raw))
    for root, names in sorted(_threads({name: head for name, (head, _) in known.items()}).items()):
        target = into / hashlib.sha256(root.encode()).hexdigest()[:12]
        for part in ("cur", "new", "tmp"):
            (target / part).mkdir(parents=True)
        for number, name in enumerate(names):
            (target / "cur" / f"{number}.kdelta").write_bytes(known[name][1])
        yield root[:_LONGEST], target


def _threads(heads: dict[str, Head]) -> dict[str, list[str]]:
    """The Message-IDs of each thread with a patch, by its first one."""
    found: dict[str, list[str]] = {}
    for name, head in heads.items():
        found.setdefault(choice.root(head, heads), []).append(name)
    return {root: names for root, names in found.items() if any(_is_patch(heads[name]) for name in names)}


def _is_patch(head: Head) -> bool:
    return "PATCH" in head.tags.upper() and not head.reply
