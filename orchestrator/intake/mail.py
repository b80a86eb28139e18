"""A series in any form in, its mails out: files, mailboxes, directories, quilt, commits of a repository, lore."""

import email.utils
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from kvm import proc
from kvm.errors import EXHAUSTED, UserError
from orchestrator import listing
from orchestrator.intake import choice, folder, git, letters, lore, quilt, revisions
from orchestrator.intake.choice import Choice
from orchestrator.intake.folder import Folder, natural
from orchestrator.intake.head import Head
from orchestrator.intake.letters import Letter
from orchestrator.intake.patch import Mail, Mails
from orchestrator.model import Posting

FORMS = (
    "a mailbox, a patch file, a directory of patches, a Maildir or MH folder, a quilt directory, - for standard input, "
    "A..B or a branch of the kernel's git repository, a Message-ID, or a lore.kernel.org URL"
)
_SUFFIXES = (".patch", ".mbox", ".mbx", ".eml", ".diff")
_PACKED = ("", ".gz", ".xz", ".bz2")
_BASE = re.compile(rb"^base-commit: ([0-9a-f]{12,64})\b", re.MULTILINE)
_PREREQUISITE = re.compile(rb"^prerequisite-patch-id: ([0-9a-f]{40,64})\b", re.MULTILINE)
_ONLY_IN = re.compile(rb"^Only in [^\s:]+: [^\s/]+$", re.MULTILINE)  # `diff -r` without -N
_READERS = 4  # git mailinfo is one process for each message


class Kind(StrEnum):
    """What a spec names."""

    PATH = "path"
    STDIN = "stdin"
    LORE = "lore"
    REVISIONS = "revisions"


def kind(spec: str | Path) -> Kind:
    """Say what `spec` is: a path that exists, `-`, a URL or Message-ID, or else commits; the first that fits."""
    if isinstance(spec, Path) or _exists(spec):
        return Kind.PATH
    if spec == "-":
        return Kind.STDIN
    if lore.message_id(spec):
        return Kind.LORE
    return Kind.REVISIONS


def read(spec: str | Path, *, repository: Path | None = None, base: str | None = None) -> Mails:
    """Read the series that `spec` names, in order, cover letter first. Raises UserError for what is wrong with it.

    Commits are those of `repository`; a branch's series starts at `base` (see revisions.read). What stands on standard
    input is the caller's to read: see `read_bytes`.
    """
    match kind(spec):
        case Kind.PATH:
            return _path(Path(spec))
        case Kind.LORE if repository is None or not revisions.known(str(spec), repository):
            return _fetched(str(spec))
        case Kind.LORE | Kind.REVISIONS if repository is not None:
            return revisions.read(str(spec), repository, base)
        case Kind.STDIN:
            raise UserError("`-` is not a file", hint="its bytes are read where the command starts")
        case _:
            raise UserError(f"no such series: {spec}", hint=f"give {FORMS}")


def read_bytes(content: bytes, name: str) -> Mails:
    """Read the series in one file's bytes: an mbox, one mail, or a diff; `name` is what messages call it."""
    parts = letters.pile(letters.expand(content))
    if len(parts) > 1:
        return _pile(parts, name)
    found = letters.split(parts[0], name)
    if not found:
        raise UserError(f"{name} is empty", hint="a directory without files is an empty series, an empty file is not")
    bare = [letter for letter in found if not letter.mail and letter.has_diff]
    if bare and len(found) == 1:
        return _result([quilt.mail(bare[0])], Choice((0,), 1))
    found = [letter for letter in found if letter.mail]
    if not any(letter.has_diff for letter in found):
        raise UserError(f"{name} holds no patch", hint=letters.unread(content))
    heads = [head(letter) for letter in found]
    if len(found) == 1:
        chosen = Choice((0,), heads[0].version[0], _alone(heads[0]))
    else:
        chosen = _checked(choice.from_thread(heads), name)
    return _read(found, chosen)


def _pile(parts: Sequence[bytes], name: str) -> Mails:
    """Read patches that stand one below the other in one file: as they stand there, whatever their numbers say."""
    if letters.SHOWN.match(parts[0]):
        raise UserError(
            f"{name} holds {len(parts)} commits as `git log -p` prints them, the newest first or last",
            hint="`git format-patch --stdout A..B` gives their order",
        )
    ready = _each([letters.one(part, f"{name}, patch {number}") for number, part in enumerate(parts, 1)])
    note = f"{len(parts)} patches stand one below the other in {name}; they are taken in that order"
    return _result(ready, Choice((), 1, (note,)))


