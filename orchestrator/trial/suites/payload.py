"""A suite in, all that a guest needs to run it out: one archive, and the programs in it as tests of their own."""

import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from kvm import disk, elf
from kvm.arch import Arch
from kvm.elf import Elf
from kvm.errors import UserError
from orchestrator.build.order import Order
from orchestrator.model import Side
from orchestrator.trial import stretch
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.suites import compiled, debian, ltp, modules, scripts, selftests, stage
from orchestrator.trial.suites.debian import Packages
from orchestrator.trial.suites.libraries import PLACE, Libraries
from orchestrator.trial.suites.run import Run, Unrun
from orchestrator.trial.suites.stage import Stage, inside
from orchestrator.trial.suites.suite import Isolation, Suite

START = ".start"  # what a shell in the guest reads before a program that brings its libraries
# What KUnit's suites left when the kernel booted, each in a file, as one; kernels before 6.3 give no plan of theirs.
_KUNIT = r"""set -- /sys/kernel/debug/kunit/*/results
[ -e "$1" ] || { echo "no suite of KUnit left results in debugfs" >&2; exit 1; }
echo "KTAP version 1"
echo "1..$#"
sed -e '/^KTAP version /d' -e '/^1\.\./d' "$@"
"""


@dataclass(frozen=True)
class Place:
    """Where a suite's programs are made: for which architecture, from whose trees, beside which kernel's modules.

    `sources` are the checkouts of both sides, `modules` the archive of the kernel under test, if it has any. In a root
    of the user's (`rooted`) programs find libraries, interpreters and packages, which nobody looks for here.
    """

    arch: Arch
    side: Side
    cache_dir: Path
    orders: Mapping[Side, Order] = field(default_factory=dict)
    sources: Mapping[Side, Path] = field(default_factory=dict)
    modules: Path | None = None
    rooted: bool = False


@dataclass(frozen=True)
class Payload:
    """A suite as one guest gets it. `unrun` are programs that cannot be run."""

    suite: Suite
    archive: Path
    runs: tuple[Run, ...]
    unrun: tuple[Unrun, ...] = ()

    @property
    def at_boot(self) -> bool:
        """Do its tests run while the kernel boots?"""
        return [run.command for run in self.runs] == [_KUNIT]

    @property
    def single(self) -> bool:
        """Is it one program, whose tests are the suite's?"""
        return not self.unrun and len(self.runs) == 1 and not self.runs[0].name

    @property
    def one_by_one(self) -> bool:
        """Does each of its tests want a guest of its own?"""
        return self.suite.isolation is Isolation.TEST

    def known(self, run: Run, test: str = "") -> str:
        """What one of its programs, or a test that has a guest of its own, is known as from one run to the next."""
        part = f"{self.runs.index(run) + 1:03d}-{stretch.written(run.name)}" if run.name else test
        return f"{self.suite.name}{f'/{part}' if part else ''}"

    def only(self, programs: Collection[str]) -> "Payload":
        """The same with those of its programs that are known as one of these; what is one program stays as it is."""
        if self.single:
            return self
        return replace(self, runs=tuple(run for run in self.runs if self.known(run) in programs), unrun=())


def make(suite: Suite, place: Place) -> Payload:
    """Compile, build, fetch and look up all that `suite` needs; raises UserError for what cannot be had."""
    staged = Stage()
    unrun: tuple[Unrun, ...] = ()
    with debian.unpacked(suite.packages, place.arch, place.cache_dir) as packages:
        if suite.targets:
            side = selftests.whose(suite, place.side)
            made = selftests.make(suite, place.orders[side], place.sources[side], place.cache_dir, packages)
            staged.files |= made.files
            runs, unrun = made.runs, made.unrun
        elif suite.tree:
            runs = ltp.stage(suite, _resolved(suite, suite.tree, place.arch), staged)
        else:
            runs = tuple(_local(suite, place, staged))
        if suite.kind is SuiteKind.LTP:
            runs = tuple(ltp.settled(suite, run) for run in runs)
        if not place.rooted:
            runs = _equip(suite, place, staged, runs, packages)
        archive = stage.pack(suite.name, staged, place.cache_dir)
    return Payload(suite, archive, runs, unrun)


