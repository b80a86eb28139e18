"""guest_tests/<suite>/suite.yaml in, a checked Suite out."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from orchestrator import yamlfile
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.yamlfile import Fault, Section


class Isolation(StrEnum):
    """What shares a guest: all suites that say `boot`, the tests of one suite, or nothing with any test."""

    BOOT = "boot"
    SUITE = "suite"
    TEST = "test"


class Needs(Section):
    """What the guest must have: Kconfig options without CONFIG_, memory, swap."""

    config: list[str] = Field(default_factory=list)
    memory_mib: int = Field(128, ge=64)
    swap_mib: int = Field(0, ge=0)


def _isolation(word: object) -> object:
    return Isolation(word) if isinstance(word, str) else word


class SuiteFile(Section):
    """What stands in suite.yaml; `timeout` in seconds, for hardware virtualisation."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    kind: Annotated[SuiteKind, BeforeValidator(lambda word: SuiteKind(word) if isinstance(word, str) else word)]
    sources: list[str] = Field(min_length=1)
    timeout: float = Field(60, gt=0)
    isolation: Annotated[Isolation, BeforeValidator(_isolation)] = Isolation.SUITE
    needs: Needs = Needs()


@dataclass(frozen=True)
class Suite:
    """A suite as it stands in its directory."""

    directory: Path
    name: str
    kind: SuiteKind
    sources: tuple[str, ...]
    timeout: float
    needs: Needs
    isolation: Isolation = Isolation.SUITE


def load(directory: Path) -> Suite:
    """Read and check the suite of `directory`."""

    def missing(suite: SuiteFile) -> Iterable[Fault]:
        for index, name in enumerate(suite.sources):
            if not (directory / name).is_file():
                yield ("sources", index), f"no such file: {name}"

    file = yamlfile.read(directory / "suite.yaml", SuiteFile, missing)
    return Suite(directory, file.name, file.kind, tuple(file.sources), file.timeout, file.needs, file.isolation)
