"""guest_tests/<suite>/suite.yaml in, a checked Suite out."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from orchestrator import cache, yamlfile
from orchestrator.model import EffectKind
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.yamlfile import Fault, Section

FILE = "suite.yaml"
SECONDS = 60.0  # a program's, where nothing else is said
_OPTION = r"^[A-Za-z0-9_]+(=.+)?$"


class Isolation(StrEnum):
    """What shares a guest: all suites that say `boot`, the tests of one suite, or nothing with any test."""

    BOOT = "boot"
    SUITE = "suite"
    TEST = "test"


class Copy(StrEnum):
    """Whose selftests run: each side's own, or those of one side on both."""

    OWN = "own"
    BASE = "base"
    PATCHED = "patched"


class Needs(Section):
    """What the guest must have: Kconfig options without CONFIG_, `NAME` or `NAME=value`; memory, processors, disks."""

    config: list[Annotated[str, Field(pattern=_OPTION)]] = Field(default_factory=list)
    memory_mib: int = Field(128, ge=64)
    cpus: int = Field(1, ge=1)
    swap_mib: int = Field(0, ge=0)
    disk_mib: int = Field(0, ge=0)


ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def _word(choice: type[ChoiceT]) -> BeforeValidator:
    """What YAML gives as a word, as one of the choices."""
    return BeforeValidator(lambda word: choice(word) if isinstance(word, str) else word)


class SuiteFile(Section):
    """What stands in suite.yaml; `timeout` in seconds, for hardware virtualisation."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    kind: Annotated[SuiteKind, _word(SuiteKind)] = SuiteKind.AUTO
    sources: list[str] = Field(default_factory=list)
    binaries: list[str] = Field(default_factory=list)
    files: list[str] = Field(default_factory=list)
    packages: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]] = Field(default_factory=list)
    libraries: list[str] = Field(default_factory=list)
    modules: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]] = Field(default_factory=list)
    targets: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]] = Field(default_factory=list)
    programs: list[str] = Field(default_factory=list)
    copy_of: Annotated[Copy, _word(Copy)] = Field(Copy.PATCHED, alias="copy")
    tree: str | None = None
    runtest: list[str] = Field(default_factory=list)
    command: str | None = Field(None, min_length=1)
    args: str = ""
    timeout: float | None = Field(None, gt=0)
    repeats: int | None = Field(None, ge=1, le=100)
    isolation: Annotated[Isolation, _word(Isolation)] = Isolation.SUITE
    worse: dict[str, Literal["more", "less"]] = Field(default_factory=dict)
    needs: Needs = Needs()


@dataclass(frozen=True)
class Suite:
    """A suite as it stands in its directory. `timeout` in seconds; None where its programs say it, or nobody.

    Of `sources`, `targets`, `tree` and `modules` one says where its programs come from; else they are in `binaries` and
    `packages`. Paths may hold `{arch}` and be patterns. `worse` says it of metrics, by patterns of their names.
    """

    directory: Path
    name: str
    kind: SuiteKind
    sources: tuple[str, ...] = ()
    timeout: float | None = None
    needs: Needs = Needs()  # noqa: RUF009  (frozen)
    isolation: Isolation = Isolation.SUITE
    binaries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    copy: Copy = Copy.PATCHED
    tree: str | None = None
    runtest: tuple[str, ...] = ()
    command: str | None = None
    args: str = ""
    repeats: int | None = None
    worse: tuple[tuple[str, EffectKind], ...] = ()

    def content(self) -> list[tuple[str, str]]:
        """What lies in its directory, each file with its hash, but for what is hidden."""
        found = ((path.relative_to(self.directory), path) for path in self.directory.rglob("*") if path.is_file())
        shown = ((at, path) for at, path in found if not any(part.startswith(".") for part in at.parts))
        return sorted((str(at), cache.sha256(path)) for at, path in shown)

    def worsens(self, metric: str) -> EffectKind | None:
        """What makes a metric worse; None where nobody says so."""
        return next((worse for pattern, worse in self.worse if fnmatchcase(metric, pattern)), None)

    @property
    def of_a_side(self) -> bool:
        """Do base and patched get programs of their own?"""
        return bool(self.modules) or (bool(self.targets) and self.copy is Copy.OWN)

    @property
    def limit(self) -> float:
        """Seconds for a program that says nothing itself."""
        return self.timeout or SECONDS


def load(directory: Path) -> Suite:
    """Read and check the suite of `directory`."""
    file = yamlfile.read(directory / FILE, SuiteFile, lambda suite: _faults(suite, directory))
    lists = ("sources", "binaries", "files", "packages", "libraries", "modules", "targets", "programs", "runtest")
    return Suite(
        directory=directory,
        name=file.name,
        kind=file.kind,
        timeout=file.timeout,
        needs=file.needs,
        isolation=file.isolation,
        copy=file.copy_of,
        tree=file.tree,
        command=file.command,
        args=file.args,
        repeats=file.repeats,
        worse=tuple((pattern, EffectKind(kind)) for pattern, kind in file.worse.items()),
        **{name: tuple(getattr(file, name)) for name in lists},
    )


def _faults(suite: SuiteFile, directory: Path) -> Iterable[Fault]:
    for index, name in enumerate(suite.sources):
        if not (directory / name).is_file():
            yield ("sources", index), f"no such file: {name}"
    origins = [key for key in ("sources", "targets", "tree", "modules") if getattr(suite, key)]
    if len(origins) > 1:
        yield (origins[1],), f"{origins[1]}: a suite has {' or '.join(origins)}, not both"
    if suite.targets and suite.kind not in (SuiteKind.KSELFTEST, SuiteKind.AUTO):
        yield ("kind",), f"targets are selftests: kind: kselftest, not {suite.kind}"
    if suite.tree and suite.kind is not SuiteKind.LTP:
        yield ("kind",), f"a tree is an installed LTP: kind: ltp, not {suite.kind}"
    if not origins and not suite.binaries and not suite.command and suite.kind is not SuiteKind.KUNIT:
        yield (), "nothing to run: sources, binaries, targets, tree, modules or command"
