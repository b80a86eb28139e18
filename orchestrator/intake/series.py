"""Patch mails in, commits on the base out: what `git am` does, on an index alone, so that no worktree is needed."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm.errors import UserError
from orchestrator.intake import git, guard
from orchestrator.intake.source import Source
from orchestrator.model import Patch, Series

_PREFIX = re.compile(r"^\s*(?:\[[^\]]*\]\s*)+")
_NUMBER = re.compile(r"\[[^\]]*?\b(\d+)/(\d+)\]")
_SUFFIXES = (".patch", ".mbox", ".mbx", ".eml", ".diff")


@dataclass(frozen=True)
class Mail:
    """One message as `git mailinfo` reads it; `diff` is empty in a cover letter."""

    source: str
    subject: str
    author: str
    email: str
    date: str
    body: bytes
    diff: bytes

    @property
    def number(self) -> int | None:
        """The n of [PATCH n/m], if the subject says it."""
        found = _NUMBER.search(self.subject)
        return int(found[1]) if found else None

    @property
    def title(self) -> str:
        """The subject without its [PATCH n/m]."""
        return _PREFIX.sub("", self.subject).strip()


@dataclass(frozen=True)
class Applied:
    """A series on its base: one commit per patch, oldest first; `tree` equals the base's when nothing changed."""

    series: Series
    commits: tuple[str, ...]
    tree: str


def read(path: Path) -> list[Mail]:
    """Read the mails of a directory of patches, or of one mbox or patch file, in the order of their numbers."""
    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES)
        if not files and any(path.iterdir()):
            raise UserError(f"{path} holds no patch", hint=f"patch files end in {', '.join(_SUFFIXES)}")
    elif path.is_file():
        files = [path]
    else:
        raise UserError(f"no such series: {path}")
    mails = [mail for file in files for mail in _split(file)]
    return sorted(mails, key=lambda mail: mail.number or 0) if len(files) == 1 else mails


def apply(mails: list[Mail], source: Source, limits: guard.Limits = guard.DEFAULT) -> Applied:
    """Put the series on the base; raises a UserError with patch, file and hunk where it does not apply.

    What a series may not do is refused first; see guard.
    """
    guard.check(((mail.source, mail.diff) for mail in mails), limits)
    with tempfile.TemporaryDirectory(prefix="kdelta-apply-") as scratch:
        repository = git.Repository(source.git_dir, index=Path(scratch) / "index")
        repository.run("read-tree", source.commit)
        commits = [source.commit]
        patches = []
        for mail in mails:
            if mail.diff:
                commits.append(_commit(mail, commits[-1], repository))
                files = guard.check_commit(mail.source, commits[-2], commits[-1], repository)
                patches.append(Patch(mail.title, f"{mail.author} <{mail.email}>", files))
        tree = repository.id(f"{commits[-1]}^{{tree}}") or source.tree
    return Applied(Series(title(mails), tuple(patches)), tuple(commits[1:]), tree)


def title(mails: Sequence[Mail]) -> str:
    """Return the cover letter's subject, or else the first patch's."""
    cover = next((mail for mail in mails if not mail.diff and mail.number == 0), None)
    first = cover or next((mail for mail in mails if mail.diff), None)
    return first.title if first else "(empty series)"


def _split(file: Path) -> list[Mail]:
    with tempfile.TemporaryDirectory(prefix="kdelta-mail-") as scratch:
        done = git.alone("mailsplit", "--keep-cr", "-b", f"-o{scratch}", "--", file)
        if done.returncode:
            raise UserError(f"{file} is not a mailbox or a patch: {done.output.strip()[-200:]}")
        return [_mailinfo(part, Path(scratch), file) for part in sorted(Path(scratch).iterdir())]


def _mailinfo(part: Path, scratch: Path, file: Path) -> Mail:
    body, diff = scratch / "body", scratch / "diff"
    done = git.alone("mailinfo", "--encoding=UTF-8", "-k", body, diff, input=part.read_bytes())
    fields = dict(re.findall(r"^(Author|Email|Subject|Date): (.*)$", done.output, re.MULTILINE))
    if done.returncode or "Author" not in fields:
        raise UserError(f"{file}: a message has no From: line", hint="give mails as `git format-patch` writes them")
    mail = Mail(
        source=file.name,
        subject=fields.get("Subject", "(no subject)"),
        author=fields["Author"],
        email=fields.get("Email", ""),
        date=fields.get("Date", ""),
        body=body.read_bytes(),
        diff=_only_diff(diff.read_bytes()),
    )
    body.unlink()
    diff.unlink()
    return mail


def _only_diff(text: bytes) -> bytes:
    """What git mailinfo calls the patch starts at `---`; a cover letter has that too, but no diff behind it."""
    return text if re.search(rb"^(diff --git |--- \S)", text, re.MULTILINE) else b""


def _commit(mail: Mail, parent: str, repository: git.Repository) -> str:
    done = repository.attempt("apply", "--cached", "--whitespace=nowarn", "-", input=mail.diff)
    if done.returncode:
        raise UserError(
            f"{mail.source}: {mail.title!r} does not apply: {where(done.output, mail.diff)}",
            hint="is the kernel the one the series was made for? `--kernel` and `--base` choose another",
        )
    return record(mail, repository.run("write-tree").strip(), parent, repository)


def record(mail: Mail, tree: str, parent: str, repository: git.Repository) -> str:
    """Commit `tree` as what the mail makes of `parent`, in its author's name."""
    who = {"GIT_AUTHOR_NAME": mail.author, "GIT_AUTHOR_EMAIL": mail.email}
    when = {"GIT_AUTHOR_DATE": mail.date} if mail.date else {}
    message = mail.title.encode() + b"\n\n" + mail.body
    return repository.run("commit-tree", tree, "-p", parent, "-F", "-", input=message, env={**who, **when}).strip()


def where(complaint: str, diff: bytes) -> str:
    """Turn git's complaint into file and hunk: git names the line at which the hunk that failed starts."""
    failed = re.search(r"^error: patch failed: (.+):(\d+)$", complaint, re.MULTILINE)
    if not failed:
        return complaint.strip().splitlines()[0].removeprefix("error: ") if complaint.strip() else "git says no more"
    file, line = failed[1], int(failed[2])
    section = diff.decode("utf-8", "replace").split(f"\n+++ b/{file}", 1)[-1].split("\ndiff --git ", 1)[0]
    starts = [int(start) for start in re.findall(r"^@@ -(\d+)", section, re.MULTILINE)]
    hunk = f"hunk {starts.index(line) + 1} of {len(starts)}" if line in starts else "a hunk"
    return f"{hunk} of {file}, at line {line}"