def _path(path: Path) -> Mails:
    try:
        if path.is_dir():
            return _directory(path)
        if path.name == "series" and quilt.is_series(path):
            return _quilt(path)
        return read_bytes(_content(path), path.name)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        raise UserError(f"no such series: {error.filename or path} ({error.strerror})", hint=f"give {FORMS}") from error


def _directory(path: Path) -> Mails:
    if found := folder.maildir(path):
        return _folder(path, found)
    if (path / "series").is_file():
        return _quilt(path / "series")
    files = [entry for entry in path.iterdir() if _is_patch(entry.name) and not entry.is_dir()]
    if part := quilt.part(path):
        return _part(part, files)
    if not files and (found := folder.mh(path)):
        return _folder(path, found)
    if not files and any(path.iterdir()):
        raise UserError(f"{path} holds no patch", hint=_elsewhere(path))
    return _files(files, path)


def _files(files: Iterable[Path], path: Path) -> Mails:
    """Read the patch files of the directory `path`."""
    found, empty = [], []
    for file in sorted(files, key=lambda file: natural(file.name)):
        parts = letters.split(_content(file), file.name)
        if not parts:
            empty.append(file.name)
        found += parts
    heads = [head(letter) for letter in [*found, *(_nothing(name) for name in empty)]]
    heads = [replace(head, subject=_numbered(head, heads)) for head in heads]
    chosen = choice.from_directory(heads)
    if found and not any(place < len(found) and found[place].has_diff for place in chosen.order):
        raise UserError(f"{path} holds no patch", hint="its files have no diff, or quote it line by line")
    notes = tuple(f"{name} is empty and left out" for name in empty)
    notes += _left_out(found, heads, path)
    order = tuple(place for place in chosen.order if place < len(found))
    return _read(found, replace(chosen, order=order, notes=(*chosen.notes, *notes)))


def _left_out(found: Sequence[Letter], heads: Sequence[Head], path: Path) -> tuple[str, ...]:
    """Name the files in which there is no patch, no cover letter and no answer, which may hold anything.

    Raises UserError for one that may be a patch in a form that is not read: it would be missed.
    """
    both = list(zip(found, heads, strict=False))  # below the heads are those of empty files
    others = [letter for letter, its in both if not (letter.has_diff or its.number or its.reply)]
    for letter in others:
        if why := letters.foreign(letter.raw):
            raise UserError(f"{path / letter.source} is no patch that can be read: {why}")
    known = {letter.source for letter in found if letter not in others}
    names = dict.fromkeys(letter.source for letter in others if letter.source not in known)
    return tuple(f"{name} has no diff and is left out" for name in names)


def _elsewhere(path: Path) -> str:
    queue = next((path / name for name in ("patches", "debian/patches") if (path / name / "series").is_file()), None)
    if queue:
        return f"{queue} is a quilt directory: give that"
    if names := folder.inside(path):
        return _inner(names)
    return f"patch files end in {', '.join(_SUFFIXES)}, or .gz after it"


def _nothing(name: str) -> Letter:
    """What `git format-patch` writes for a commit without changes: a file with nothing in it."""
    return replace(letters.one(b"", name), mail=True)


def _numbered(head: Head, heads: Sequence[Head]) -> str:
    """Give an empty file the number that its name says, so that the commit it stands for is not missed."""
    found = re.match(r"(?:v(\d{1,4})-)?(\d{4})-", head.source)
    totals = {other.number[1] for other in heads if other.number}
    if head.has_diff or head.subject or not found or len(totals) != 1:
        return head.subject
    return f"[PATCH {f'v{found[1]} ' if found[1] else ''}{int(found[2])}/{totals.pop()}]"


def _folder(path: Path, box: Folder) -> Mails:
    """Read a mail folder, in which much else may stand."""
    found = [letter for file in box.files for letter in letters.split(_content(file), file.name) if letter.mail]
    if not any(letter.has_diff for letter in found):
        raise UserError(f"{path} holds no patch", hint=_inner(box.inner) or "no message of the folder carries a diff")
    chosen = _checked(choice.from_thread([head(letter) for letter in found]), path.name)
    return _read(found, replace(chosen, notes=(*chosen.notes, *box.notes, *box.unread)))


