"""A request in, a plan out: everything read and checked, the series applied, nothing built yet."""

import datetime
import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from kvm import root
from kvm.arch import get as get_arch
from kvm.errors import UserError
from orchestrator import cache, config, splats, yamlfile
from orchestrator.build import instrument, kbuild_options, kconfig, unsandboxed
from orchestrator.build.kconfig import Wish
from orchestrator.build.order import Order
from orchestrator.build.quota import Quota
from orchestrator.config import Pipeline
from orchestrator.intake import base as base_rules
from orchestrator.intake import git, guard, history, mail, series, source, span, tree
from orchestrator.intake.patch import Mail, Mails
from orchestrator.intake.series import Applied
from orchestrator.intake.source import Source
from orchestrator.judge import hunks
from orchestrator.judge.hunks import LineMap
from orchestrator.model import Base, Cell, ChangeKind, Expectation, KnownIssue, Lane, Patch, Side, SplatRules
from orchestrator.request import Request
from orchestrator.trial.suites import found, selftests
from orchestrator.trial.suites import suite as suites
from orchestrator.trial.suites.suite import Copy, Suite
from orchestrator.yamlfile import Fault, Section

CCACHE_SHARE = 8  # of limits.cache_gib one part in so many is ccache's: of 40 GiB the 5 that it takes by itself


