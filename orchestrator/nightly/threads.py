"""A Maildir in, its threads with patches out, each as a Maildir of its own, which is what a series may be."""

import email.header
import hashlib
import mailbox
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from kvm import disk
from kvm.errors import UserError

_PATCH = re.compile(r"\[[^\]]*\bPATCH\b", re.IGNORECASE)
_ID = re.compile(r"<[^<>\s]+>")
_LONGEST = 80  # of a name that is shown


def split(folder: Path, into: Path) -> Iterator[tuple[str, Path]]:
    """Write each thread that holds a patch as a Maildir into the directory `into`, which is made anew.

    It is named by its first message's Message-ID, so that it is the same thread when an answer comes.
    """
    if not (folder / "cur").is_dir():
        raise UserError(f"{folder} is no Maildir", hint="a Maildir has cur/, new/ and tmp/")
    disk.clear(into)
    box = mailbox.Maildir(folder, factory=None, create=False)
    for root, keys in _threads(box).items():
        target = into / hashlib.sha256(root.encode()).hexdigest()[:12]
        for part in ("cur", "new", "tmp"):
            (target / part).mkdir(parents=True)
        for key in keys:
            (target / "cur" / key).write_bytes(box.get_bytes(key))
        yield root[:_LONGEST], target


def _threads(box: mailbox.Maildir) -> dict[str, list[str]]:
    """The keys of each thread with a patch, by its first Message-ID; what is marked as deleted is left out."""
    heads: dict[str, tuple[str, Message]] = {}
    for key in sorted(box.keys()):
        message = box.get_message(key)
        if "T" not in message.get_flags():
            heads[_one(message, "Message-ID") or f"<{key}>"] = (key, message)
    found: dict[str, list[str]] = {}
    for name in heads:
        found.setdefault(_root(name, heads), []).append(name)
    return {
        root: [heads[name][0] for name in names]
        for root, names in sorted(found.items())
        if any(_PATCH.search(_subject(heads[name][1])) for name in names)
    }


def _root(name: str, heads: dict[str, tuple[str, Message]]) -> str:
    """The first message of a thread, be it there or not."""
    seen = {name}
    while name in heads:
        message = heads[name][1]
        above = _ID.findall(str(message.get("References", ""))) or _ID.findall(str(message.get("In-Reply-To", "")))
        if not above or above[0] in seen:
            break
        name = above[0]
        seen.add(name)
    return name


def _one(message: Message, header: str) -> str:
    found = _ID.search(str(message.get(header, "")))
    return found[0] if found else ""


def _subject(message: Message) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(str(message.get("Subject", "")))))
    except (LookupError, ValueError):
        return str(message.get("Subject", ""))
