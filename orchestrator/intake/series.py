"""Patch mails in, commits on the base out: what `git am` does, on an index alone, so that no worktree is needed.

A kernel's index has 70,000 entries, and git writes all of it for every patch. So the index here holds only what the
series names: `git apply` works on that, and one `git fast-import` puts the results into the base's trees.
"""

import email.utils
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from kvm import disk
from kvm.errors import InfraError, UserError
from orchestrator.intake import git, guard, patchtext
from orchestrator.intake.patch import TEMPLATE, Mail
from orchestrator.intake.source import Source
from orchestrator.model import Patch, Series

_LIST = ("--literal-pathspecs", "ls-tree", "-z", "--full-tree")
_NAMED_AT_ONCE = 400  # paths in one command line
_FROM = re.compile(rb"^(?:rename|copy) from (.*)$", re.MULTILINE)
_WHEN = "946684800 +0000"  # what git.py gives to commits that bring no date
_REF = "refs/kdelta/applied"

Entries = dict[bytes, bytes]  # path -> b"mode id"
Delta = dict[bytes, bytes | None]  # path -> what it is afterwards, None where it is gone


@dataclass(frozen=True)
class Applied:
    """A series on its base: one commit per patch, oldest first; `tree` equals the base's when nothing changed."""

    series: Series
    commits: tuple[str, ...]
    tree: str


def apply(mails: Sequence[Mail], source: Source, limits: guard.Limits = guard.DEFAULT) -> Applied:
    """Put the series on the base; raises a UserError with patch, file and hunk where it does not apply.

    What a series may not do is refused first; see guard.
    """
    guard.check(((mail.source, mail.diff) for mail in mails), limits)
    patches = [mail for mail in mails if mail.diff]
    repository = git.Repository(source.git_dir)
    with tempfile.TemporaryDirectory(prefix="kdelta-apply-") as scratch:
        held = states(patches, source, Path(scratch))
        changes = [changed(one, other) for one, other in pairwise(held)]
        named = describe(patches, changes, repository)
        commits = commit(patches, changes, source, Path(scratch)) if patches else ()
    tree = repository.id(f"{commits[-1]}^{{tree}}") if commits else source.tree
    if tree is None:
        raise InfraError("git fast-import left no tree", hint="is the disk full?")
    return Applied(Series(title(mails), named, mails[0].posting if mails else None), commits, tree)


def describe(patches: Sequence[Mail], changes: Sequence[Delta], repository: git.Repository) -> tuple[Patch, ...]:
    """Say of each patch who wrote it and what it touches; raises a UserError for what a series may not make."""
    pairs = zip(patches, changes, strict=True)
    return tuple(
        Patch(
            mail.title,
            f"{mail.author} <{mail.email}>",
            guard.check_change(mail.source, change, repository),
            mail.posting.message_id if mail.posting else "",
        )
        for mail, change in pairs
    )


def title(mails: Sequence[Mail]) -> str:
    """Return the cover letter's subject, or else the first patch's and how many follow it."""
    cover = next((mail.title for mail in mails if not mail.diff), "")
    patches = [mail.title for mail in mails if mail.diff]
    if (cover and cover != TEMPLATE) or not patches:
        return cover or "(empty series)"
    return patches[0] + (f" (and {len(patches) - 1} more)" if len(patches) > 1 else "")


def states(patches: Sequence[Mail], source: Source, scratch: Path, *how: str) -> list[Entries]:
    """Apply one patch after the other, each on a copy of the index; return what the indexes held, the first one first.

    A second thread lists an index while the next patch is applied.
    """
    indexes = [scratch / f"index-{number}" for number in range(len(patches) + 1)]
    start = git.Repository(source.git_dir, index=indexes[0])
    start.run("update-index", "-z", "--index-info", input=_listed(_named(patches, start), source, start))
    with ThreadPoolExecutor(1) as pool:
        listings = [pool.submit(_entries, start)] if patches else []
        for mail, before, after in zip(patches, indexes, indexes[1:], strict=False):
            if before.exists():  # git writes no file for an index without entries
                shutil.copyfile(before, after)
            repository = git.Repository(source.git_dir, index=after)
            _apply(mail, source, repository, *how)
            listings.append(pool.submit(_entries, repository))
        return [listing.result() for listing in listings]


