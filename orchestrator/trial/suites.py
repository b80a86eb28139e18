"""guest_tests/<suite>/suite.yaml in, programs for one architecture out, from the cache if they were built before."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from kvm import proc
from kvm.errors import UserError
from orchestrator import cache, yamlfile
from orchestrator.build import toolchain
from orchestrator.build.sandbox import PATH
from orchestrator.trial.kinds import SuiteKind
from orchestrator.yamlfile import Fault, Section

RECIPE = 2  # raise it when the same sources would give another program
_FLAGS = ("-std=gnu11", "-O2", "-g0", "-Wall", "-static", "-pthread")


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

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
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


def compile(suite: Suite, arch: str, cache_dir: Path) -> Path:
    """Return the suite's static program for `arch`; raises UserError when its C does not compile."""
    tools = toolchain.find(arch)
    headers = sorted((suite.directory.parent / "include").glob("*.h")) + sorted(suite.directory.glob("*.h"))
    sources = [suite.directory / name for name in suite.sources]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*headers, *sources)]
    inputs = [RECIPE, tools.identity, _FLAGS, suite.name, contents]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:40]
    final = cache.keep(cache_dir / "suites" / key)
    if not cache.find(final, lambda directory: directory / suite.name):
        with cache.publish(final) as draft:
            here = f"-ffile-prefix-map={suite.directory.parent}/="  # what __FILE__ says is the same everywhere
            argv = [tools.cc, *_FLAGS, here, f"-I{suite.directory.parent / 'include'}", f"-I{suite.directory}"]
            done = proc.run([*argv, *sources, "-o", draft / suite.name], timeout=300, env={"PATH": PATH})
            if done.returncode:
                raise UserError(
                    f"suite {suite.name} does not compile for {arch}: {_first_error(done.output)}",
                    hint="`kdelta doctor` names the packages that a suite needs",
                )
            cache.seal(draft)
    return final / suite.name


def _first_error(output: str) -> str:
    lines = [line for line in output.splitlines() if "error" in line] or output.splitlines()
    return lines[0] if lines else "the compiler gave no reason"
