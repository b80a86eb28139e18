"""Patches as quilt and distributions keep them: a `series` file, and diffs under DEP-3 fields or none."""

import email.utils
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kvm.errors import UserError
from orchestrator.intake.letters import DIFF, SHOWN, Letter, ended, strip
from orchestrator.intake.patch import Mail

NOBODY, NOWHERE = "unknown", "unknown@localhost"  # the author of a patch that names none

_MOST_BYTES = 1 << 20  # of a series file
_ABOVE = 4  # directories up, in which a series file is looked for

_NAME = re.compile(r"^(?:v\d+-)?(?:\d{1,4}-)?(.*?)(?:\.(?:patch|diff|gz|xz|bz2))*$", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One line of a series file."""

    name: str
    file: Path
    strip: int


@dataclass(frozen=True)
class Part:
    """What a series file lists of one directory; `before` counts the others that it lists before the last of these."""

    series: Path
    entries: tuple[Entry, ...]
    before: int


def is_series(path: Path) -> bool:
    """Say whether the file lists files beside it, and is no patch itself."""
    try:
        names = [line.split()[0] for line in _lines(path)]
    except UserError:
        return False
    return bool(names) and any((path.parent / name).is_file() for name in names)


def read(series: Path) -> list[Entry]:
    """Read a series file: names relative to it, `-pN` after them, comments; raises UserError for what is not there."""
    return _entries(_lines(series), series)


def _entries(lines: Iterable[str], series: Path) -> list[Entry]:
    entries = [_entry(line, series) for line in lines]
    missing = [entry.name for entry in entries if not entry.file.is_file()]
    if missing:
        raise UserError(f"{series} lists files that are not there: {', '.join(missing[:10])}")
    return entries


def part(directory: Path) -> Part | None:
    """Find the series file above `directory` that lists patches in it, and what it lists of them; None without one."""
    here = directory.resolve()
    for above in here.parents[:_ABOVE]:
        series, prefix = above / "series", f"{here.relative_to(above).as_posix()}/"
        try:
            lines = _lines(series) if series.is_file() else []
        except (OSError, UserError):  # whatever it is, it is none of ours
            continue
        inside = [number for number, line in enumerate(lines) if line.startswith(prefix)]
        if inside:
            entries = _entries([lines[number] for number in inside], series)
            return Part(series, tuple(entries), inside[-1] + 1 - len(inside))
    return None


def mail(letter: Letter) -> Mail:
    """Read a patch without mail headers: its subject and author from DEP-3 fields, or from the file's name."""
    found = DIFF.search(letter.text)
    start = _start(letter.text, found.start()) if found else len(letter.text)
    head = re.sub(r"^---\s*$", "", _text(letter.text[:start]), flags=re.MULTILINE)
    head = _shown(head) if SHOWN.match(letter.text) else head
    fields, others = _fields(head)
    summary, _, rest = (fields.get("subject") or fields.get("description") or "").strip().partition("\n")
    name, address = email.utils.parseaddr(" ".join((fields.get("from") or fields.get("author") or "").split()))
    stem = _NAME.match(PurePosixPath(letter.source).name)
    return Mail(
        source=letter.source,
        subject=" ".join(summary.split()) or (stem[1] if stem else "") or letter.source,
        author=name or address or NOBODY,
        email=address or NOWHERE,
        date=fields.get("date", fields.get("last-update", "")),
        body="\n\n".join(filter(None, (rest.strip(), others.strip()))).encode(),
        diff=ended(letter.text[start:]),
        strip=strip(letter.text),
    )


def _shown(head: str) -> str:
    """Write what `git show` prints above a diff as fields."""
    top, _, message = head.strip().partition("\n\n")
    said = dict(re.findall(r"^(Author|(?:Author)?Date): +(.*)$", top, re.MULTILINE))
    date = said.get("AuthorDate", said.get("Date", ""))
    words = "\n".join(line[4:] for line in message.splitlines() if not line[:4].strip())  # and no --stat
    return f"From: {said.get('Author', '')}\nDate: {date}\nSubject: {words.strip()}"


def _start(text: bytes, found: int) -> int:
    """Go back over what stands directly above the first diff and belongs to it."""
    before = text[:found].rsplit(b"\n", 2)
    return found - len(before[-2]) - 1 if len(before) > 2 and before[-2].startswith((b"Index: ", b"diff -")) else found


def _fields(head: str) -> tuple[dict[str, str], str]:
    """Read the fields that say title, author and date, as deb822 has them, the first of each; and return the rest."""
    fields: dict[str, str] = {}
    others = []
    name = ""
    for line in head.splitlines():
        found = _FIELD.match(line)
        if found and found[1].lower() not in fields:
            name = found[1].lower()
            fields[name] = found[2]
        elif name and line.startswith((" ", "\t")):
            fields[name] += "\n" + ("" if line.strip() == "." else line.strip())
        else:
            name = ""
            others.append(line)
    return fields, "\n".join(others)


_FIELD = re.compile(r"(from|author|subject|description|date|last-update):\s*(.*)", re.IGNORECASE)


def _lines(series: Path) -> list[str]:
    with series.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if b"\0" in content or len(content) > _MOST_BYTES:
        raise UserError(f"{series} is not a quilt series file")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in _text(content).splitlines())
    return [line for line in lines if line]


def _entry(line: str, series: Path) -> Entry:
    name, *options = line.split()
    level = 1
    for option in options:
        found = re.fullmatch(r"-p(\d|ab)", option)
        if not found:
            raise UserError(f"{series}: {name}: the option {option!r} is not understood", hint="-pN is")
        level = 1 if found[1] == "ab" else int(found[1])
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise UserError(f"{series}: {name} lies outside the directory")
    return Entry(name, series.parent / name, level)


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