def _local(suite: Suite, place: Place, staged: Stage) -> Iterator[Run]:
    """Stage what stands in suite.yaml, and yield what is to be run of it."""
    for pattern in suite.files:
        for at, path in _matching(suite, pattern, place.arch):
            if path.is_dir():
                staged.add_tree(path, at)
            else:
                _add(suite, staged, at, path)
    named = [one for pattern in suite.binaries for one in _matching(suite, pattern, place.arch)]
    for at, path in named:
        _add(suite, staged, at, path)
    command = suite.command
    if suite.sources:
        staged.files[suite.name] = compiled.program(suite, place.arch.name, place.cache_dir)
        command = command or _words(inside(suite.name), suite.name, suite.args)
    if suite.modules:
        command = modules.stage(suite, place.modules, staged)
    if command is None and not named and suite.kind is SuiteKind.KUNIT:
        command = _KUNIT
    if command is not None:
        yield Run("", command)
    else:
        yield from (Run(at, _words(inside(suite.name), at, suite.args), at) for at, path in named if path.is_file())


def _add(suite: Suite, staged: Stage, at: str, path: Path) -> None:
    other = staged.files.setdefault(at, path)
    if not other.samefile(path):
        raise UserError(
            f"suite {suite.name}: {other} and {path} would both be {at} in the guest",
            hint="what is not below the suite's directory comes under its name alone; copies below it keep their paths",
        )


def _words(directory: str, at: str, args: str) -> str:
    return f"{shlex.quote(f'{directory}/{at}')} {args}".rstrip()


def _matching(suite: Suite, pattern: str, arch: Arch) -> list[tuple[str, Path]]:
    """What a path or pattern of suite.yaml names: places in the guest, and paths here."""
    path = _resolved(suite, pattern, arch)
    if path.exists():
        found = [path]
    else:
        top = Path(path.anchor)
        found = sorted(one for one in top.glob(str(path.relative_to(top))) if one.is_file())
    if not found:
        raise UserError(
            f"suite {suite.name}: {pattern!r} names nothing for {arch.name}: no {path}",
            hint=f"paths are relative to {suite.directory}; *, ? and [] are patterns, {{arch}} is the architecture",
        )
    return [(_place(suite, one), one) for one in found]


def _resolved(suite: Suite, name: str, arch: Arch) -> Path:
    return suite.directory.absolute() / disk.expanded(name.replace("{arch}", arch.name))


def _place(suite: Suite, path: Path) -> str:
    """The suite's own files stay where they are below it; others come under their name."""
    own, path = (Path(os.path.normpath(one)) for one in (suite.directory.absolute(), path))
    return str(path.relative_to(own)) if path.is_relative_to(own) else path.name


def _equip(
    suite: Suite, place: Place, staged: Stage, runs: tuple[Run, ...], packages: Packages | None
) -> tuple[Run, ...]:
    """Stage the libraries that the programs need, and what a shell must read before it starts one."""
    if packages:
        packages.stage(staged)
    start = list(scripts.links(suite, staged, runs, packages))
    start += _libraries(suite, place, staged, runs, packages)
    if packages:
        start += debian.start(inside(suite.name))
    if start:
        staged.texts[START] = "".join(f"{line}\n" for line in start)
        return tuple(replace(run, start=f". {inside(suite.name)}/{START} && ") for run in runs)
    return runs


def _libraries(
    suite: Suite, place: Place, staged: Stage, runs: tuple[Run, ...], packages: Packages | None
) -> Iterator[str]:
    """Stage them, and yield the shell lines by which programs find them."""
    own = tuple(suite.directory.absolute() / name.replace("{arch}", place.arch.name) for name in suite.libraries)
    where = Libraries(suite.name, place.arch, (suite.directory.absolute(), *own), packages)
    if found := where.of(_programs(staged, runs)):
        staged.files |= {f"{PLACE}/{name}": path.resolve() for name, path in found.items()}
        yield from _load(suite, place.arch, found)


def _programs(staged: Stage, runs: tuple[Run, ...]) -> list[Elf]:
    """The ELF programs among what was staged; a library there is looked at when a program needs it."""
    tests = {run.program for run in runs}
    found = ((at, elf.read(path)) for at, path in staged.files.items())
    return [read for at, read in found if read and (read.is_program or at in tests)]


def _load(suite: Suite, arch: Arch, found: Mapping[str, Path]) -> Iterator[str]:
    """The programs' own loader goes over the guest's, for a C library and its loader are a pair."""
    libraries = f"{inside(suite.name)}/{PLACE}"
    loader = PurePosixPath("/", arch.loader)
    yield f"export LD_LIBRARY_PATH={libraries}"
    if loader.name in found:
        mark = "/tmp/suites/.loader"  # noqa: S108
        yield f'if [ "$(cat {mark} 2>/dev/null)" != {suite.name} ]; then'
        yield f"  [ -e {loader} ] || {{ mkdir -p {loader.parent} && : >{loader}; }}"
        yield f"  mount --bind {libraries}/{loader.name} {loader} && echo {suite.name} >{mark}"
        yield "fi"
