"""Two commits compared as they are: all that lies between them is one change, and no patch of it is read."""

from pathlib import Path

from kvm import disk
from kvm.errors import UserError
from orchestrator.intake import git, source
from orchestrator.intake.series import Applied
from orchestrator.intake.source import Source
from orchestrator.model import Base, BaseRule, Patch, Series

_HINT = "both are commits, tags or branches of a git: kernel"


def read(spec: str, kernel: str, cache_dir: Path) -> tuple[Source, Base, Applied]:
    """Find both ends of `A..B` in a git kernel: the first is base, the other one patched."""
    start, dots, end = spec.partition("..")
    if not (start and dots and end) or not kernel.startswith("git:"):
        raise UserError(f"{spec!r} of {kernel} is no range of commits", hint=_HINT)
    origin = source.resolve(kernel, start, cache_dir)
    repository = git.Repository(origin.git_dir)
    commit = repository.id(f"{_known(end, kernel)}^{{commit}}")
    if commit is None:
        raise UserError(f"{kernel} has no commit {end!r}", hint=_HINT)
    tree = repository.tree(commit)
    change = Patch(f"all of {spec}", "", repository.changed_files(origin.tree, tree))
    base = Base(origin.commit, BaseRule.RANGE, f"the first commit of {spec}")
    return origin, base, Applied(Series(spec, (change,)), (commit,), tree)


def _known(name: str, kernel: str) -> str:
    """Resolve a name in the user's own repository: our store borrows its objects, not its names."""
    path = disk.expanded(kernel.removeprefix("git:"))
    return git.opened(path).id(f"{name}^{{commit}}") or name
