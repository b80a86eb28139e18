"""Where a night's items come from: branches of trees, and series in directories, Maildirs, branches, archives."""

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvm import disk
from kvm.errors import UserError
from orchestrator.config import NightlyQueue, NightlyTree
from orchestrator.intake import git, search
from orchestrator.model import ItemEnd, ItemReport
from orchestrator.nightly import faults, threads
from orchestrator.request import Request

_SAYS = ("NAME", "README", "README.md")  # what may lie in a queue's directory and is no series
Base = Callable[[str, str], str | None]  # of an item, and its tip

_MANY = set("*?[")  # what makes a name of a branch a pattern


@dataclass(frozen=True)
class Item:
    """Something to be run. `tip` is the commit of a `branch` of a tree."""

    name: str
    request: Request
    branch: str = ""
    tip: str = ""


@dataclass
class Found:
    """What a night finds: items, reports of what cannot be run, and how the names begin of what was not to be seen."""

    items: list[Item] = field(default_factory=list)
    failed: list[ItemReport] = field(default_factory=list)
    unseen: tuple[str, ...] = ()

    def add(self, one: Item | ItemReport) -> None:
        """Take what is found, or that it cannot be run."""
        if isinstance(one, Item):
            self.items.append(one)
        else:
            self.failed.append(one)

    def holds(self, name: str) -> bool:
        """Is an item there, or may it be?"""
        named = {one.name for one in self.items} | {one.item for one in self.failed}
        return name in named or name.startswith(self.unseen)


def find(asked: Request, base: Base, own: Path) -> Found:
    """Find all items, and name the trees and queues that cannot be read.

    `base` names the commit that a branch's tip is compared with; what must be written goes into `own`.
    """
    nightly = asked.pipeline.nightly
    if nightly is None or not (nightly.trees or nightly.queues):
        raise UserError("pipeline.yaml has no nightly: trees or queues", hint="docs/nightly.md shows one")
    found, plain = Found(), _plain(asked)
    sources: list[tuple[str, str, Callable[[], Iterator[Item | ItemReport]]]] = [
        *(
            (f"tree {tree.kernel}", f"{tree.kernel} ", lambda tree=tree: _of_tree(tree, plain, base))
            for tree in nightly.trees
        ),
        *(
            (_name(queue), f"{_name(queue)}: ", lambda queue=queue: _of_queue(queue, plain, own))
            for queue in nightly.queues
        ),
    ]
    for name, beginning, look in sources:
        try:
            for one in look():
                found.add(one)
        except Exception as fault:
            found.failed.append(ItemReport(name, ItemEnd.FAILED, words=faults.said(fault, name)))
            found.unseen += (beginning,)
    return found


def _plain(asked: Request) -> Request:
    """What every item is asked with: the matrix of the night, and nothing of the night itself."""
    nightly = asked.pipeline.nightly
    assert nightly
    matrix = {"arches": nightly.arches, "flavours": nightly.flavours}
    given = {key: value for key, value in matrix.items() if value}
    return _with(asked, nightly=None, series=None, base=None, whole=False, **given)


def _with(asked: Request, **keys: object) -> Request:
    return asked.model_copy(update={"pipeline": asked.pipeline.model_copy(update=keys)})


def _name(queue: NightlyQueue) -> str:
    kind = queue.sources[0]
    value = getattr(queue, kind)
    return f"{kind} {value if isinstance(value, str) else ' '.join(value)}"


def _of_tree(tree: NightlyTree, plain: Request, base: Base) -> Iterator[Item | ItemReport]:
    """Each branch since its base, at first since its tip's parent."""
    kernel = _kernel(tree.kernel, plain)
    repository = git.opened(_path(kernel))
    for branch, tip in _branches(repository, tree.branches):
        name = f"{tree.kernel} {branch}"
        known = base(name, tip)
        if not tip:
            yield _no_branch(name)
        elif start := known if known and repository.id(f"{known}^{{commit}}") else repository.id(f"{tip}^"):
            yield Item(name, _with(plain, kernel=kernel, series=f"{start}..{tip}", whole=True), branch, tip)
        else:
            yield ItemReport(name, ItemEnd.FAILED, words="its tip has no parent to compare it with")


def _branches(repository: git.Repository, patterns: list[str]) -> Iterator[tuple[str, str]]:
    """Branches by name, and their commits; a pattern that names none stands there itself, with no commit."""
    listed = repository.run("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
    commits = dict(line.split(" ") for line in listed)
    named = {pattern: fnmatch.filter(commits, pattern) or [pattern] for pattern in patterns}
    for name in sorted({name for names in named.values() for name in names}):
        yield name, commits.get(name, "")


def _no_branch(name: str) -> ItemReport:
    return ItemReport(name, ItemEnd.FAILED, words="there is no such branch: was it renamed, or is the name mistyped?")


def _of_queue(queue: NightlyQueue, plain: Request, own: Path) -> Iterator[Item | ItemReport]:
    kernel = _kernel(queue.kernel or plain.pipeline.kernel, plain)
    asked = _with(plain, kernel=kernel, base=queue.base)
    for name, series in _series(queue, kernel, plain, own):
        full = f"{_name(queue)}: {name}"
        yield Item(full, _with(asked, series=series)) if series else _no_branch(full)


def _series(queue: NightlyQueue, kernel: str, plain: Request, own: Path) -> Iterator[tuple[str, str]]:
    """The name of each series of a queue, and what `kdelta run` would be given; nothing where that is not there."""
    if queue.directory is not None:
        for entry in sorted(_below(queue.directory, plain).iterdir()):
            if not entry.name.startswith(".") and entry.name not in _SAYS:
                yield entry.name, str(entry)
    elif queue.maildir is not None:
        yield from _of_mails(threads.in_maildir(_below(queue.maildir, plain)), queue, own)
    elif queue.search is not None:
        yield from _of_mails(search.threads(queue.search, queue.archive), queue, own)
    elif queue.branches is not None:
        if not kernel.startswith("git:"):
            raise UserError(f"branches are of a git: kernel, not of {kernel}", hint="kernel: of the queue names one")
        found = _branches(git.opened(_path(kernel)), queue.branches)
        yield from ((name, commit) for name, commit in found if commit or not _MANY & set(name))  # it may be empty
    else:
        yield from ((message, message) for message in queue.b4 or ())


def _of_mails(mails: Iterable[bytes], queue: NightlyQueue, own: Path) -> Iterator[tuple[str, str]]:
    mine = own / hashlib.sha256(_name(queue).encode()).hexdigest()[:12]
    return ((name, str(thread)) for name, thread in threads.split(mails, mine))


def _kernel(spec: str, plain: Request) -> str:
    return f"git:{_below(spec.removeprefix('git:'), plain)}" if spec.startswith("git:") else spec


def _below(path: str, plain: Request) -> Path:
    return (Path(plain.near) / disk.expanded(path)).resolve()


def _path(kernel: str) -> Path:
    return Path(kernel.removeprefix("git:"))