@dataclass(frozen=True)
class Plan:
    """What will be built, booted and tested."""

    request: Request
    source: Source
    base: Base
    reverted: bool
    notes: tuple[str, ...]
    cover: Mail | None
    applied: Applied
    suites: tuple[Suite, ...]
    expectations: tuple[Expectation, ...]
    left_out: tuple[str, ...]  # suites of which the series declares results, and which do not run
    expect_file: Path | None
    orders: dict[Cell, Order]
    splat_rules: SplatRules
    known_issues: tuple[KnownIssue, ...]
    between: tuple[str, ...] = ()  # the trees between base and patched, if each patch is to be built

    @property
    def cache_dir(self) -> Path:
        """The cache of this run."""
        return Path(self.request.cache)

    @property
    def empty(self) -> bool:
        """Does the series leave the tree as it is?"""
        return self.applied.tree == self.source.tree

    @property
    def quota(self) -> Quota:
        """What a build, and all else that runs in a sandbox, may use."""
        return next(iter(self.orders.values())).quota

    def files(self, side: Side) -> str:
        """The id of one side's git tree."""
        return self.source.tree if side is Side.BASE else self.applied.tree

    @property
    def entries(self) -> tuple[Path, ...]:
        """What a run uses of the cache for as long as it lasts, be it there yet or not."""
        trees = {self.files(side) for side in Side}
        of_trees = (self.cache_dir / part / files for files in trees for part in ("trees", "checks"))
        orders = self.orders.values()
        objects = {self.cache_dir / "objects" / order.objects for order in orders}
        return *of_trees, *objects, *(self.cache_dir / "builds" / order.key for order in orders)

    def sources(self, side: Side) -> Path:
        """The directory with one side's files."""
        return self._sources[side]

    @functools.cached_property
    def _sources(self) -> dict[Side, Path]:
        """Both checkouts, compared with git once."""
        return {side: tree.checkout(self.source, self.files(side), self.cache_dir) for side in Side}

    def touched(self, side: Side) -> tuple[str, ...]:
        """The files that the series touches and that are on one side."""
        return tuple(file for file in self.applied.series.files if (self.sources(side) / file).is_file())

    @functools.cached_property
    def lines(self) -> LineMap:
        """Where the series carries each line of base."""
        return hunks.parse(self.diff(0).decode("utf-8", "replace"))

    def diff(self, context: int) -> bytes:
        """All that the series does, in one diff with so many lines of context."""
        args = "diff-tree", "-r", "-p", "-M", f"-U{context}", self.source.tree, self.applied.tree
        return git.Repository(self.source.git_dir).raw(*args)

    def without_suites(self) -> "Plan":
        """The same, for a boot alone."""
        return replace(self, suites=(), expectations=(), left_out=())

    def steps(self, lane: Lane) -> list[tuple[int, Patch, Order]]:
        """What is to be built of `between`: number, last patch, order."""
        whole = self.orders[Cell(Side.PATCHED, *lane)]
        return [
            (place + 1, patch, replace(whole, files=tree, after=self.between[:place], defines=frozenset()))
            for place, (tree, patch) in enumerate(zip(self.between, self.applied.series.patches, strict=False))
        ]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Every architecture in every flavour."""
        return tuple(dict.fromkeys(cell.lane for cell in self.orders))


class _Expected(Section):
    """What expect.yaml holds for one suite."""

    fixed: list[str] = Field(default_factory=list)
    same: list[str] = Field(default_factory=list)


class _ExpectFile(Section):
    suites: dict[str, _Expected]


def make(request: Request, mails: Mails | None = None) -> Plan:
    """Read all that the request names, apply the series, and order the builds. Raises UserError for what is wrong.

    `mails` are those of a series that was not read from where the request says, but from standard input.
    """
    pipeline, near, cache_dir = request.pipeline, Path(request.near), Path(request.cache)
    if pipeline.series is None:
        raise UserError("no series", hint="name one: `kdelta run SERIES`, or `series:` in pipeline.yaml")
    cache.require_own(cache_dir)
    mails = mails or (Mails(()) if pipeline.whole else _mails(pipeline, pipeline.series, near))
    accept = pipeline.accept
    limits = guard.Limits(accept.patch_size, accept.series_size, accept.files, accept.binary)
    guard.check(((letter.source, letter.diff) for letter in mails.mails), limits)  # before anything is fetched for it
    chosen = tuple(_suite(config.find_suite(name, near)) for name in pipeline.suites)
    splat_rules = splats.rules()
    known_issues = splats.known(Path(pipeline.known) if pipeline.known else None, datetime.date.today())
    expect_file = _expect_file(Path(pipeline.series))
    declared = list(_expectations(expect_file)) if expect_file else []
    names = {suite.name for suite in chosen}
    if pipeline.whole:
        origin, base, applied = span.read(pipeline.series, pipeline.kernel, cache_dir)
    else:
        origin, base, applied = _applied(pipeline, mails, limits, cache_dir)
    dangerous = unsandboxed.NOTE if pipeline.unsandboxed else None
    return Plan(
        request=request,
        source=origin,
        base=base,
        reverted=pipeline.revert,
        notes=tuple(filter(None, (dangerous, *mails.notes, source.uncommitted(origin)))),
        cover=next((letter for letter in mails.mails if not letter.diff), None),
        applied=applied,
        suites=chosen,
        expectations=tuple(one for one in declared if one.suite in names),
        left_out=tuple(dict.fromkeys(one.suite for one in declared if one.suite not in names)),
        expect_file=expect_file,
        orders=_orders(request, chosen, origin, applied),
        splat_rules=splat_rules,
        known_issues=known_issues,
        between=tuple(map(git.Repository(origin.git_dir).tree, applied.commits[:-1])) if pipeline.each_patch else (),
    )


def _suite(directory: Path) -> Suite:
    """What suite.yaml says, or, without one, what is there to be run."""
    return suites.load(directory) if (directory / suites.FILE).is_file() else found.suite(directory)


def _orders(request: Request, chosen: Iterable[Suite], origin: Source, applied: Applied) -> dict[Cell, Order]:
    """What to build of each cell; base comes first."""
    pipeline, limits = request.pipeline, request.pipeline.limits
    order = functools.partial(
        Order,
        source=origin,
        jobs=request.jobs,
        limit_seconds=limits.build,
        quota=Quota(limits.build_processes, limits.build_memory_mib << 20),
        compiler=pipeline.toolchain,
        sandboxed=not pipeline.unsandboxed,
        ccache_mib=max(1, int(limits.cache_gib * 1024 / CCACHE_SHARE)),  # to ccache 0 is no limit
        defines=_defines(origin, applied),
    )
    enabled = _enabled(origin, applied) if pipeline.enable_touched else ()
    needed = _needed(chosen, origin, applied)
    orders: dict[Cell, Order] = {}
    for flavour, arch in itertools.product(pipeline.flavours, pipeline.arches):
        wish = _wish(pipeline, arch, flavour, needed, enabled)
        variables = _instrumented(wish, origin, applied, pipeline.toolchain)
        base = order(cell=Cell(Side.BASE, arch, flavour), files=origin.tree, wish=wish, variables=variables)
        orders |= {made.cell: made for made in _both(base, applied.tree, reverted=pipeline.revert)}
    return orders


def _both(base: Order, patched: str, *, reverted: bool) -> tuple[Order, Order]:
    """Order both sides of a lane; the one that is the user's own tree is where the other starts from."""
    other = replace(base, cell=replace(base.cell, side=Side.PATCHED), files=patched)
    return (replace(base, start=other), other) if reverted else (base, replace(other, start=base))


def _mails(pipeline: Pipeline, name: str, near: Path) -> Mails:
    kind, _, path = pipeline.kernel.partition(":")
    found = config.find("patches", name, near)
    return mail.read(found or name, repository=Path(path) if kind == "git" else None, base=pipeline.base)


def _applied(pipeline: Pipeline, mails: Mails, limits: guard.Limits, cache_dir: Path) -> tuple[Source, Base, Applied]:
    """Find the base, and put the series on it, or take it out of the tree."""
    origin = source.resolve(pipeline.kernel, pipeline.base, cache_dir)
    wish = base_rules.Wish(bool(pipeline.base), mails.base_commit, mails.base_rule, mails.prerequisites)
    if pipeline.revert:
        without, applied = history.revert(mails.mails, origin, limits)
        return without, base_rules.without(mails.mails, origin, wish, without), applied
    found = base_rules.choose(mails.mails, origin, wish)
    origin = source.at(origin, found.commit)
    try:
        applied = series.apply(mails.mails, origin, limits)
    except UserError as fault:
        raise _noted(history.explain(mails.mails, origin, fault), found, mails.notes) from fault
    if history.reversible(mails.mails, origin):
        found = replace(found, notes=(*found.notes, _TWICE))
    return origin, found, applied


