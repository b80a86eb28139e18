"""What parts of a run are made of and leave: trees of sources as packs of git, kernels as directories of the cache."""

import tempfile
from dataclasses import replace
from pathlib import Path

from kvm import disk
from orchestrator import cache
from orchestrator.build import kbuild
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.order import Order
from orchestrator.cluster.blobs import Blobs
from orchestrator.intake import git
from orchestrator.intake.source import Source
from orchestrator.plan import Plan

_STORE = "trees"  # the git store of what was sent here


def send_trees(todo: Plan, blobs: Blobs) -> dict[str, str]:
    """Store every tree that is built, those of the series as what they add to the source's; returns their packs."""
    origin, trees = todo.source, dict.fromkeys((*todo.between, todo.applied.tree))
    return {
        origin.tree: _send(origin, origin.tree, "", blobs),
        **{tree: _send(origin, tree, origin.tree, blobs) for tree in trees if tree != origin.tree},
    }


def _send(origin: Source, tree: str, base: str, blobs: Blobs) -> str:
    name = f"trees/{tree}-{base}"
    if known := blobs.named(name, fresh=True):
        return known
    wanted = f"{tree}\n^{base}\n" if base else f"{tree}\n"
    with tempfile.NamedTemporaryFile(prefix="kdelta-pack-") as file:
        pack = Path(file.name)
        git.Repository(origin.git_dir).into(pack, "pack-objects", "--revs", "--stdout", "-q", input=wanted.encode())
        digest = blobs.put(pack)
    blobs.name(name, digest)
    return digest


def take_trees(origin: Source, packs: dict[str, str], blobs: Blobs, cache_dir: Path) -> Source:
    """Return the source as it is here, with all trees that were sent."""
    with disk.lock(cache_dir / "locks" / f"git-{_STORE}"):
        git_dir = cache.keep(cache_dir / "git" / f"{_STORE}.git")
        repository = git.create(git_dir)
        for tree, digest in packs.items():  # the source's is the first
            if repository.id(f"refs/kdelta/{tree}") is None:
                pack = blobs.fetch(digest, git_dir / "objects" / "pack" / f"pack-{digest[:40]}.pack")
                repository.run("index-pack", pack)
                repository.run("update-ref", f"refs/kdelta/{tree}", tree)  # what a ref holds is not pruned
    return replace(origin, git_dir=git_dir)


def send_build(order: Order, cache_dir: Path, blobs: Blobs) -> None:
    """Store a kernel that was built here, for whoever would build the same."""
    name = f"builds/{order.key}"
    if blobs.named(name, fresh=True) is None:
        blobs.name(name, blobs.put_directory(cache_dir / "builds" / order.key))


def has_build(order: Order, cache_dir: Path, blobs: Blobs) -> bool:
    """Is a kernel here, or in the store?"""
    return bool(kbuild.find(order, cache_dir) or blobs.named(f"builds/{order.key}"))


def take_build(order: Order, cache_dir: Path, blobs: Blobs) -> KernelBuild | None:
    """Bring a kernel that was built elsewhere into the cache, unless it is there; None if nobody has built it."""
    found = kbuild.find(order, cache_dir)
    digest = None if found else blobs.named(f"builds/{order.key}")
    if digest:
        with cache.publish(cache_dir / "builds" / order.key) as draft:
            blobs.fetch_directory(digest, draft)
        found = kbuild.find(order, cache_dir)
    return found