def _entries(repository: git.Repository) -> Entries:
    """List an index: `mode id stage<TAB>path`."""
    listing = repository.raw("ls-files", "-z", "--stage")
    pairs = (entry.split(b"\t", 1) for entry in listing.split(b"\0") if entry)
    return {path: state.rsplit(b" ", 1)[0] for state, path in pairs}


def _named(patches: Sequence[Mail], repository: git.Repository) -> set[bytes]:
    """Collect every path that the patches name, and the directories above them, where a file may stand in the way."""
    paths: set[bytes] = set()
    for strip, some in groupby(patches, key=lambda mail: mail.strip):
        group = list(some)
        try:
            paths |= _counted(b"\n".join(mail.diff for mail in group), strip, repository)
        except InfraError:  # one of them is damaged, and can hide those after it
            for mail in group:
                paths |= _names(mail, repository)
    for mail in patches:
        paths |= {_unquoted(found) for found in _FROM.findall(mail.diff)}
    above = {path[:end] for path in paths for end in range(len(path)) if path[end : end + 1] == b"/"}
    return {path for path in paths | above if not {b"", b".", b".."} & set(path.split(b"/"))}  # no tree has such


def _names(mail: Mail, repository: git.Repository) -> set[bytes]:
    try:
        return _counted(mail.diff, mail.strip, repository)
    except InfraError:
        return set()  # whether git can apply it comes out in its turn


def _counted(diff: bytes, strip: int, repository: git.Repository) -> set[bytes]:
    listing = repository.raw("apply", "--numstat", "-z", f"-p{strip}", "-", input=diff)
    return {entry.split(b"\t", 2)[2] for entry in listing.split(b"\0") if entry.count(b"\t") >= 2}


def _unquoted(path: bytes) -> bytes:
    """Undo git's C quoting."""
    quoted = path.startswith(b'"') and path.endswith(b'"') and len(path) > 1
    return patchtext.unquote(path[1:-1]) if quoted else path


def _listed(paths: Iterable[bytes], source: Source, repository: git.Repository) -> bytes:
    """List what the base has of `paths`; of a path that is a directory there, all that is below it if it is named."""
    ordered = sorted(paths)
    leaves = [path for path, later in zip(ordered, [*ordered[1:], b""], strict=False) if not _above(path, later)]
    inner = set(ordered) - set(leaves)
    files = b"".join(_ls(leaves, source, repository, "-r"))
    blocking = [entry for entry in _ls(sorted(inner), source, repository) if b" blob " in entry.split(b"\t")[0]]
    return files + b"".join(blocking)


def _above(path: bytes, other: bytes) -> bool:
    return other.startswith(path + b"/")


def _ls(paths: Sequence[bytes], source: Source, repository: git.Repository, *options: str) -> Iterable[bytes]:
    for start in range(0, len(paths), _NAMED_AT_ONCE):
        some = [path.decode("utf-8", "surrogateescape") for path in paths[start : start + _NAMED_AT_ONCE]]
        listing = repository.raw(*_LIST, *options, source.tree, "--", *some)
        yield from (entry + b"\0" for entry in listing.split(b"\0") if entry)


def _apply(mail: Mail, source: Source, repository: git.Repository, *how: str) -> None:
    args = ("apply", "--cached", "--whitespace=nowarn", f"-p{mail.strip}", *how, "-")
    done = repository.attempt(*args, input=mail.diff)
    if done.returncode:
        raise UserError(
            f"{mail.source}: {mail.title!r} does not apply: {where(done.output, mail, *how)}",
            hint=f"is {source.release} the kernel that the series was made for? {_others(source)}",
        )


def _others(source: Source) -> str:
    """Which options give another tree."""
    return "`--kernel` and `--base` choose another" if source.spec.startswith("git:") else "`--kernel` chooses another"


def changed(before: Entries, after: Entries) -> Delta:
    """Return what each changed path is afterwards; None where it is gone."""
    paths = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return {path: after.get(path) for path in paths}


