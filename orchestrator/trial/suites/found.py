"""A directory that says nothing of itself in, a suite out: each program and script there is a test."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kvm import elf
from kvm.errors import UserError
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.suites.stage import shebang
from orchestrator.trial.suites.suite import Suite

_LIBRARY = re.compile(r"\.so(\.|$)")
_SHIPPED_BY = {"bash": "bash", "perl": "perl-base"}  # interpreter -> Debian package that needs no other but libraries
_MOST_FILES = 10_000
_UNBUILT = re.compile(rb"^TEST_(GEN|CUSTOM)_", re.MULTILINE)  # what a selftest's Makefile builds


def suite(directory: Path) -> Suite:
    """Look for ELF programs, and for executable files that begin with `#!`; all else comes along as it is."""
    paths = sorted(_files(directory))
    _refuse_sources(directory, paths)
    programs = tuple(str(path.relative_to(directory)) for path in paths if _is_test(path))
    if not programs:
        raise UserError(
            f"{directory} holds no suite.yaml, no program and no executable script",
            hint="chmod +x what is to be run; docs/suites.md says what suite.yaml may hold",
        )
    named = {Path(word).name for name in programs for word in shebang(directory / name)[:2]}
    return Suite(
        directory=directory,
        name=re.sub(r"[^A-Za-z0-9_.-]", "_", directory.resolve().name).lstrip(".-") or "suite",
        kind=SuiteKind.AUTO,
        binaries=programs,
        files=(".",),
        libraries=tuple(
            dict.fromkeys(str(path.parent.relative_to(directory)) for path in paths if _LIBRARY.search(path.name))
        ),
        packages=tuple(package for name, package in _SHIPPED_BY.items() if name in named),
    )


def _refuse_sources(directory: Path, paths: list[Path]) -> None:
    """Selftests that are not built hold some scripts, which would be all that runs, and miss their programs."""
    makefiles = [path for path in paths if path.name == "Makefile" and path.is_file()]
    if any(_UNBUILT.search(path.read_bytes()) for path in makefiles) and not any(map(elf.read, paths)):
        raise UserError(
            f"{directory} holds the sources of selftests, none of them built",
            hint="suite.yaml with `kind: kselftest` and `targets: [...]` builds those of the tree under test",
        )


def _files(directory: Path) -> Iterator[Path]:
    count = 0
    for top, below, names in os.walk(directory):
        below[:] = [name for name in below if not name.startswith(".")]
        count += len(names)
        if count > _MOST_FILES:
            raise UserError(
                f"{directory} holds more than {_MOST_FILES} files", hint="a suite.yaml names those of a suite"
            )
        yield from (Path(top, name) for name in names if not name.startswith("."))


def _is_test(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if found := elf.read(path):
        return found.is_program and not _LIBRARY.search(path.name)
    return bool(path.stat().st_mode & 0o111 and shebang(path))
