"""Commits of a repository in, a series out: read from the objects, with none of the repository's configuration.

Not through mails: a commit message may hold what a mail cannot carry, a diff or a `From ` line.
"""

import os
import re
import tempfile
from pathlib import Path

from kvm.errors import UserError
from orchestrator.intake import git, letters
from orchestrator.intake.patch import Mail, Mails
from orchestrator.model import BaseRule

MOST = 1000  # a range of more is a slip: two releases are ten thousand commits apart

_FORMAT, _FIELDS = "%H%x00%an%x00%ae%x00%aD%x00%s%x00%b", 6
_DIFF = ("-p", "-M", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")


def known(spec: str, repository: Path) -> bool:
    """Say whether the repository has the commit that `spec` names, or both ends of `A..B`: a branch may hold an @."""
    try:
        theirs = git.opened(repository)
    except UserError:
        return False
    return "\0" not in spec and all(theirs.id(f"{name}^{{commit}}") for name in spec.split("..", 1) if name)


def read(spec: str, repository: Path, base: str | None = None) -> Mails:
    """Read the commits of `A..B`, or of the branch `B` since it left `base`, its upstream or HEAD, whichever is given.

    Raises UserError for what is no commit and for merges. The base commit is the one that the first patch stands on.
    """
    theirs = git.opened(repository)
    start, end, rule = _ends(spec, theirs, base, repository)
    with tempfile.TemporaryDirectory(prefix="kdelta-range-") as scratch:
        ours = git.create(Path(scratch) / "git")
        lent = _lent(theirs, ours)
        return _read(spec, (start, end), _Reader(ours, lent), rule)


class _Reader:
    """The objects of the user's repository, read under a configuration that is ours."""

    def __init__(self, repository: git.Repository, lent: dict[str, str]) -> None:
        self._repository, self._env = repository, lent

    def raw(self, *args: str, input: bytes = b"") -> bytes:
        """Run git on the lent objects."""
        return self._repository.raw(*args, input=input, env=self._env)

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the newest commit that both have."""
        return self._repository.attempt("merge-base", one, other, env=self._env).output.strip() or None


def _lent(theirs: git.Repository, ours: git.Repository) -> dict[str, str]:
    """Let git read the objects of theirs, and know where a shallow clone ends."""
    common = theirs.common
    shallow = common / "shallow"
    if shallow.is_file():
        (ours.git_dir / "shallow").write_bytes(shallow.read_bytes())
    return {"GIT_OBJECT_DIRECTORY": str(common / "objects"), "GIT_ATTR_NOSYSTEM": "1"}


def _ends(spec: str, theirs: git.Repository, base: str | None, repository: Path) -> tuple[str, str, str]:
    """Resolve both ends; and say how the first was found, if the spec does not name it."""

    def commit(name: str) -> str:
        found = theirs.id(f"{name}^{{commit}}") if "\0" not in name else None
        if found is None:
            raise UserError(
                f"no such series: {spec}: {repository} has no commit {name!r}, and no file is called so",
                hint="give A..B or a branch of that repository, a path, a Message-ID or a lore.kernel.org URL",
            )
        return found

    if "..." in spec:
        raise UserError(f"{spec}: three dots name two series, one on each side", hint="give A..B")
    if ".." in spec:
        first, _, last = spec.partition("..")
        return commit(first or "HEAD"), commit(last or "HEAD"), ""
    end = commit(spec)
    name = base or _upstream(spec, theirs) or "HEAD"
    start = commit(name)
    if start == end and name == "HEAD":
        raise UserError(f"{spec} is HEAD itself: where does the series start?", hint=f"give A..{spec}, or --base A")
    return start, end, f"{spec} is read from where it left {name}"


def _upstream(branch: str, theirs: git.Repository) -> str | None:
    done = theirs.attempt("rev-parse", "--abbrev-ref", "--verify", "--quiet", f"{branch}@{{upstream}}")
    return done.output.strip() if done.returncode == 0 and done.output.strip() else None


def _read(spec: str, ends: tuple[str, str], reader: _Reader, rule: str) -> Mails:
    span = f"{ends[0]}..{ends[1]}"
    count = int(reader.raw("rev-list", "--count", span))
    if count > MOST:
        raise UserError(f"{spec} holds {count} commits; a series of more than {MOST} is not read")
    merges = reader.raw("rev-list", "--merges", "--abbrev-commit", span).decode().split()
    if merges:
        raise UserError(
            f"{spec} holds {len(merges)} {'merge' if len(merges) == 1 else 'merges'} ({', '.join(merges[:5])}), "
            "and a merge is no patch",
            hint="rebase the branch, or give the part that has none",
        )
    base = reader.merge_base(*ends)
    if base is None and count:
        raise UserError(f"{spec}: the two ends have no commit in common")
    order = ("--reverse", "--topo-order")
    listing = reader.raw("log", *order, "-z", f"--format={_FORMAT}", "--encoding=UTF-8", span)
    fields = listing.split(b"\0")  # which no name and no message can hold
    commits = [fields[place : place + _FIELDS] for place in range(0, count * _FIELDS, _FIELDS)]
    mails = _mails(commits, reader)
    changing = tuple(mail for mail in mails if mail.diff)
    notes = [rule] if rule else []
    notes += [f"{mail.title!r} changes nothing and is left out" for mail in mails if not mail.diff]
    return Mails(changing, base_commit=base, base_rule=BaseRule.RANGE, notes=tuple(notes))


def _mails(commits: list[list[bytes]], reader: _Reader) -> list[Mail]:
    diffs = _diffs([fields[0] for fields in commits], reader)
    return [_mail(fields, diffs[fields[0]]) for fields in commits]


def _diffs(names: list[bytes], reader: _Reader) -> dict[bytes, bytes]:
    """Read all diffs by one git: it says each commit's name on a line before its diff."""
    if not names:
        return {}
    attributes = ("-c", f"core.attributesFile={os.devnull}")
    args = (*attributes, "diff-tree", "--stdin", "--always", "-r", *_DIFF)
    text = reader.raw(*args, input=b"".join(name + b"\n" for name in names))
    if len(text) > letters.MAX_BYTES:
        raise UserError(f"a series of more than {letters.MAX_BYTES >> 20} MiB is not read")
    known = b"|".join(names)
    parts = re.split(rb"^(" + known + rb")\n", text, flags=re.MULTILINE)
    return {name: diff.lstrip(b"\n") for name, diff in zip(parts[1::2], parts[2::2], strict=True)}


def _mail(fields: list[bytes], diff: bytes) -> Mail:
    name, author, address, date, subject = (field.decode("utf-8", "replace") for field in fields[:5])
    return Mail(f"commit {name[:12]}", subject, author, address, date, fields[5], diff)
