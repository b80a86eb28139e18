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

    `defines` are the options, without CONFIG_, that the series adds to Kconfig. `start` is the order for the user's own
    tree, on whose objects this one is built; None if it is that itself, and then its builds are trusted to leave
    something for others. `after` are the trees that are built between the two. `ccache_mib` is what ccache may keep.
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
    start: "Order | None" = None
    after: tuple[str, ...] = ()
    ccache_mib: int = 5 << 10

    def is_for_the_series(self, option: str) -> bool:
        """May the series decide whether this tree has an option? It `defines` some, and may take others out."""
        return (option in self.defines) == (self.cell.side is Side.BASE)

    @property
    def toolchain(self) -> Toolchain:
        """The compiler and its tools on this host."""
        return toolchain.find(self.cell.arch, self.compiler)

    @property
    def key(self) -> str:
        """Name the build by all that can change its image: the trees whose builds left objects for it, too."""
        return _name(self.files, *self._setting, self.variables, *filter(None, [self.after]))

    @property
    def objects(self) -> str:
        """Name the O= directory: one for the user's own tree, and one for all that is built on top of it.

        make sees by itself which objects another variable concerns.
        """
        return f"{self.start.objects}-series" if self.start else f"{self.kin}-{_name(*self._setting)}"

    @property
    def kin(self) -> str:
        """Name what the O= directories of one tree have in common, where only their .config differs."""
        return _name(self.files, self.cell.arch, self.sandboxed, *self.toolchain.identity)

    @property
    def setting(self) -> str:
        """Name all but the tree: what as many compilations cost in one build of it, they cost in another."""
        return _name(*self._setting, self.variables)

    def follows(self, trees: tuple[str, ...]) -> bool:
        """May objects that `trees` left, one after the other, be there when this is built?"""
        return (*self.after, self.files)[: len(trees)] == trees

    @property
    def _setting(self) -> tuple[str, ...]:
        wish, more = self.wish, list(self.wish.enable)
        if not self.sandboxed:
            more.append("unsandboxed")  # it knows its files by other paths
        return (self.cell.arch, wish.start, wish.fragments, wish.optional, *self.toolchain.identity, *more)


def _name(*inputs: object) -> str:
    return hashlib.sha256(json.dumps([RECIPE, *inputs]).encode()).hexdigest()[:40]
