"""What to build, and the names under which what it gives is kept."""

import hashlib
import json
from dataclasses import dataclass

from orchestrator.build import toolchain
from orchestrator.build.kconfig import Wish
from orchestrator.build.quota import Quota
from orchestrator.build.toolchain import Toolchain
from orchestrator.intake.source import Source
from orchestrator.model import Cell, Side

RECIPE = 3  # raise it when the same inputs would give another image


@dataclass(frozen=True)
class Order:
    """One kernel to build: `files` is the git tree id, `variables` go on make's command line.

    `defines` are the options, without CONFIG_, that the series adds to Kconfig.
    """

    cell: Cell
    source: Source
    files: str
    wish: Wish
    jobs: int
    limit_seconds: float
    quota: Quota
    compiler: str = "gcc"
    variables: tuple[str, ...] = ()
    sandboxed: bool = True
    defines: frozenset[str] = frozenset()

    def is_for_the_series(self, option: str) -> bool:
        """May the series decide whether this tree has an option? It `defines` some, and may take others out."""
        return (option in self.defines) == (self.cell.side is Side.BASE)

    @property
    def toolchain(self) -> Toolchain:
        """The compiler and its tools on this host."""
        return toolchain.find(self.cell.arch, self.compiler)

    @property
    def key(self) -> str:
        """Name the build by all that can change its image."""
        return _name(self.files, *self._setting, self.variables)

    @property
    def objects(self) -> str:
        """Name the O= directory: base and every version of a series share one, so that only what differs is rebuilt.

        make sees by itself which objects another variable concerns.
        """
        return _name(self.source.tree, *self._setting)

    @property
    def _setting(self) -> tuple[str, ...]:
        wish, more = self.wish, list(self.wish.enable)
        if not self.sandboxed:
            more.append("unsandboxed")  # it knows its files by other paths
        return (self.cell.arch, wish.start, wish.fragments, wish.optional, self.toolchain.version, *more)


def _name(*inputs: object) -> str:
    return hashlib.sha256(json.dumps([RECIPE, *inputs]).encode()).hexdigest()[:40]
