"""Room in the cache: what `kdelta gc` shows and frees, and what a run does at its end."""

import contextlib
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm import disk, proc
from orchestrator import inventory
from orchestrator.intake import git
from orchestrator.inventory import Entry

log = logging.getLogger(__name__)

OLD_SECONDS = 30 * 86400.0
TRIM_SECONDS = 3600.0  # a walk through twenty trees takes seconds
_CCACHE = "ccache"


@dataclass(frozen=True)
class Survey:
    """The cache as it was found: what can go whole, and the bytes of each part of the rest."""

    root: Path
    entries: Sequence[Entry]
    rest: dict[str, int]

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each part."""
        return dict(sum_by_part(self.entries)) | self.rest

    def stale(self, age: float, most: int | None) -> list[Entry]:
        """What was not used for `age` seconds, and what has to go lest all be larger than `most` bytes."""
        left = None if most is None else most - sum(self.rest.values())
        return inventory.stale(self.entries, now=time.time(), age=age, most=left)


def survey(root: Path) -> Survey:
    """Walk through the whole cache."""
    return Survey(root, inventory.take(root), inventory.rest(root))


def sum_by_part(entries: Sequence[Entry]) -> dict[str, int]:
    """Add up sizes."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.part] += entry.size
    return dict(sizes)


def free(found: Survey, *, age: float, most: int | None) -> dict[str, int]:
    """Remove what is stale, and of what stays what its own program knows to be old; returns the bytes by part."""
    gone = inventory.remove(found.stale(age, most))
    freed = Counter(sum_by_part(gone))
    for entry in found.entries:
        if entry.part == "git" and entry not in gone:
            freed["git"] += _prune(entry, age)
    ccache = found.root / _CCACHE
    if ccache.is_dir() and shutil.which("ccache"):
        _evict(ccache, age)
        freed[_CCACHE] += found.rest[_CCACHE] - inventory.size(ccache)
    return dict(freed)


def trim(root: Path, most: int, *, every: float = TRIM_SECONDS) -> None:
    """Keep no more than `most` bytes in the cache, the last used; it is looked at once in `every` seconds."""
    stamp = root / "locks" / "trimmed"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - stamp.stat().st_mtime < every:
            return
    stamp.touch()
    found = survey(root)
    if sum(found.sizes.values()) > most:
        freed = free(found, age=OLD_SECONDS, most=most)
        log.info("the cache had outgrown its limit: freed %d MiB", sum(freed.values()) >> 20)


def _prune(store: Entry, age: float) -> int:
    """Drop the commits of series that were last seen long ago from a git store, unless a run uses it."""
    with disk.try_alone(store.path) as alone:
        if not alone or not store.path.is_dir():
            return 0
        git.prune(store.path, age)
        os.utime(store.path, (store.used, store.used))
    return store.size - inventory.size(store.path)


def _evict(ccache: Path, age: float) -> None:
    """Have ccache drop what it was not asked for; builds write there, so that a configuration in it does not count."""
    env = {"CCACHE_DIR": str(ccache), "CCACHE_CONFIGPATH": os.devnull}
    proc.run(["ccache", "--evict-older-than", f"{int(age)}s"], env=env)
