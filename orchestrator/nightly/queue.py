"""Where a night's items come from: branches of trees, and series in directories, Maildirs, branches, archives."""

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvm import disk
from kvm.errors import Error, UserError
from orchestrator.config import NightlyQueue, NightlyTree
from orchestrator.intake import git, search
from orchestrator.model import ItemEnd, ItemReport
from orchestrator.nightly import threads
from orchestrator.request import Request

_SAYS = ("NAME", "README", "README.md")  # what may lie in a queue's directory and is no series


@dataclass(frozen=True)
class Item:
    """Something to be run. `tip` is the commit of a `branch` of a tree, which is all that its content is known by."""

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

    def holds(self, name: str) -> bool:
        """Is an item there, or may it be?"""
        return name in {one.name for one in self.items} or name.startswith(self.unseen)


def find(asked: Request, bases: Mapping[str, str], own: Path) -> Found:
    """Find all items, and name the trees and queues that cannot be read.

    `bases` are the commits that branches are compared with; what must be written goes into `own`.
    """
    nightly = asked.pipeline.nightly
    if nightly is None or not (nightly.trees or nightly.queues):
        raise UserError("pipeline.yaml has no nightly: trees or queues", hint="docs/nightly.md shows one")
    found, plain = Found(), _plain(asked)
    sources: list[tuple[str, str, Callable[[], Iterator[Item]]]] = [
        *(
            (f"tree {tree.kernel}", f"{tree.kernel} ", lambda tree=tree: _of_tree(tree, plain, bases))
            for tree in nightly.trees
        ),
        *(
            (_name(queue), f"{_name(queue)}: ", lambda queue=queue: _of_queue(queue, plain, own))
            for queue in nightly.queues
        ),
    ]
    for name, beginning, look in sources:
        try:
            found.items += look()
        except (Error, OSError) as fault:
            words = getattr(fault, "message", None) or f"{getattr(fault, 'filename', '')}: {fault}"
            found.failed.append(ItemReport(name, ItemEnd.FAILED, words=words))
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


def _of_tree(tree: NightlyTree, plain: Request, bases: Mapping[str, str]) -> Iterator[Item]:
    """Each branch since its base, at first since its tip's parent."""
    kernel = _kernel(tree.kernel, plain)
    repository = git.opened(_path(kernel))
    for branch, tip in _branches(repository, tree.branches):
        name = f"{tree.kernel} {branch}"
        known = bases.get(name)
        start = known if known and repository.id(f"{known}^{{commit}}") else repository.id(f"{tip}^")
        if start is None:
            raise UserError(f"{name}: its tip has no parent to compare it with")
        yield Item(name, _with(plain, kernel=kernel, series=f"{start}..{tip}", whole=True), branch, tip)


def _branches(repository: git.Repository, patterns: list[str]) -> Iterator[tuple[str, str]]:
    """Branches by name, and their commits."""
    listed = repository.run("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads").splitlines()
    for commit, _, name in (line.partition(" ") for line in listed):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            yield name, commit


def _of_queue(queue: NightlyQueue, plain: Request, own: Path) -> Iterator[Item]:
    kernel = _kernel(queue.kernel or plain.pipeline.kernel, plain)
    asked = _with(plain, kernel=kernel, base=queue.base)
    for name, series in _series(queue, kernel, plain, own):
        yield Item(f"{_name(queue)}: {name}", _with(asked, series=series))


def _series(queue: NightlyQueue, kernel: str, plain: Request, own: Path) -> Iterator[tuple[str, str]]:
    """The name of each series of a queue, and what `kdelta run` would be given."""
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
        yield from _branches(git.opened(_path(kernel)), queue.branches)
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
