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

TOLD = 3  # patches that a message names
_HINT = "`--revert` takes this tree as patched, and the tree without the series as base"


def find(mails: Sequence[Mail], origin: Source) -> tuple[InTree, ...]:
    """Say for each patch whether it is in the tree of `origin`, and which of the recent commits brought it."""
    patches = [mail for mail in mails if mail.diff]
    repository = git.Repository(origin.git_dir)
    paths = sorted({path for mail in patches for path in _paths(mail)})
    whole = not _applies(patches, origin) and _applies(patches[::-1], origin, "-R")
    there = [True] * len(patches) if whole else _reversible(patches, paths, origin)
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
    changed = [patch for patch in found if patch.presence is Presence.CHANGED]
    before = "`--base` takes a commit" if origin.spec.startswith("git:") else "`--kernel` takes a tree"
    if not there:
        return fault
    if len(there) < len(found):
        count = f"{len(there)} of {len(found)} patches are there already"
        return UserError(
            f"{fault.message}; {count}: {_list(there)}", hint=f"leave out what is there; {before} without it"
        )
    if changed:
        said = f"the series was applied to {origin.spec} ({origin.release}), and is not as it was: {_list(changed)}"
        return UserError(said, hint=f"{before} from before it")
    said = f"the series is already applied to {origin.spec} ({origin.release}): {_list(there)}"
    return UserError(said, hint=_HINT)


def reversible(mails: Sequence[Mail], origin: Source) -> bool:
    """Say whether all of the series can be taken out, last patch first, and each patch takes something away.

    The usual answer, no, costs one patch.
    """
    patches = [mail for mail in mails if mail.diff]
    if not patches or not _takes_away(patches[-1:], origin):
        return False
    return len(patches) == 1 or _takes_away(patches, origin)


def _takes_away(patches: Sequence[Mail], origin: Source) -> bool:
    with tempfile.TemporaryDirectory(prefix="kdelta-there-") as scratch:
        try:
            held = series.states(patches[::-1], origin, Path(scratch), "-R")
        except UserError:
            return False
    return all(one != other for one, other in pairwise(held))


def _list(patches: Sequence[InTree]) -> str:
    more = f"; and {len(patches) - TOLD} more" if len(patches) > TOLD else ""
    return "; ".join(f"{patch.patch!r} {_how(patch)}" for patch in patches[:TOLD]) + more


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
            hint="is it in this tree, and not changed by what came after it? Without --revert it is applied",
        ) from fault


_APPLY = ("apply", "--cached", "--whitespace=nowarn")


def _applies(patches: Sequence[Mail], origin: Source, *how: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="kdelta-there-") as scratch:
        try:
            series.states(patches, origin, Path(scratch), *how)
        except UserError:
            return False
    return True


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
    level = f"-p{mail.strip}"
    if repository.attempt(*_APPLY, level, "--check", "-", input=mail.diff).returncode == 0:
        return False
    return repository.attempt(*_APPLY, level, "-R", "-", input=mail.diff).returncode == 0


def _paths(mail: Mail) -> set[str]:
    sections = patchtext.parse(mail.diff, mail.strip)
    return {path for section in sections for path in (section.old_path, section.new_path) if path}


def _how(patch: InTree) -> str:
    commits = [commit.removesuffix(f' ("{patch.patch}")') for commit in patch.commits]
    by = f" by {' and '.join(commits)}" if commits else ""
    return f"is in the tree{by}" if patch.presence is Presence.PRESENT else f"was applied{by}, and changed since"
