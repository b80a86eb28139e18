"""The shared libraries that a suite's programs need, found before a guest starts; a missing one is named."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm import elf
from kvm.arch import Arch
from kvm.elf import Elf
from kvm.errors import UserError
from orchestrator.trial.suites.debian import Packages

PLACE = ".lib"
_LD_CONF = Path("/etc/ld.so.conf.d")


@dataclass(frozen=True)
class Libraries:
    """Where the libraries of the suite `name` are looked for: its own directories, packages, the host or toolchain."""

    name: str
    arch: Arch
    own: tuple[Path, ...]
    packages: Packages | None = None

    def of(self, programs: Sequence[Elf]) -> dict[str, Path]:
        """Return what `programs` need, the loader included, by soname; raises UserError for what cannot be had."""
        for program in programs:
            self._check(program)
        dynamic = [program for program in programs if program.needed or program.interpreter]
        found = elf.libraries(dynamic, self._find)
        loaders = {program.interpreter for program in dynamic if program.interpreter}
        for loader in sorted(loaders):
            found[Path(loader).name] = self._find(Path(loader).name, dynamic[0])
        return found

    def _check(self, program: Elf) -> None:
        if program.machine != self.arch.name:
            raise UserError(
                f"suite {self.name}: {program.path} is a program for {program.machine}, not {self.arch.name}",
                hint=f"--arch {program.machine}, or `{{arch}}` in suite.yaml's paths, with a program for each",
            )

    def _find(self, name: str, needy: Elf) -> Path:
        looked: list[Path] = []
        while True:
            places = self._places(needy)
            for directory in places:
                candidate = directory / name
                if candidate.is_file() and elf.machine(candidate) == self.arch.name:
                    return candidate
            looked += [place for place in places if place not in looked]
            if not (self.packages and self.packages.widen(needy.path)):
                raise self._missing(name, needy, looked)

    def _places(self, needy: Elf) -> list[Path]:
        origin = needy.path.parent
        wanted = [part.replace("$ORIGIN", str(origin)).replace("${ORIGIN}", str(origin)) for part in needy.search]
        roots = self.packages.roots if self.packages else ()
        below = (f"lib/{self.arch.triplet}", f"usr/lib/{self.arch.triplet}", "lib64", "lib", "usr/lib")
        beside = [Path(part) for part in (*wanted, str(origin)) if Path(part).is_relative_to(self.own[0])]
        return [
            *beside,
            *self.own,
            *(root / part.lstrip("/") for root in roots for part in (*wanted, *below)),
            *self._system(wanted),
        ]

    def _system(self, wanted: Iterable[str]) -> list[Path]:
        """The host's directories for the host's own architecture, the cross toolchain's for another."""
        triplet = self.arch.triplet
        if platform.machine() != self.arch.host:
            return [Path("/usr", triplet, "lib")]
        named = [line.strip() for file in sorted(_LD_CONF.glob("*.conf")) for line in _lines(file)]
        fixed = f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"
        return [Path(part) for part in (*wanted, *named, *fixed) if part.startswith("/")]

    def _missing(self, name: str, needy: Elf, looked: Iterable[Path]) -> UserError:
        roots = self.packages.roots if self.packages else ()
        called = self.packages.words if self.packages else str
        above = [next((root for root in roots if place.is_relative_to(root)), place) for place in looked]
        places = ", ".join(dict.fromkeys(map(called, above)))
        return UserError(
            f"suite {self.name}: {called(needy.path)} needs {name}, not found for {self.arch.name} in {places}",
            hint="put it beside the program; or, in suite.yaml, name its directory under `libraries`, or under "
            f"`packages` the Debian package that the program is of, or the library (by its name {_debian(name)})",
        )


def _debian(soname: str) -> str:
    """What Debian's policy would have its package called."""
    name, _, version = soname.lower().replace("_", "-").partition(".so")
    version = version.removeprefix(".")
    return f"{name}-{version}" if version and name[-1:].isdigit() else f"{name}{version}"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
