"""Debian packages that a suite takes its programs from, for any architecture; of what they depend on, the libraries."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from kvm import disk, packages
from kvm.arch import Arch
from orchestrator.trial.suites.stage import Stage

PLACE = ".root"
PATH = ("usr/bin", "bin", "usr/sbin", "sbin", "usr/games")  # below the place
_TALK = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/include")


class Packages:
    """Those that were asked for, and those that were unpacked for their libraries, each in a directory of its own."""

    def __init__(self, names: Iterable[str], arch: Arch, cache_dir: Path, top: Path) -> None:
        self.names = tuple(names)
        self._arch, self._cache_dir, self._top = arch, cache_dir, top
        self._widened: set[str] = set()
        self._debs: dict[str, Path] = {}
        self._unpack(self.names)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The directories that are unpacked."""
        return tuple(sorted(self._top.iterdir()))

    @property
    def versions(self) -> tuple[str, ...]:
        """The files of those that are unpacked, which name their versions."""
        return tuple(sorted(deb.name for deb in self._debs.values()))

    def words(self, path: Path) -> str:
        """Call a file or directory that may be of a package what a reader knows it as."""
        if not path.is_relative_to(self._top):
            return str(path)
        package, *below = path.relative_to(self._top).parts
        return f"{'/'.join(below)} of the package {package}" if below else f"the package {package}"

    def merged(self, into: Path) -> Path:
        """Lay all that is unpacked out in one directory, as a compiler wants it, and return it."""
        for root in self.roots:
            shutil.copytree(root, into, symlinks=True, dirs_exist_ok=True)
        return into

    def widen(self, needy: Path) -> bool:
        """Unpack the libraries of the package of the file `needy`, or of all asked for; false if that was done."""
        owner = needy.relative_to(self._top).parts[0] if needy.is_relative_to(self._top) else ""
        owners = [name for name in ([owner] if owner else self.names) if name not in self._widened]
        if not owners:
            return False
        self._widened.update(owners)
        depends = dict.fromkeys(name for owner in owners for name in packages.libraries(self._debs[owner]))
        self._unpack([name for name in depends if name not in self._debs])
        return True

    def stage(self, stage: Stage) -> None:
        """Take the files of the packages that were asked for along."""
        for name in self.names:
            stage.add_tree(self._top / name, PLACE)
        for kept in (stage.files, stage.links):
            for place in [place for place in kept if place.startswith(tuple(f"{PLACE}/{talk}/" for talk in _TALK))]:
                del kept[place]

    def program(self, name: str) -> str | None:
        """Return the place of a program in the packages that were asked for."""
        for package in self.names:
            for below in PATH:
                found = self._top / package / below / name
                if found.exists() or found.is_symlink():  # to what another package has
                    return f"{PLACE}/{below}/{name}"
        return None

    def _unpack(self, names: Iterable[str]) -> None:
        wanted = list(names)
        with disk.hold(self._cache_dir / "apt" / self._arch.suite):
            debs = packages.fetch(wanted, suite=self._arch.suite, deb_arch=self._arch.deb, cache_dir=self._cache_dir)
            for name, deb in zip(wanted, debs, strict=True):
                packages.unpack(deb, self._top / name)
                self._debs[name] = deb


def start(where: str) -> Iterator[str]:
    """Yield the shell lines that put the packages of the suite in the directory `where` to the places they ask for.

    They are linked where the guest has nothing, once; their programs come before the guest's own.
    """
    root = f"{where}/{PLACE}"
    yield f"[ -e {where}/.laid ] || {{ cp -rs {root}/. / 2>/dev/null; : >{where}/.laid; }}"
    yield f"export PATH={':'.join(f'{root}/{below}' for below in PATH)}:$PATH"


@contextlib.contextmanager
def unpacked(names: Iterable[str], arch: Arch, cache_dir: Path) -> Iterator[Packages | None]:
    """Lend the packages `names`, unpacked; None where there are none."""
    wanted = tuple(names)
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="kdelta-packages-") as top:
        yield Packages(wanted, arch, cache_dir, Path(top).resolve())
