"""Commits in, directories of sources out: read-only by agreement, shared by all runs, named by their git tree.

Beside each stands git's own index of it: git compares 70,000 files with it in a third of a second.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError
from orchestrator import cache, listing
from orchestrator.intake.git import Repository
from orchestrator.intake.source import Source

log = logging.getLogger(__name__)

_LONG_AGO = 946_684_800_000_000_000  # 2000-01-01 in ns


def checkout(source: Source, tree: str, cache_dir: Path) -> Path:
    """Return the directory with the files of `tree`, made on first use; what is not as git has it is mended."""
    final = cache_dir / "trees" / tree
    with disk.hold(final), disk.lock(cache_dir / "locks" / f"tree-{tree}"):
        if final.is_dir():
            _mend(source, tree, final)
        else:
            cache.clear(final)
            base = None if tree == source.tree else checkout(source, source.tree, cache_dir)
            with cache.publish(final) as draft:
                _lay_out(source, tree, base, draft)
        os.utime(final)  # last use, for gc
    return final


def index_of(directory: Path) -> Path:
    """Where the index of a checkout stands."""
    return directory.with_name(f"{directory.name}.index")


def touch(directory: Path, files: Iterable[str], when: int | None = None) -> None:
    """Make `files` newer than every object built so far, or of the time `when` (ns): make compares times."""
    now = time.time_ns() if when is None else when
    for file in files:
        path = directory / file
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(now, now))


def sweep(repository: Repository, directory: Path) -> list[str]:
    """Remove what stands in `directory` and not in the index, and return its names; directories end with a slash."""
    listed = repository.raw("ls-files", "--others", "--directory", "-z").split(b"\0")
    strange = [os.fsdecode(name) for name in (*listed, b".git") if name]  # git lists everything but .git
    strange = [name for name in strange if os.path.lexists(directory / name)]
    for name in strange:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return strange


def _lay_out(source: Source, tree: str, base: Path | None, into: Path) -> None:
    """Write the files of `tree`, or link those of `base` and let git replace what differs: a second tree costs
    directories, not a gigabyte.
    """
    final = into.with_name(tree)
    with tempfile.TemporaryDirectory(prefix="kdelta-index-") as scratch:
        index = Path(scratch) / "index"
        repository = Repository(source.git_dir, index=index, work_tree=into)
        if base is None:
            repository.run("read-tree", tree)
            repository.run("checkout-index", "--all", "--index")
        else:
            linked = proc.run(["cp", "--archive", "--link", f"{base}/.", into])
            if linked.returncode:
                said = linked.output.strip()[-300:]
                raise InfraError(f"the tree {tree[:12]} could not be laid out: {said}", hint="is the disk full?")
            shutil.copyfile(index_of(base), index)
            repository.run("read-tree", "--reset", "-u", tree)  # it removes a file before it writes it: no link is left
            # objects of a tree that comes before this may be built from the same files: who builds says which are newer
            touch(into, repository.changed_files(source.tree, tree), _LONG_AGO)
            repository.run("update-index", "--refresh")
        disk.write(index_of(final), index.read_bytes())


def _mend(source: Source, tree: str, directory: Path) -> None:
    """Lay out anew what differs from `tree`, in place, for another run may be reading there."""
    index = index_of(directory)
    repository = Repository(source.git_dir, index=index, work_tree=directory)
    index.with_name(f"{index.name}.lock").unlink(missing_ok=True)  # of a git that was killed; we hold the tree's lock
    changed: list[str] = []
    if not _is_as(repository, tree):
        log.info("comparing the checkout %s with git, file by file", tree[:12])
        index.unlink(missing_ok=True)
        repository.run("read-tree", tree)
        refreshed = repository.attempt("update-index", "--refresh")
        changed = [line.rpartition(": ")[0] for line in refreshed.output.splitlines() if refreshed.returncode]
    if changed:
        repository.run("checkout-index", "--all", "--force", "--index")
    changed += sweep(repository, directory)
    if changed:
        log.warning("the checkout %s was damaged, and is mended: %s", tree[:12], listing.first(changed, 3))


def _is_as(repository: Repository, tree: str) -> bool:
    """Is the index one of `tree`, and no file newer than it knows?"""
    known = repository.attempt("write-tree", "--missing-ok")
    same = not known.returncode and known.output.strip() == tree
    return same and not repository.attempt("update-index", "--refresh").returncode
