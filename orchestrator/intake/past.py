"""The recent past of a commit, bounded: a kernel has more than a million commits, and a question must not cost them."""

import re
from collections.abc import Iterable

from orchestrator.intake import git

COMMITS = 5_000  # of the newest, in which what touched a file is looked for
DIFFED = 300  # of the newest of those, whose patch ids are computed


def touching(tip: str, paths: Iterable[str], repository: git.Repository) -> tuple[str, ...]:
    """Return the commits of the recent past of `tip`, newest first, that changed one of `paths`; no merge, no root."""
    listed = recent(tip, COMMITS, repository)
    names = [f":(literal){path}" for path in paths]
    if not listed or not names:
        return ()
    command = ("diff-tree", "--stdin", "-r", "--name-only", "--no-renames", "--", *names)
    known = set(listed)
    printed = repository.run(*command, input="".join(f"{commit}\n" for commit in listed).encode())
    return tuple(line for line in printed.splitlines() if line in known)


def recent(tip: str, count: int, repository: git.Repository) -> tuple[str, ...]:
    """Return up to `count` commits that lead to `tip`, newest first, without merges and roots."""
    return tuple(repository.run("rev-list", f"--max-count={count}", "--no-merges", "--min-parents=1", tip).splitlines())


def patch_ids(commits: Iterable[str], repository: git.Repository) -> dict[str, str]:
    """Return the commit of each stable patch id among `commits`; renames are looked for, as format-patch does."""
    wanted = "".join(f"{commit}\n" for commit in commits).encode()
    diffs = repository.raw("diff-tree", "-p", "-M", "--stdin", "--no-ext-diff", "--no-textconv", input=wanted)
    return _patch_ids(diffs)


def patch_id(diff: bytes) -> str | None:
    """Return the stable patch id of a diff, None where it has none."""
    return next(iter(_patch_ids(diff)), None)


def names(commits: Iterable[str], repository: git.Repository) -> dict[str, str]:
    """Return the subject of each of `commits`."""
    wanted = "".join(f"{commit}\n" for commit in commits).encode()
    if not wanted:
        return {}
    printed = repository.run("log", "--no-walk=unsorted", "--stdin", "--format=%H %s", input=wanted)
    return {line[: line.index(" ")]: line[line.index(" ") + 1 :] for line in printed.splitlines() if " " in line}


def _patch_ids(diffs: bytes) -> dict[str, str]:
    printed = git.alone("patch-id", "--stable", input=diffs).output
    return dict(re.findall(r"^([0-9a-f]{40,64}) ([0-9a-f]{40,64})$", printed, re.MULTILINE))
