"""What ccache answered of a build, and the processor time that this saved."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvm.errors import UserError

SHARED = "KDELTA_CCACHE_SHARED"  # the variable that names it
_HITS = ("direct_cache_hit", "preprocessed_cache_hit")
_NO_SOURCE = ("", "-", "/dev/null")  # what Kbuild tries the compiler with, hundreds of times
_WHOLE = 0.9  # a build in which ccache answered more than the rest says nothing of what compiling costs


@dataclass(frozen=True)
class Use:
    """How many compilations ccache was asked for and how many it answered; `cpu_seconds` is all that the build cost."""

    hits: int
    asked: int
    cpu_seconds: float

    @property
    def compiled(self) -> int:
        """How many it did not answer."""
        return self.asked - self.hits

    @property
    def is_whole(self) -> bool:
        """Did compilers do the work?"""
        return self.asked > 0 and self.compiled >= _WHOLE * self.asked

    def saved(self, measures: Iterator["Use"]) -> float | None:
        """Return the processor seconds saved, at least: what as many compilations cost in the largest of `measures`
        that compilers made, less all that this build cost. None if that one is smaller than what is to be told.
        """
        whole = max(filter(lambda one: one.is_whole, measures), key=lambda one: one.compiled, default=None)
        if not self.hits:
            return 0.0
        if not whole or whole.compiled < self.hits:
            return None
        return round(max(0.0, self.asked * whole.cpu_seconds / whole.asked - self.cpu_seconds), 3)


def shared() -> Path | None:
    """Return the directory that machines which build share, if this one is told of one; raises UserError if it is not
    there.
    """
    named = os.environ.get(SHARED)
    if named and not Path(named).is_dir():
        raise UserError(f"${SHARED}: {named} is no directory", hint="is it mounted?")
    return Path(named).resolve() if named else None


def read(stats: str) -> tuple[int, int]:
    """Return how many compilations of sources ccache answered, and how many it was asked (CCACHE_STATSLOG)."""
    hits = asked = 0
    counts = False
    for line in stats.splitlines():
        if line.startswith("#"):
            counts = line[1:].strip() not in _NO_SOURCE
        elif counts:
            hits += line in _HITS
            asked += line in (*_HITS, "cache_miss")
    return hits, asked


def measures(facts: Iterator[Path], setting: str) -> Iterator[Use]:
    """Yield what the builds of one setting cost, by the files that tell of them."""
    for path in facts:
        with contextlib.suppress(OSError, ValueError, KeyError):  # it goes with its build, or was damaged
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["setting"] == setting:
                yield Use(int(told["ccache_hits"]), int(told["ccache_asked"]), float(told["cpu_seconds"]))
