"""What a series may not do to the machine that reads it: looked for before anything of it is applied.

Two nets: `check` reads the text of the diffs and names the line, `check_change` reads what git made of them, so that
a diff which the two read differently is caught as well.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kvm.errors import UserError
from orchestrator.intake import git, patchtext
from orchestrator.intake.patchtext import Fact, Says

_TREE = "a series may only touch files of the kernel tree; make it again with `git format-patch` inside the tree"
_UNIFIED = "make it again with `git format-patch`"


@dataclass(frozen=True)
class Limits:
    """How large a series may be, in bytes and in files, and whether it may hold binary files."""

    patch_bytes: int = 64 << 20
    series_bytes: int = 256 << 20
    files: int = 20_000
    allow_binary: bool = False


@dataclass(frozen=True)
class Refusal:
    """What is wrong with a line, and what to do about it."""

    what: str
    remedy: str = _TREE


DEFAULT = Limits()


def check(patches: Iterable[tuple[str, bytes]], limits: Limits = DEFAULT) -> None:
    """Raise a UserError for the first of `patches` (file name and diff) that does what no series should."""
    size = files = 0
    for name, diff in patches:
        size += len(diff)
        _refuse_size(name, len(diff), limits.patch_bytes, "patch")
        _refuse_size(name, size, limits.series_bytes, "series")
        for section in patchtext.parse(diff):
            files += 1
            _check_section(name, section, limits)
            if files > limits.files:
                line = section.facts[0].line if section.facts else 1
                _refuse(name, line, Refusal(f"more than {limits.files} files", "--max-files sets the limit"))


def check_change(name: str, change: Mapping[bytes, bytes | None], repository: git.Repository) -> tuple[str, ...]:
    """Return the files of `change` (path to b"mode blob", None where it goes); raises a UserError for a wrong one."""
    for path, state in change.items():
        mode, _, blob = (state or b"000000 ").partition(b" ")
        found = _wrong_mode(mode) or _wrong_name(path)
        if not found and mode == b"120000":
            target = repository.raw("cat-file", "blob", blob.decode("ascii"))
            found = _wrong_target(path.decode("utf-8", "replace"), target)
        if found:
            shown = path[:_MOST_NAME].decode("utf-8", "replace")
            raise UserError(f"{name}: {shown!r}: {found.what}", hint=found.remedy)
    return tuple(sorted(path.decode("utf-8", "replace") for path in change))


def _check_section(name: str, section: patchtext.Section, limits: Limits) -> None:
    for fact in section.facts:
        if found := _RULES[fact.says](fact, limits):
            _refuse(name, fact.line, found)
    if section.is_link and section.target:
        path = section.new_path or ""
        lines = [fact.value for fact in section.target]
        if found := _wrong_target(path, b"\n".join(lines)):
            _refuse(name, section.target[0].line, found)


def _refuse(name: str, line: int, found: Refusal) -> None:
    raise UserError(f"{name}: line {line} of its diff: {found.what}", hint=found.remedy)


def _refuse_size(name: str, size: int, limit: int, what: str) -> None:
    if size > limit:
        remedy = f"--max-{what}-size sets the limit"
        _refuse(name, 1, Refusal(f"the {what} is larger than {limit:,} bytes ({size:,} so far)", remedy))


def _name(fact: Fact, _: Limits) -> Refusal | None:
    name = patchtext.file_name(fact.value)
    return None if name == b"/dev/null" else _wrong_name(name)


def _names(fact: Fact, _: Limits) -> Refusal | None:
    if len(fact.value) > 2 * 4 * _MOST_PATH:  # two names, each byte of them quoted; blanks in them hide their ends
        return _too_long(fact.value)
    return next(filter(None, map(_wrong_name, patchtext.git_names(fact.value))), None)


def _mode(fact: Fact, _: Limits) -> Refusal | None:
    return _wrong_mode(fact.value)


def _binary(_: Fact, limits: Limits) -> Refusal | None:
    if limits.allow_binary:
        return None
    return Refusal("a binary file, which nobody can review", "--allow-binary lets it pass")


def _no_content(_: Fact, __: Limits) -> Refusal:
    return Refusal("a binary file without its content", "make it with `git format-patch --binary`")


def _size(fact: Fact, limits: Limits) -> Refusal | None:
    if len(fact.value) < 12 and int(fact.value) <= limits.patch_bytes:
        return None
    return Refusal(f"a binary file of more than {limits.patch_bytes:,} bytes", "--max-patch-size sets the limit")


def _script(_: Fact, __: Limits) -> Refusal:
    return Refusal("an ed script or a diff that is not unified; `patch` hands scripts to ed, which runs them", _UNIFIED)


def _hunk(_: Fact, __: Limits) -> Refusal:
    return Refusal("a hunk header that is not understood", _UNIFIED)


def _uncounted(_: Fact, __: Limits) -> Refusal:
    return Refusal("a change that the header of its hunk does not count: git would leave it out", _UNIFIED)


def _combined(_: Fact, __: Limits) -> Refusal:
    return Refusal("the diff of a merge, which git does not apply", "give the commits that were merged")


_RULES: dict[Says, Callable[[Fact, Limits], Refusal | None]] = {
    Says.NAMES: _names,
    Says.OLD: _name,
    Says.NEW: _name,
    Says.OTHER_END: _name,
    Says.MODE: _mode,
    Says.INDEX: lambda *_: None,
    Says.BINARY: _binary,
    Says.NO_CONTENT: _no_content,
    Says.SIZE: _size,
    Says.SCRIPT: _script,
    Says.BROKEN_HUNK: _hunk,
    Says.UNCOUNTED: _uncounted,
    Says.COMBINED: _combined,
}

# In bytes. PATH_MAX is 4096, and a checkout stands in a directory of its own; Python removes no thousand directories
# that stand in each other.
_MOST_PATH = 1024
_MOST_NAME = 255  # bytes between two slashes: NAME_MAX
_SHOWN = 40  # characters of a name in a message

# What file systems take for the same name: NTFS ignores dots and spaces at the end and what follows a colon, and has
# short names; HFS+ ignores some code points (all of them are of the class Cf, which no name may hold anyway).
_DOT_GIT = re.compile(r"(?:\.git|git~\d+)[. ]*(?::.*)?", re.IGNORECASE | re.DOTALL)
_DOT_GITMODULES = re.compile(r"(?:\.gitmodules|gi(?:tmod|7eb.)~\d+)[. ]*(?::.*)?", re.IGNORECASE | re.DOTALL)
_GIT_FILES = (
    (_DOT_GIT, "is a file of git itself, where hooks and configuration are"),
    (_DOT_GITMODULES, "names repositories that git would fetch"),
)


def _wrong_name(name: bytes) -> Refusal | None:
    """What is wrong with a path, with or without its a/."""
    if found := _too_long(name):
        return found
    text = name.decode("utf-8", "replace")
    parts = text.split("/")
    if "\ufffd" in text:
        return Refusal(f"a file name that is not UTF-8: {name!r}")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in text):
        return Refusal(f"a control character in a file name: {text!a}")
    if text.startswith("/") or "\\" in text:
        return Refusal(f"an absolute path or a backslash in it: {text!r}")
    if ".." in parts:
        return Refusal(f"{text!r} leaves the tree")
    what = next((what for spelling, what in _GIT_FILES if any(map(spelling.fullmatch, parts))), None)
    return Refusal(f"{text!r} {what}") if what else None


def _too_long(path: bytes) -> Refusal | None:
    """What no file system can hold."""
    long = next((part for part in path.split(b"/") if len(part) > _MOST_NAME), b"")
    shown = (path if len(path) > _MOST_PATH else long)[:_SHOWN].decode("utf-8", "replace")
    if len(path) > _MOST_PATH:
        return Refusal(f"a path longer than {_MOST_PATH:,} bytes: {shown!r} ...", "choose a shorter one")
    return Refusal(f"a name longer than {_MOST_NAME} bytes: {shown!r} ...", "choose a shorter one") if long else None


def _wrong_mode(mode: bytes) -> Refusal | None:
    if mode in (b"160000", b"40000", b"040000"):
        return Refusal("a gitlink: a commit of another repository", "put the files themselves into the series")
    if mode in (b"120000", b"000000") or re.fullmatch(rb"100[0-7]{3}", mode):
        return None
    return Refusal(f"file mode {mode[:20].decode('ascii', 'replace')}", "a file is 100644 or 100755, a link 120000")


def _wrong_target(path: str, target: bytes) -> Refusal | None:
    """What is wrong with a link from `path`: `..` is counted where it leads, since any other part may be a link."""
    if found := _too_long(target):
        return found
    where = target.decode("utf-8", "replace")
    parts = [part for part in where.split("/") if part not in ("", ".")]
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    if (
        not target
        or target.startswith(b"/")
        or up > path.count("/")
        or ".." in parts[up:]
        or "\n" in where
        or "\0" in where
    ):
        what = "which leaves the tree" if target else "which no link can hold"
        return Refusal(f"a symlink to {where[:200]!r}, {what}", "link to a file of the tree, by ../")
    if any(_DOT_GIT.fullmatch(part) for part in parts):
        return Refusal(f"a symlink to {where[:200]!r}, a file of git itself", "link to a file of the tree")
    return None