_TWICE = "the tree may hold the series already: it can be put in, and taken out as well (--revert does that)"


def _noted(fault: UserError, found: Base, notes: Iterable[str]) -> UserError:
    """Say with the fault what was decided on the way to it, for there the reason may be."""
    said = [f"the base is {found.commit[:12]} by {found.rule}: {found.sure}", *found.notes, *notes]
    return UserError("".join([fault.message, *(f"\n  note: {line}" for line in said)]), hint=fault.hint)


def _needed(chosen: Iterable[Suite], origin: Source, applied: Applied) -> tuple[dict[str, str], dict[str, str]]:
    """The options that the suites need, and those that their selftests would have: the same for both sides."""
    repository = git.Repository(origin.git_dir)
    words = [word.partition("=") for suite in chosen for word in suite.needs.config]
    would = [
        selftests.config(suite, origin.tree if suite.copy is Copy.BASE else applied.tree, repository)
        for suite in chosen
    ]
    return {name: value or "y" for name, _, value in words}, kconfig.parse("\n".join(would))


def _wish(
    pipeline: Pipeline,
    arch: str,
    flavour: str,
    needed: tuple[dict[str, str], dict[str, str]],
    enabled: tuple[str, ...],
) -> Wish:
    """The fragments of the cell, and what the suites need beyond them, as one; comments do not make another build.

    What a fragment says not every kernel has is no must for a suite either: its tests say what they skip.
    """
    start = pipeline.config
    if start not in config.CONFIG_GOALS:
        start = Path(start).read_text(encoding="utf-8", errors="replace")
    paths = [*config.fragments(arch, flavour), *map(Path, pipeline.fragments)]
    fragments = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    wish = kconfig.parse(fragments)
    may_be = kconfig.optional(fragments)
    must, would = ({name: value for name, value in part.items() if wish.get(name, "n") == "n"} for part in needed)
    must = {name: value for name, value in must.items() if name not in may_be}
    if named := pipeline.guest.root_of(arch):
        root.find(named, get_arch(arch))  # before anything is built for it
        if pipeline.keep_state:
            hint = "leave keep_state or the root file system out"
            raise UserError(f"keep_state: QEMU keeps no state of a guest that has mounted {named}", hint=hint)
        must |= dict.fromkeys(root.OPTIONS, "y")
    return Wish(start, kconfig.text(wish | must), kconfig.text(would | may_be), enabled)


def _enabled(origin: Source, applied: Applied) -> tuple[str, ...]:
    """The options that the Makefiles of the patched tree want for the touched files."""
    repository = git.Repository(origin.git_dir)
    read = functools.partial(repository.text, applied.tree)
    found = (kbuild_options.options_for(file, read) for file in applied.series.files)
    return tuple(sorted({option for options in found for option in options or ()}))


def _defines(origin: Source, applied: Applied) -> frozenset[str]:
    """The options that the series adds to Kconfig."""
    repository = git.Repository(origin.git_dir)
    files = [file for file in applied.series.files if Path(file).name.startswith("Kconfig")]
    base, patched = (
        {option for file in files for option in kconfig.defined(repository.text(tree_id, file) or "")}
        for tree_id in (origin.tree, applied.tree)
    )
    return frozenset(patched - base)


def _instrumented(wish: Wish, origin: Source, applied: Applied, compiler: str) -> tuple[str, ...]:
    """With gcov in the kernel, the objects that the series touches count what they execute, on both sides."""
    if kconfig.parse(wish.fragments).get("GCOV_KERNEL") != "y":
        return ()
    repository = git.Repository(origin.git_dir)
    read = functools.partial(repository.text, applied.tree)
    users = functools.partial(repository.users, applied.tree)
    return instrument.variables(applied.series.files, compiler, read, users)


def _expect_file(series_path: Path) -> Path | None:
    """Find expect.yaml beside the patches; a series that is no path declares nothing."""
    file = (series_path if series_path.is_dir() else series_path.parent) / "expect.yaml"
    return file if series_path.exists() and file.is_file() else None


def _expectations(file: Path) -> Iterable[Expectation]:
    def unknown(content: _ExpectFile) -> Iterable[Fault]:
        for name, expected in content.suites.items():
            for test in set(expected.fixed) & set(expected.same):
                yield ("suites", name), f"{test} stands both under fixed and same"

    for name, expected in yamlfile.read(file, _ExpectFile, unknown).suites.items():
        for change, tests in ((ChangeKind.FIXED, expected.fixed), (ChangeKind.SAME, expected.same)):
            yield from (Expectation(name, test, change) for test in tests)
