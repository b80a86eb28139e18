"""A diff, read as `git apply` reads it: which line says what about which file. Nothing is applied and nothing run.

Outside a hunk everything that looks like a header is taken for one, wherever it stands: this reading may see more
files than git does, never fewer.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Says(StrEnum):
    """What a line outside the hunks is about."""

    NAMES = "diff --git"
    OLD = "---"
    NEW = "+++"
    OTHER_END = "rename or copy"
    MODE = "mode"
    INDEX = "index"
    BINARY = "binary"
    NO_CONTENT = "binary without content"
    SIZE = "size of a binary"
    SCRIPT = "ed script"
    BROKEN_HUNK = "hunk header"
    UNCOUNTED = "change below a hunk"
    COMBINED = "diff of a merge"


@dataclass(frozen=True)
class Fact:
    """One line that says something; `line` counts from 1, `value` is what stands behind the keyword."""

    line: int
    says: Says
    value: bytes


@dataclass
class Section:
    """What a diff says about one file; `target` holds the lines that a symlink would consist of.

    `hunks` are the lines at which each hunk starts before and after.
    `strip` is how much of a name `patch -p` takes off, which makes it a path of the tree.
    """

    strip: int = 1
    facts: list[Fact] = field(default_factory=list)
    target: list[Fact] = field(default_factory=list)
    hunks: list[tuple[int, int]] = field(default_factory=list)
    in_hunks: bool = False

    def value(self, says: Says) -> bytes | None:
        """The first thing that is said about it."""
        return next((fact.value for fact in self.facts if fact.says is says), None)

    @property
    def is_link(self) -> bool:
        """Does the patch say that the file is a symlink afterwards?"""
        modes = [fact.value for fact in self.facts if fact.says is Says.MODE]
        return bool(modes) and modes[-1] == b"120000"

    @property
    def old_path(self) -> str | None:
        """The file before the patch; None where there was none."""
        return self._path(Says.OLD)

    @property
    def new_path(self) -> str | None:
        """The file after the patch; None where there is none."""
        return self._path(Says.NEW)

    @property
    def blobs(self) -> tuple[str, str] | None:
        """The abbreviated blob ids of the index line, all zeroes for no file; None without such a line."""
        found = re.match(rb"([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})", self.value(Says.INDEX) or b"")
        return (found[1].decode(), found[2].decode()) if found else None

    def _path(self, says: Says) -> str | None:
        value = self.value(says)
        name = file_name(value) if value is not None else _same_name(self.value(Says.NAMES) or b"")
        if name == b"/dev/null" or name.count(b"/") < self.strip:
            return None
        return name.split(b"/", self.strip)[-1].decode("utf-8", "replace") or None


_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_OTHER_HUNK = re.compile(rb"[ \t]*@@ -\d+(?:,\d+)? \+\d|@@ -")  # a mailer or an editor moved it
_ED = re.compile(rb"(?:(?:\d+(?:,\d+)?|[$.%])(?:[acdi]\s*|s/.*|[acd]\d+(?:,\d+)?\s*)|\*{15}(?: .*)?)$")  # or diff -c
_LINES = (
    (re.compile(rb"(?:rename|copy) (?:from|to|old|new) (.*)", re.DOTALL), Says.OTHER_END),
    (re.compile(rb"(?:old|new|new file|deleted file) mode\s+(\d+)"), Says.MODE),
    (re.compile(rb"index ([0-9a-f]+\.\.[0-9a-f]+)"), Says.INDEX),
    (re.compile(rb"(GIT binary patch)"), Says.BINARY),
    (re.compile(rb"((?:Binary files|Files) .* differ)", re.DOTALL), Says.NO_CONTENT),
    (re.compile(rb"(?:literal|delta) (\d+)\s*$"), Says.SIZE),
    (re.compile(rb"(diff --(?:cc|combined) |@@@+ -)"), Says.COMBINED),
)
_INDEX_MODE = re.compile(rb"index [0-9a-f]+\.\.[0-9a-f]+ (\d+)")
_ESCAPE = re.compile(rb'\\([0-3][0-7]{2}|[abtnvfr"\\])')
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def parse(diff: bytes, strip: int = 1) -> tuple[Section, ...]:
    """Return what `diff` says, one section for each file header; `strip` is the N of `patch -pN`."""
    lines = diff.split(b"\n")
    sections: list[Section] = []
    at = 0
    while at < len(lines):
        hunk = _HUNK.match(lines[at]) if sections else None
        if hunk:
            at = _skip_hunk(lines, at + 1, hunk, sections[-1])
            continue
        line = lines[at].removesuffix(b"\r")
        if _opens(line, lines[at + 1] if at + 1 < len(lines) else b"", sections):
            sections.append(Section(strip))
        if sections:
            sections[-1].facts += _facts(line, at + 1, sections[-1])
        at += 1
    return tuple(sections)


def file_name(value: bytes) -> bytes:
    """Return the name in what stands behind `---`, `+++` or `rename from`: unquoted, without a time stamp."""
    quoted = _QUOTED.match(value.lstrip())
    return unquote(quoted[1]) if quoted else value.partition(b"\t")[0]


def unquote(text: bytes) -> bytes:
    """Undo the quoting that git gives to a name with unusual bytes."""

    def one(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([_ESCAPES[code[0]] if len(code) == 1 else int(code, 8)])

    return _ESCAPE.sub(one, text)


def git_names(value: bytes) -> list[bytes]:
    """Return every name that stands behind `diff --git`; one with spaces comes in pieces, and as a whole."""
    quoted = [unquote(text) for text in _QUOTED.findall(value)]
    rest = _QUOTED.sub(b" ", value)
    return [*quoted, *(word for word in rest.split(b" ") if word)]


def _same_name(value: bytes) -> bytes:
    """The name behind `diff --git` when both are the same but for a/ and b/, which git asks for as well."""
    quoted = _QUOTED.match(value)
    return unquote(quoted[1]) if quoted else value[: len(value) // 2]


def _opens(line: bytes, following: bytes, sections: list[Section]) -> bool:
    if line.startswith(b"diff -"):
        return True
    if not (line.startswith(b"--- ") and following.startswith(b"+++ ")):
        return False
    return not sections or sections[-1].in_hunks or sections[-1].value(Says.OLD) is not None


def _facts(line: bytes, number: int, section: Section) -> list[Fact]:
    """What one line outside the hunks says."""
    if line.startswith(b"diff --git "):
        return [Fact(number, Says.NAMES, line[11:])]
    if not section.in_hunks and line.startswith((b"--- ", b"+++ ")):
        return [Fact(number, Says.OLD if line.startswith(b"-") else Says.NEW, line[4:])]
    if _OTHER_HUNK.match(line):
        return [Fact(number, Says.BROKEN_HUNK, line)]
    if _ED.match(line):
        return [Fact(number, Says.SCRIPT, line)]
    found = [Fact(number, says, match[1]) for pattern, says in _LINES if (match := pattern.match(line))]
    if mode := _INDEX_MODE.match(line):
        found.append(Fact(number, Says.MODE, mode[1]))
    return found


def _skip_hunk(lines: list[bytes], at: int, header: re.Match[bytes], section: Section) -> int:
    """Return where the hunk ends that starts at `at`: its header says how many lines it has on either side."""
    section.hunks.append((int(header[1]), int(header[3])))
    old, new = (int(count) if count is not None else 1 for count in (header[2], header[4]))
    link = section.is_link
    section.in_hunks = True
    while at < len(lines) and (old > 0 or new > 0):
        kind = lines[at][:1]
        if kind not in (b" ", b"", b"-", b"+", b"\\"):
            break  # cut short, which git refuses; what follows is looked at as headers
        old -= kind in (b" ", b"", b"-")
        new -= kind in (b" ", b"", b"+")
        if link and kind == b"+":
            section.target.append(Fact(at + 1, Says.NEW, lines[at][1:]))
        at += 1
    if found := _uncounted(lines, at):
        section.facts.append(found)
    return at


def _uncounted(lines: list[bytes], at: int) -> Fact | None:
    """Find the change that a hunk's header does not count, and that git leaves out without a word."""
    while at < len(lines) and lines[at][:1] in (b" ", b"-", b"+", b"\\"):
        if lines[at].startswith((b"--", b"+++ ")) or _OTHER_HUNK.match(lines[at]):
            return None  # a signature, or a header
        if lines[at][:1] in (b"-", b"+"):
            return Fact(at + 1, Says.UNCOUNTED, lines[at])
        at += 1
    return None
