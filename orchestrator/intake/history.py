"""Is the series in the tree already? And if so: the tree without it as base, the tree as it is as patched."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from kvm.errors import UserError
from orchestrator.intake import git, guard, past, patchtext, series
from orchestrator.intake.patch import Mail
from orchestrator.intake.series import Applied
from orchestrator.intake.source import Source
from orchestrator.model import InTree, Presence, Series

_HINT = "`--revert` takes this tree as patched, and the tree without the series as base"


def find(mails: Sequence[Mail], origin: Source) -> tuple[InTree, ...]:
    """Say for each patch whether it is in the tree of `origin`, and which of the recent commits brought it."""
    patches = [mail for mail in mails if mail.diff]
    repository = git.Repository(origin.git_dir)
    paths = sorted({path for mail in patches for path in _paths(mail)})
    there = _reversible(patches, paths, origin)
    touched = past.touching(origin.commit, paths, repository)
    subjects = past.names(touched, repository)
    ids = past.patch_ids(touched[: past.DIFFED], repository)
    found = []
    for mail, present in zip(patches, there, strict=True):
        by_id = ids.get(past.patch_id(mail.diff) or "")
        commits = [by_id] if by_id else [commit for commit, subject in subjects.items() if subject == mail.title]
        state = Presence.PRESENT if present else Presence.CHANGED if commits else Presence.ABSENT
        found.append(InTree(mail.title, state, tuple(f'{commit[:12]} ("{subjects[commit]}")' for commit in commits)))
    return tuple(found)


def explain(mails: Sequence[Mail], origin: Source, fault: UserError) -> UserError:
    """Return a better fault than `fault`, that the series does not apply, where that is because it is there already."""
    found = find(mails, origin)
    there = [patch for patch in found if patch.presence is not Presence.ABSENT]
    if not there:
        return fault
    said = "; ".join(f"{patch.patch!r} {_how(patch)}" for patch in there)
    if all(patch.presence is Presence.PRESENT for patch in found):
        return UserError(f"the series is already applied to {origin.spec} ({origin.release}): {said}", hint=_HINT)
    hint = "leave out what is there, or take a base from before it (--base)"
    return UserError(f"{fault.message}; {len(there)} of {len(found)} patches are there already: {said}", hint=hint)


def revert(mails: Sequence[Mail], origin: Source, limits: guard.Limits = guard.DEFAULT) -> tuple[Source, Applied]:
    """Take the series out, last patch first: that tree is the source returned, and `origin`'s is the patched one.

    Raises a UserError that names the patch which cannot be taken out.
    """
    guard.check(((mail.source, mail.diff) for mail in mails), limits)
    patches = [mail for mail in mails if mail.diff]
    repository = git.Repository(origin.git_dir)
    without = Mail("", f"{origin.spec} without: {series.title(mails)}", "kdelta", "kdelta@localhost", "", b"", b"")
    with tempfile.TemporaryDirectory(prefix="kdelta-revert-") as scratch:
        held = _taken_out(patches, origin, Path(scratch))
        changes = [series.changed(held[-1], held[0]), *(series.changed(one, other) for one, other in pairwise(held))]
        named = series.describe(patches, changes[1:], repository)
        base, *commits = series.commit([without, *patches], changes, origin, Path(scratch))
    return (
        replace(origin, commit=base, tree=repository.tree(base)),
        Applied(Series(series.title(mails), named), tuple(commits), origin.tree),
    )


def _taken_out(patches: Sequence[Mail], origin: Source, scratch: Path) -> list[series.Entries]:
    """What the touched files are without any patch first, and in `origin` last."""
    try:
        return series.states(patches[::-1], origin, scratch, "-R")[::-1]
    except UserError as fault:
        raise UserError(
            fault.message.replace("does not apply", f"cannot be taken out of {origin.spec}"),
            hint="is the series in this tree, and unchanged since? Without --revert it is applied",
        ) from fault


_APPLY = ("apply", "--cached", "--whitespace=nowarn")


def _reversible(patches: Sequence[Mail], paths: Iterable[str], origin: Source) -> list[bool]:
    """Whether each patch can be taken out, last first; one that could as well be put in is not there.

    On an index of the touched files alone: one of the whole kernel costs 10 MB of writing for each patch.
    """
    with tempfile.TemporaryDirectory(prefix="kdelta-there-") as scratch:
        repository = git.Repository(origin.git_dir, index=Path(scratch) / "index")
        entries = repository.raw("ls-tree", "-r", "-z", origin.commit, "--", *paths) if paths else b""
        repository.run("update-index", "-z", "--index-info", input=entries)
        return [_take_out(mail, repository) for mail in reversed(patches)][::-1]


def _take_out(mail: Mail, repository: git.Repository) -> bool:
    if repository.attempt(*_APPLY, "--check", "-", input=mail.diff).returncode == 0:
        return False
    return repository.attempt(*_APPLY, "-R", "-", input=mail.diff).returncode == 0


def _paths(mail: Mail) -> set[str]:
    sections = patchtext.parse(mail.diff)
    return {path for section in sections for path in (section.old_path, section.new_path) if path}


def _how(patch: InTree) -> str:
    by = f" by {' and '.join(patch.commits)}" if patch.commits else ""
    return f"is in the tree{by}" if patch.presence is Presence.PRESENT else f"was applied{by}, and changed since"
