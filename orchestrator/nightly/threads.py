"""Mails in, their threads with patches out, each as a Maildir of its own, which is what a series may be."""

import contextlib
import glob
import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kvm import disk
from kvm.errors import UserError
from orchestrator.intake import choice, folder, letters, mail
from orchestrator.intake.head import Head
from orchestrator.nightly import faults

log = logging.getLogger(__name__)

_LONGEST = 80  # of a name that is shown
_FLAGS = re.compile(r"[:;!]2,")  # after a Maildir file's own name
_NAMED = re.compile(rb"^message-id:\s*(<[!-;=?-~]{1,200}>)", re.MULTILINE | re.IGNORECASE)


def in_maildir(path: Path) -> Iterator[bytes]:
    """The messages of a Maildir, but for those that are marked as deleted, or go as it is read."""
    box = folder.maildir(path) if path.is_dir() else None
    if box is None:
        raise UserError(f"{path} is no Maildir", hint="a Maildir has cur/, new/ and tmp/")
    return _read(box.files)


def _read(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        try:
            yield _content(file)
        except FileNotFoundError:
            log.warning("%s is left out: it has gone since the folder was listed", file)


def _content(file: Path) -> bytes:
    """What is in it; a mail reader may have moved it to cur/, or marked it there, since it was listed."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_bytes()
    own = glob.escape(_FLAGS.split(file.name)[0])
    return next(file.parents[1].glob(f"cur/{own}[:;!]2,*"), file).read_bytes()


def split(messages: Iterable[bytes], into: Path) -> Iterator[tuple[str, Path]]:
    """Write each thread that holds a patch as a Maildir into the directory `into`, which is made anew.

    It is named by its first message's Message-ID, so that it is the same thread when an answer comes. A mail that
    cannot be read is left out: anybody may send one.
    """
    disk.clear(into)
    known: dict[str, tuple[Head, bytes]] = {}
    for raw in messages:
        with faults.warned(f"{_called(raw)} is left out"):
            head = mail.head(letters.one(raw, "the mail"))
            known.setdefault(head.message_id, (head, raw))
    for root, names in sorted(_threads({name: head for name, (head, _) in known.items()}).items()):
        target = into / hashlib.sha256(root.encode()).hexdigest()[:12]
        for part in ("cur", "new", "tmp"):
            (target / part).mkdir(parents=True)
        for number, name in enumerate(names):
            (target / "cur" / f"{number}.kdelta").write_bytes(known[name][1])
        yield root[:_LONGEST], target


def _called(raw: bytes) -> str:
    """The Message-ID of a mail that is not read."""
    named = _NAMED.search(raw)
    return named[1].decode() if named else "a mail without a Message-ID"


def _threads(heads: dict[str, Head]) -> dict[str, list[str]]:
    """The Message-IDs of each thread with a patch, by its first one."""
    found: dict[str, list[str]] = {}
    for name, head in heads.items():
        found.setdefault(choice.root(head, heads), []).append(name)
    return {root: names for root, names in found.items() if any(_is_patch(heads[name]) for name in names)}


def _is_patch(head: Head) -> bool:
    return "PATCH" in head.tags.upper() and not head.reply
