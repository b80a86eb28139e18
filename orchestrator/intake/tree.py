"""Commits in, directories of sources out: read-only by agreement, shared by all runs, named by their git tree."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError
from orchestrator import cache
from orchestrator.intake import git
from orchestrator.intake.source import Source

log = logging.getLogger(__name__)

_LONG_AGO = 946_684_800_000_000_000  # 2000-01-01 in ns


def checkout(source: Source, tree: str, cache_dir: Path) -> Path:
    """Return the directory with the files of `tree`, made on first use."""
    final = cache_dir / "trees" / tree
    with disk.lock(cache_dir / "locks" / f"tree-{tree}"):
        if not final.is_dir():
            cache.clear(final)
            base = final if tree == source.tree else checkout(source, source.tree, cache_dir)
            with cache.publish(final) as draft:
                if tree == source.tree:
                    _write(source, tree, draft)
                else:
                    _derive(source, tree, base, draft)
        os.utime(final)  # last use, for gc
    return final


def mend(source: Source, tree: str, cache_dir: Path) -> None:
    """Compare every file of the checkout with `tree` and lay it out anew if one differs: some seconds, well spent
    before a build from nothing.
    """
    final = cache_dir / "trees" / tree
    with tempfile.TemporaryDirectory(prefix="kdelta-mend-") as scratch:
        repository = git.Repository(source.git_dir, index=Path(scratch) / "index")
        repository.run("read-tree", tree)
        env = {"GIT_WORK_TREE": str(final)}
        refreshed = repository.attempt("update-index", "--refresh", env=env)
        strange = repository.attempt("ls-files", "--others", "-z", env=env).output
    if refreshed.returncode or strange:
        log.warning("the checkout %s is damaged; laying it out anew", tree[:12])
        shutil.rmtree(final)
        checkout(source, tree, cache_dir)


def touch(directory: Path, files: Iterable[str], when: int | None = None) -> None:
    """Make `files` newer than every object built so far, or of the time `when` (ns): make compares times."""
    now = time.time_ns() if when is None else when
    for file in files:
        path = directory / file
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(now, now))


def _write(source: Source, tree: str, into: Path, files: Iterable[str] | None = None) -> None:
    repository = git.Repository(source.git_dir, index=into.with_name(f"{into.name}.index"))
    try:
        repository.run("read-tree", tree)
        listed = "".join(f"{file}\0" for file in files or ()).encode()
        which = ("-a",) if files is None else ("-z", "--stdin")
        # git wants a work tree to be told, and then writes below the prefix all the same
        env = {"GIT_WORK_TREE": str(into)}
        repository.run("checkout-index", f"--prefix={into}/", *which, input=listed, env=env)
    finally:
        into.with_name(f"{into.name}.index").unlink(missing_ok=True)


def _derive(source: Source, tree: str, base: Path, into: Path) -> None:
    """Link the base's files and replace what differs: a second tree costs directories, not a gigabyte."""
    linked = proc.run(["cp", "--archive", "--link", f"{base}/.", into])
    if linked.returncode:
        said = linked.output.strip()[-300:]
        raise InfraError(f"the tree {tree[:12]} could not be laid out: {said}", hint="is the disk full?")
    repository = git.Repository(source.git_dir)
    changed = repository.changed_files(source.tree, tree)
    for file in changed:
        (into / file).unlink(missing_ok=True)
    listing = repository.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", tree)
    there = set(listing.split("\0"))
    written = [file for file in changed if file in there]
    _write(source, tree, into, written)
    # objects of a tree that comes before this one may be built from the same files: who builds says which are newer
    touch(into, written, _LONG_AGO)