def commit(patches: Sequence[Mail], changes: Sequence[Delta], source: Source, scratch: Path) -> tuple[str, ...]:
    """Make the commits; the ref that fast-import wants is never written, for it is reset to nothing in the same run."""
    marks, stream = scratch / "marks", []
    for number, (mail, change) in enumerate(zip(patches, changes, strict=True), 1):
        parent = f":{number - 1}" if number > 1 else source.commit
        stream += [_head(mail, number), f"from {parent}\n".encode(), *_lines(change), b"\n"]
    stream.append(f"reset {_REF}\nfrom {'0' * len(source.commit)}\n\n".encode())
    repository = git.Repository(source.git_dir)
    repository.run("fast-import", "--quiet", "--force", f"--export-marks={marks}", input=b"".join(stream))
    named = dict(line.split() for line in marks.read_text(encoding="ascii").splitlines())
    return tuple(named[f":{number}"] for number in range(1, len(patches) + 1))


def edited(source: Source, parent: str, file: str, content: bytes) -> str:
    """Return the git tree of the commit `parent` with another content of one of its files."""
    head = f"commit {_REF}\nmark :1\ncommitter kdelta <kdelta@localhost> {_WHEN}\ndata 0\nfrom {parent}\n"
    body = b"M 100644 inline " + _quoted(file.encode()) + f"\ndata {len(content)}\n".encode() + content + b"\n\n"
    end = f"reset {_REF}\nfrom {'0' * len(parent)}\n\n"
    repository = git.Repository(source.git_dir)
    with disk.scratch("kdelta-edited-") as scratch:
        words = "fast-import", "--quiet", "--force", f"--export-marks={scratch / 'marks'}"
        repository.run(*words, input=head.encode() + body + end.encode())
        return repository.tree((scratch / "marks").read_text(encoding="ascii").split()[1])


def _head(mail: Mail, number: int) -> bytes:
    message = (mail.title.encode() + b"\n\n" + mail.body.strip(b"\n") + b"\n").replace(b"\0", b"")
    who = f"{_plain(mail.author) or 'unknown'} <{_plain(mail.email)}>"
    return (
        f"commit {_REF}\nmark :{number}\nauthor {who} {_when(mail.date)}\n"
        f"committer kdelta <kdelta@localhost> {_WHEN}\ndata {len(message)}\n"
    ).encode() + message


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", name).split())


def _when(date: str) -> str:
    """Return seconds and zone as git writes them; a date that is missing or impossible is git.py's."""
    try:
        found = email.utils.parsedate_tz(date)
        seconds = email.utils.mktime_tz(found) if found else -1
    except (ValueError, OverflowError, TypeError, IndexError):
        return _WHEN
    minutes = ((found[9] if found else 0) or 0) // 60
    if not (0 <= seconds < 1 << 33 and abs(minutes) <= 14 * 60):
        return _WHEN
    return f"{seconds} {'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _lines(change: Delta) -> list[bytes]:
    """What goes, goes first: a file may become a directory."""
    gone = [b"D " + _quoted(path) + b"\n" for path, state in sorted(change.items()) if state is None]
    here = [b"M " + state + b" " + _quoted(path) + b"\n" for path, state in sorted(change.items()) if state]
    return gone + here


def _quoted(path: bytes) -> bytes:
    return b'"' + re.sub(rb'[\x00-\x1f"\\]', lambda found: b"\\%03o" % found[0][0], path) + b'"'


def where(complaint: str, mail: Mail, *how: str) -> str:
    """Turn git's complaint into file and hunk: git names the line at which the hunk that failed starts."""
    failed = re.search(r"^error: patch failed: (.+):(\d+)$", complaint, re.MULTILINE)
    if not failed:
        return complaint.strip().splitlines()[0].removeprefix("error: ") if complaint.strip() else "git says no more"
    file, line = failed[1], int(failed[2])
    sections = [one for one in patchtext.parse(mail.diff, mail.strip) if file in (one.old_path, one.new_path)]
    starts = [start["-R" in how] for section in sections for start in section.hunks]
    hunk = f"hunk {starts.index(line) + 1} of {len(starts)}" if line in starts else "a hunk"
    return f"{hunk} of {file}, at line {line}"
