"""A request in, a plan out: everything read and checked, the series applied, nothing built yet."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from kvm.errors import UserError
from orchestrator import config, yamlfile
from orchestrator.build import kbuild, kconfig
from orchestrator.intake import mail, series, source
from orchestrator.intake.series import Applied
from orchestrator.intake.source import Source
from orchestrator.model import Cell, ChangeKind, Expectation, Side
from orchestrator.request import Request
from orchestrator.trial import suites
from orchestrator.trial.suites import Suite
from orchestrator.yamlfile import Fault, Section


@dataclass(frozen=True)
class Plan:
    """What will be built, booted and tested."""

    request: Request
    source: Source
    applied: Applied
    suites: tuple[Suite, ...]
    expectations: tuple[Expectation, ...]
    orders: dict[Cell, kbuild.Order]

    @property
    def cache_dir(self) -> Path:
        """The cache of this run."""
        return Path(self.request.cache)

    @property
    def empty(self) -> bool:
        """Does the series leave the tree as it is?"""
        return self.applied.tree == self.source.tree

    def without_suites(self) -> "Plan":
        """The same, for a boot alone."""
        return replace(self, suites=(), expectations=())

    def cells(self, arch: str) -> tuple[Cell, ...]:
        """Both sides of one architecture, base first."""
        return tuple(Cell(side, arch, self.request.pipeline.flavour) for side in Side)


class _Expected(Section):
    """What expect.yaml holds for one suite."""

    fixed: list[str] = Field(default_factory=list)
    same: list[str] = Field(default_factory=list)


class _ExpectFile(Section):
    suites: dict[str, _Expected]


def make(request: Request) -> Plan:
    """Read all that the request names, apply the series, and order the builds. Raises UserError for what is wrong."""
    pipeline, near, cache_dir = request.pipeline, Path(request.near), Path(request.cache)
    if pipeline.series is None:
        raise UserError("no series", hint="name one: `kdelta run SERIES`, or `series:` in pipeline.yaml")
    path = config.find_series(pipeline.series, near)
    mails = mail.read(path).mails
    chosen = tuple(suites.load(config.find_suite(name, near)) for name in pipeline.suites)
    expectations = tuple(_expectations(path, chosen))
    tree = source.resolve(pipeline.kernel, pipeline.base, cache_dir)
    applied = series.apply(mails, tree)
    orders = {}
    for arch in pipeline.arches:
        wish = _wish(arch, pipeline.flavour, chosen)
        for side, files in ((Side.BASE, tree.tree), (Side.PATCHED, applied.tree)):
            cell = Cell(side, arch, pipeline.flavour)
            orders[cell] = kbuild.Order(cell, tree, files, wish, request.jobs, pipeline.limits.build)
    return Plan(request, tree, applied, chosen, expectations, orders)


def _wish(arch: str, flavour: str, chosen: Iterable[Suite]) -> str:
    """The fragments of the cell, and what the suites need beyond them, as one; comments do not make another build."""
    wish = kconfig.parse("\n".join(path.read_text(encoding="utf-8") for path in config.fragments(arch, flavour)))
    needed = {option for suite in chosen for option in suite.needs.config if wish.get(option, "n") == "n"}
    return kconfig.text(wish | dict.fromkeys(needed, "y"))


def _expectations(path: Path, chosen: Iterable[Suite]) -> Iterable[Expectation]:
    file = (path if path.is_dir() else path.parent) / "expect.yaml"
    if not file.is_file():
        return
    names = {suite.name for suite in chosen}

    def unknown(content: _ExpectFile) -> Iterable[Fault]:
        for name, expected in content.suites.items():
            for test in set(expected.fixed) & set(expected.same):
                yield ("suites", name), f"{test} stands both under fixed and same"

    for name, expected in yamlfile.read(file, _ExpectFile, unknown).suites.items():
        if name in names:
            for change, tests in ((ChangeKind.FIXED, expected.fixed), (ChangeKind.SAME, expected.same)):
                yield from (Expectation(name, test, change) for test in tests)