def _inner(names: Sequence[str]) -> str:
    return f"it has folders, which are not looked at: {', '.join(names[:5])}; give one of them" if names else ""


def _quilt(series: Path) -> Mails:
    """Read what a quilt series lists."""
    return _listed(quilt.read(series), ())


def _part(part: quilt.Part, files: Iterable[Path]) -> Mails:
    """Read the part of a quilt series that is in one directory; `files` are the patches right in it."""
    others = f"{part.before} other {'patch' if part.before == 1 else 'patches'}"
    before = f", which lists {others} before the last of these" if part.before else ""
    listed = {entry.file.resolve() for entry in part.entries}
    rest = sorted((file.name for file in files if file.resolve() not in listed), key=natural)
    left = (f"not listed there and left out: {', '.join(rest)}",) if rest else ()
    return _listed(part.entries, (f"the order is that of {part.series}{before}", *left))


def _listed(entries: Sequence[quilt.Entry], notes: tuple[str, ...]) -> Mails:
    mails = _each([letters.one(_content(entry.file), entry.name) for entry in entries])
    ready = [replace(one, strip=entry.strip) for entry, one in zip(entries, mails, strict=True)]
    return _result(ready, Choice((), 1, notes))


def _each(found: Sequence[Letter]) -> list[Mail]:
    """Read each letter as one patch; nothing is left out and nothing sorted."""
    mails = _mails(found)
    for one in mails:
        if not one.diff:
            raise UserError(f"{one.source} holds no diff")
    return mails


def _fetched(spec: str) -> Mails:
    with tempfile.TemporaryDirectory(prefix="kdelta-lore-") as scratch:
        found = [letter for file in lore.fetch(spec, Path(scratch)) for letter in letters.split(_content(file), spec)]
    if not any(letter.has_diff for letter in found):
        raise UserError(f"{spec}: the thread holds no patch")
    return _read(found, _checked(choice.from_thread([head(letter) for letter in found]), spec))


_ZERO = "give the patch a number in its subject: [PATCH 1/1]"


def _read(found: Sequence[Letter], chosen: Choice) -> Mails:
    """Read the chosen messages by git; a number without a diff is a commit without changes, or a damaged message."""
    taken = [found[place] for place in chosen.order]
    mails, notes, zero = [], list(chosen.notes), list[str]()
    for letter, one in zip(taken, _mails(taken), strict=True):
        number = head(letter).number
        if one.diff or (number and number[0] == 0):
            mails.append(one)
            if letter.has_diff and not one.diff:
                zero.append(one.subject)
        elif letter.exact:
            notes.append(f"{one.subject!r} changes nothing and is left out")
        else:
            raise UserError(f"{letter.source}: {one.subject!r} carries no diff", hint="is the message whole?")
    if zero and not any(one.diff for one in mails):
        raise UserError(f"{zero[0]!r} is numbered 0, as a cover letter is, and holds the only diff", hint=_ZERO)
    notes += [f"{subject!r} is numbered 0, as a cover letter is: its diff is left out" for subject in zero]
    return _result(mails, replace(chosen, notes=tuple(notes)))


def _mails(found: Sequence[Letter]) -> list[Mail]:
    with tempfile.TemporaryDirectory(prefix="kdelta-mail-") as scratch, ThreadPoolExecutor(_READERS) as pool:
        rooms = [Path(scratch) / str(number) for number in range(len(found))]
        return list(pool.map(_mail, found, rooms))


def _mail(letter: Letter, room: Path) -> Mail:
    if not letter.mail:
        return quilt.mail(letter)
    body, diff = room.with_suffix(".body"), room.with_suffix(".diff")
    # no --encoding=UTF-8, although that is the default: git 2.39 takes it as a wish not to convert at all
    scissors = "--no-scissors" if letter.exact else "--scissors"
    done = git.alone("mailinfo", "-k", scissors, "--quoted-cr=nowarn", body, diff, input=letter.raw)
    if done.returncode:
        raise UserError(f"{letter.source}: git mailinfo cannot read the message: {done.output.strip()[-200:]}")
    # an in-body From: or Subject: comes first, what it replaces after it
    fields = dict(reversed(re.findall(r"^(Author|Email|Subject|Date): (.*)$", done.output, re.MULTILINE)))
    text, patch = body.read_bytes(), diff.read_bytes()
    cover = (head(letter).number or (1, 1))[0] == 0 or not letters.DIFF.search(patch)
    return Mail(
        source=letter.source,
        subject=fields.get("Subject") or letter.header("Subject") or "(no subject)",
        author=fields.get("Author") or quilt.NOBODY,
        email=fields.get("Email", "") if fields.get("Author") else quilt.NOWHERE,
        date=fields.get("Date", ""),
        body=text,
        diff=b"" if cover else letters.ended(patch),
        strip=letters.strip(patch),
        trailers=patch if cover else b"",
        posting=_posting(letter),
    )


