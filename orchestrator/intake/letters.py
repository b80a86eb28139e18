"""Bytes in, single messages out: an mbox is split, attached mails are taken out, line ends and MIME parts straightened.

git does the reading (mailsplit here, mailinfo in mail.py). What it was seen to get wrong is mended before it: HTML
beside the text, multiparts in multiparts, a whole mail as an attachment, CRLF inside an encoded body.
"""

import bz2
import contextlib
import email.header
import email.message
import email.parser
import gzip
import io
import lzma
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from kvm.errors import UserError
from orchestrator.intake import git, patchtext

Message: TypeAlias = "email.message.Message[Any, Any]"

MAX_BYTES = 256 * 1024 * 1024  # a thread of a thousand patches is a tenth of this

DIFF = re.compile(rb"^(?:diff --git \S|Index: \S|--- \S.*\n\+\+\+ \S)", re.MULTILINE)
SHOWN = re.compile(rb"\s*commit [0-9a-f]{40,64}\b.*\n(?=(?:Merge|Author|AuthorDate|Date): )")  # by `git show`
_CONTEXT = re.compile(rb"^\*\*\* .*\n--- .*\n\*{15}$", re.MULTILINE)
_STEP = re.compile(
    rb"(?P<header>^(?:commit [0-9a-f]{40,64}\b|(?:From|Author|Subject|Description): ))|" + DIFF.pattern, re.MULTILINE
)
_CARRIED = re.compile(rb"(?im)^(?:message-id:|received:|content-type: *(?:multipart|message)/)")
_GIT_NAMES = re.compile(rb"^diff --git (.+)$", re.MULTILINE)
_WHOLE_MAIL = re.compile(rb"(?:From .*\n)?(?:[!-9;-~]+:.*\n(?:[ \t].*\n)*)+")
_STREAM = re.compile(rb"From [0-9a-f]{40,64} Mon Sep 17 00:00:00 2001\r?\n")  # the date is format-patch's own mark
_FROM_LINE = re.compile(rb"^(>*)From .*\n(?=([!-9;-~]+:)?)", re.MULTILINE)
_CRLF_DIFF = re.compile(rb"^\+\+\+ .*\r\n", re.MULTILINE)
_PATCH_FILE = re.compile(r"\.(patch|diff|mbox|mbx|eml|txt)(\.(gz|xz|bz2))?$", re.IGNORECASE)
_NO_TREE = ("a", "b", ".")  # first parts of a name that no kernel tree has; nor has it any called linux...
_OPENERS: dict[bytes, Callable[[IO[bytes]], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


@dataclass(frozen=True)
class Letter:
    """One message: `raw` is what git mailinfo shall read, `text` its decoded body, `message` its headers.

    A letter that is not a mail has no headers to speak of: a plain diff, or a patch of quilt's. `exact` says that
    `git format-patch` wrote it, so that nothing in it is meant for a reader's eyes only.
    """

    source: str
    raw: bytes
    text: bytes
    message: Message
    mail: bool
    exact: bool

    @property
    def has_diff(self) -> bool:
        """Does it carry a diff that is not quoted?"""
        return bool(DIFF.search(self.text))

    def header(self, name: str) -> str:
        """Return a header, decoded and on one line; empty where there is none."""
        values = [value for key, value in self.message.raw_items() if key.lower() == name.lower()]
        return " ".join(_decoded(values[0]).split()) if values else ""


def expand(content: bytes) -> bytes:
    """Decompress what gzip, bzip2 or xz made; anything else is returned as it is."""
    for magic, opener in _OPENERS.items():
        if content.startswith(magic):
            try:
                with cast(IO[bytes], opener(io.BytesIO(content))) as stream:
                    content = stream.read(MAX_BYTES + 1)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise UserError(f"the compressed series is damaged: {error}") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"a series of more than {MAX_BYTES >> 20} MiB is not read")
    return content


def unread(content: bytes) -> str:
    """Say why no diff is found in a file."""
    return foreign(content) or "it has no diff, or quotes it line by line"


def foreign(content: bytes) -> str:
    """Say what a file is that may be a patch in a form that is not read; "" where it does not look like one."""
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return "it is packed by zstd: unpack it; gzip, xz and bzip2 are understood"
    if b"\0" in content[:2] or content.startswith(b"\xff\xfe"):
        return "it is UTF-16: `iconv -f UTF-16 -t UTF-8` makes a patch of it"
    if _CONTEXT.search(content):
        return "it is a context diff: `diff -u` makes a unified one"
    return ""


def split(content: bytes, source: str) -> list[Letter]:
    """Return the messages of one file, in its order: an mbox, a single mail, or a patch without mail headers."""
    with _shallow(source):
        return [letter for raw in messages(content) for letter in _opened(raw, source)]


def pile(content: bytes) -> list[bytes]:
    """Cut where a header stands below a diff: patches that `cat` put into one file, with no `From ` line between them.

    What came by mail is left whole: below its diff may stand the mail that it answers, or the next of its parts.
    """
    if content.startswith(b"From ") or _CARRIED.search(content.split(b"\n\n", 1)[0]):
        return [content]
    parts, start, diff = [], 0, False
    for found in _STEP.finditer(content):
        if not found["header"]:
            diff = True
        elif diff:
            parts.append(content[start : found.start()])
            start, diff = found.start(), False
    return [*parts, content[start:]]


def one(content: bytes, source: str) -> Letter:
    """Return the whole of one file as one message."""
    with _shallow(source):
        return _letter(_unix(content), source)


@contextlib.contextmanager
def _shallow(source: str) -> Iterator[None]:
    """Parts in parts are read by functions that call themselves, Python's own among them."""
    try:
        yield
    except RecursionError as error:
        raise UserError(f"{source}: its parts stand too deep in one another", hint="save the patch itself") from error


def strip(diff: bytes) -> int:
    """Return the N of `patch -pN`: 0 where the names begin at the top of the tree, else 1."""
    if names := _GIT_NAMES.findall(diff):  # git was told to write no a/ and b/
        return 0 if any(map(_twice, names)) else 1
    sections = patchtext.parse(diff, 0)
    tops = [[path.split("/")[0] for path in (one.old_path, one.new_path) if path] for one in sections]
    pairs = [some for some in tops if len(some) == 2]
    same = all(old == new and old not in _NO_TREE and not old.startswith("linux") for old, new in pairs)
    return 0 if pairs and same else 1


def _twice(names: bytes) -> bool:
    """Is it one name and a blank and the name again?"""
    half = len(names) // 2
    return names[half : half + 1] == b" " and names[:half] == names[half + 1 :]


def ended(diff: bytes) -> bytes:
    """Return the diff with a line's end at its end: without it git calls the last hunk corrupt."""
    return diff if not diff or diff.endswith(b"\n") else diff + b"\n"


def messages(content: bytes) -> list[bytes]:
    """Cut an mbox into its messages; what is not an mbox is one message."""
    if not re.match(rb"(From |>From |\s*[!-9;-~]+:)", content):
        return [content] if content.strip() else []
    escaped, separators = _escape(content)
    if separators < 2:
        return [content]
    with tempfile.TemporaryDirectory(prefix="kdelta-mail-") as scratch:
        mbox, parts = Path(scratch) / "mbox", Path(scratch) / "parts"
        mbox.write_bytes(escaped)
        parts.mkdir()
        done = git.alone("mailsplit", "--mboxrd", "--keep-cr", "-b", "-d8", f"-o{parts}", "--", mbox)
        if done.returncode:
            raise UserError(f"git mailsplit cannot split the mailbox: {done.output.strip()[-200:]}")
        return [part.read_bytes() for part in sorted(parts.iterdir())]


def _escape(content: bytes) -> tuple[bytes, int]:
    """Make it mboxrd: format-patch escapes no `From ` of a message, and others leave some that separate nothing."""
    stream, separators = _STREAM.match(content), 0

    def escape(line: re.Match[bytes]) -> bytes:
        nonlocal separators
        if not line[1] and line[2] and (not stream or _STREAM.fullmatch(line[0])):
            separators += 1
            return line[0]
        return line[0] if line[1] and not stream else b">" + line[0]

    return _FROM_LINE.sub(escape, content), separators


def _opened(raw: bytes, source: str) -> Iterator[Letter]:
    """Yield a message, then the mails attached to it."""
    outer = _letter(_unix(raw), source)
    yield outer
    attached = (raw for content in _attached(outer.message) for raw in messages(content))
    for number, inner in enumerate(attached, 1):
        yield _letter(_unix(inner), f"{source}: attachment {number}")


def _unix(raw: bytes) -> bytes:
    """Take off what carrying mail adds to a line's end; a CR that belongs to a patched file stays."""
    return raw.replace(b"\r\n", b"\n") if raw.split(b"\n", 1)[0].endswith(b"\r") else raw


def _letter(raw: bytes, source: str) -> Letter:
    message = email.parser.BytesParser().parsebytes(raw)
    keys = {key.lower() for key in message.keys()}  # noqa: SIM118  (Message has no other way to its names)
    rest = {"subject", "message-id", "date"} & keys
    mail = bool("from" in keys and rest) or {"subject", "message-id"} <= keys
    exact = bool(_STREAM.match(raw))
    if not mail:
        return Letter(source, raw, raw, message, mail, exact)
    leaves = list(_leaves(message))
    text = b"".join(_payload(leaf) for leaf in leaves)
    if _CRLF_DIFF.search(text) and not re.search(rb"^\+\+\+ .*[^\r\n]\n", text, re.MULTILINE):
        text = text.replace(b"\r\n", b"\n")
        raw = _flat(message, leaves, text)
    elif message.is_multipart():
        raw = _flat(message, leaves, text)
    return Letter(source, raw, text, message, mail, exact)


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that a patch can stand in: text that is no HTML, and attachments that hold a diff."""
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in _children(message):
            yield from _leaves(part)
    elif not message.is_multipart() and _may_hold(message) and not _is_whole_mail(message):
        yield message


def _children(message: Message) -> list[Message]:
    parts = message.get_payload()
    return [part for part in parts if isinstance(part, email.message.Message)] if isinstance(parts, list) else []


def _may_hold(part: Message) -> bool:
    kind = part.get_content_type()
    named = _PATCH_FILE.search(_filename(part)) or kind.endswith(("octet-stream", "patch", "diff", "mbox"))
    return kind in ("text/plain", "text/x-patch", "text/x-diff") or bool(named and DIFF.search(_payload(part)))


def _filename(part: Message) -> str:
    try:
        return part.get_filename() or ""
    except (LookupError, ValueError, TypeError, AttributeError):  # the name is of an unknown charset, or torn
        return ""


def _attached(message: Message) -> Iterator[bytes]:
    """Yield the attachments that are mails of their own: message/rfc822, and files that hold one or many."""
    for part in _children(message):
        if part.get_content_type() == "message/rfc822":
            yield from (_written(inner) for inner in _children(part))
        elif part.get_content_maintype() == "multipart":
            yield from _attached(part)
        elif _is_whole_mail(part):
            yield _payload(part)


def _written(message: Message) -> bytes:
    try:
        return message.as_bytes(policy=message.policy.clone(max_line_length=0))
    except (ValueError, LookupError, TypeError, AttributeError):  # headers that Python reads and cannot write
        return b""


def _is_whole_mail(part: Message) -> bool:
    attached = part.get_content_disposition() or _filename(part)
    head = _WHOLE_MAIL.match(_payload(part)) if attached else None
    names = re.findall(rb"(?im)^(from|subject):", head[0]) if head else []
    return {name.lower() for name in names} == {b"from", b"subject"}


def _payload(part: Message) -> bytes:
    """Return a part's bytes, its transfer encoding undone and unpacked, ending in a line's end."""
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        content = None
    if not isinstance(content, bytes):
        return b""
    return ended(expand(content) if _PATCH_FILE.search(_filename(part)) else content)


def _flat(message: Message, leaves: list[Message], text: bytes) -> bytes:
    """Write the message as one part: the headers that matter, and the text, undecoded charset and all."""
    wanted = ("from", "subject", "date", "message-id")
    lines = [f"{key}: {value}".encode("ascii", "surrogateescape") for key, value in message.raw_items()
             if key.lower() in wanted]  # fmt: skip
    return b"\n".join([*lines, _content_type(leaves), b"Content-Transfer-Encoding: 8bit", b"", text])


def _content_type(leaves: list[Message]) -> bytes:
    charset = next((found for leaf in leaves if (found := _parameter(leaf, "charset"))), "utf-8")
    flowed = bool(leaves) and all(_parameter(leaf, "format").lower() == "flowed" for leaf in leaves)
    delsp = flowed and all(_parameter(leaf, "delsp").lower() == "yes" for leaf in leaves)
    return f"Content-Type: text/plain; charset={charset}{'; format=flowed' * flowed}{'; delsp=yes' * delsp}".encode()


def _parameter(part: Message, name: str) -> str:
    try:
        value = part.get_param(name, "")
    except (ValueError, LookupError, TypeError):
        return ""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:-]{1,40}", value) else ""


def _decoded(value: str) -> str:
    """Decode RFC 2047 words; 8-bit bytes are taken as UTF-8, or else as latin-1."""
    plain = value.encode("ascii", "surrogateescape") if not _has_wide(value) else value.encode("utf-8", "replace")
    try:
        words = plain.decode("utf-8")
    except UnicodeDecodeError:
        words = plain.decode("latin-1")
    try:
        header = str(email.header.make_header(email.header.decode_header(words)))
        return header.encode("utf-8", "replace").decode("utf-8")  # UTF-7 may hold half a character
    except (ValueError, LookupError, email.errors.HeaderParseError):
        return words


def _has_wide(value: str) -> bool:
    return any(ord(letter) > 127 and not 0xDC80 <= ord(letter) <= 0xDCFF for letter in value)