def _posting(letter: Letter) -> Posting | None:
    """What an answer names; None without a Message-ID that could be named."""
    own = re.fullmatch(r"<[!-;=?-~]+@[!-;=?-~]+>", letter.header("Message-ID"))
    if not own:
        return None
    sender, *others = (email.utils.getaddresses([letter.header(name)]) for name in ("From", "To", "Cc"))
    recipients = dict.fromkeys(_named(one) for some in others for one in some if "@" in one[1])
    return Posting(
        message_id=own[0],
        subject=letter.header("Subject"),
        sender=_named(sender[0]) if sender else "",
        recipients=tuple(recipients),
        references=tuple(reversed(head(letter).parents)),
    )


def _named(pair: tuple[str, str]) -> str:
    name, address = pair
    return f"{name} <{address}>" if name else address


def _result(mails: Sequence[Mail], chosen: Choice) -> Mails:
    said = [one.body + b"\n" + one.diff + b"\n" + one.trailers for one in mails]
    bases = [found[1].decode() for text in said if (found := _BASE.search(text))]
    prerequisites = [name.decode() for text in said for name in _PREREQUISITE.findall(text)]
    return Mails(
        tuple(mails),
        chosen.version,
        base_commit=bases[0] if bases else None,
        prerequisites=tuple(dict.fromkeys(prerequisites)),
        notes=(*chosen.notes, *_differing(bases), *_unsaid(mails)),
    )


def _unsaid(mails: Iterable[Mail]) -> Iterable[str]:
    """Note the files that `diff -r` names and does not show."""
    for one in mails:
        if lines := _ONLY_IN.findall(one.body + b"\n" + one.diff):
            named = listing.first([repr(line.decode("utf-8", "replace")) for line in lines], 1)
            yield f"{one.source}: {named}: not in the diff, and left out; `diff -N` shows new files"


def _differing(bases: Iterable[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(bases))
    return (f"the mails name {len(names)} base commits; the first is used",) if len(names) > 1 else ()


def head(letter: Letter) -> Head:
    """What a letter's headers say of its place in a series, and of its thread."""
    parents = re.findall(r"<[^<>\s]+>", letter.header("In-Reply-To"))
    references = re.findall(r"<[^<>\s]+>", letter.header("References"))
    subject = letter.header("Subject")
    own = letter.header("Message-ID") or _fingerprint(letter)
    above = tuple(dict.fromkeys([*parents[:1], *reversed(references)]))
    return Head(letter.source, subject, own, above, letter.has_diff)


def _fingerprint(letter: Letter) -> str:
    """Name a message that has no Message-ID by what is the same in all copies of it."""
    said = "\n".join(letter.header(name) for name in ("From", "Date", "Subject")) if letter.mail else ""
    return hashlib.sha256(said.encode() + b"\n" + letter.text).hexdigest()


def _alone(head: Head) -> tuple[str, ...]:
    """A single message that was asked for is taken, whatever its number says, and that is said."""
    n, m = head.number or (1, 1)
    return (f"only patch {n} of {m} was given",) if m > 1 else ()


def _checked(chosen: Choice, name: str) -> Choice:
    if not chosen.order:
        raise UserError(f"{name} holds no patch")
    return chosen


def _content(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe may wait for its writer for ever
    try:
        os.set_blocking(handle, True)
        return letters.expand(proc.read(handle, letters.MAX_BYTES + 1))
    finally:
        os.close(handle)


def _exists(spec: str) -> bool:
    try:
        return Path(spec).exists()
    except (OSError, ValueError):  # too long, or a NUL in it
        return False


def _is_patch(name: str) -> bool:
    return any(name.endswith(suffix + packed) for suffix in _SUFFIXES for packed in _PACKED)
