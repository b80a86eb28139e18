"""A build directory right after make: what its objects hold, kept as one JSON beside the image."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk, proc
from orchestrator.build.anatomy import elf, objects, symvers
from orchestrator.build.anatomy.elf import Elf
from orchestrator.build.anatomy.facts import Anatomy, Export

_FILE = "anatomy.json"
_ADAPTER = TypeAdapter(Anatomy)
_TOO_LARGE = 64 << 20  # bytes; no object of a kernel comes near
_LARGEST_IMAGE = 2 << 30  # bytes of vmlinux, with debug information
_LARGEST_TABLE = 64 << 20  # bytes of Module.symvers; an allmodconfig has 3 MiB
# Programs of the host, and what is generated from the linked kernel and so differs whenever anything does.
_NOT_OF_THE_IMAGE = ("scripts/", "tools/", "certs/extract-cert")
_MADE_FROM_THE_IMAGE = ("vmlinux.o", "piggy.o", "built-in.o")


def take(build: Path) -> Anatomy:
    """Look at every object below the build directory `build`."""
    notes = []
    found = {}
    for path in sorted(_objects(build)):
        proc.stop.obey()
        name = str(path.relative_to(build))
        if not _linked_again(path):
            try:
                found[name] = objects.facts(disk.read(path, _TOO_LARGE))
            except OSError as fault:
                notes.append(f"{name} was not looked at: {fault.strerror}")
    exports, why_not = _exports(build)
    sections, why_no_sections = _sections(build / "vmlinux")
    return Anatomy(sections, found, exports, (*notes, *why_not, *why_no_sections))


def save(anatomy: Anatomy, directory: Path) -> None:
    """Keep it beside the image, in a directory that is published as a whole."""
    (directory / _FILE).write_bytes(_ADAPTER.dump_json(anatomy))


def load(directory: Path) -> Anatomy | None:
    """Read it back; None if it was never taken."""
    try:
        return _ADAPTER.validate_json((directory / _FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _objects(build: Path) -> Iterator[Path]:
    """Regular files only: a link that a Makefile laid may point anywhere."""
    for top, _, names in os.walk(build):
        for name in names:
            path = Path(top, name)
            inside = str(path.relative_to(build))
            if not name.endswith(".o") or name.startswith(".") or name in _MADE_FROM_THE_IMAGE:
                continue
            if inside.startswith(_NOT_OF_THE_IMAGE) or path.is_symlink() or not path.is_file():
                continue
            yield path


def _linked_again(path: Path) -> bool:
    """Is it only other objects of the directory, joined by `ld -r`?"""
    try:
        with path.with_name(f".{path.name}.cmd").open(encoding="utf-8", errors="replace") as recipe:
            return " -r -o " in recipe.readline(1 << 16)
    except OSError:
        return False


def _sections(vmlinux: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    try:
        file = Elf(disk.read(vmlinux, _LARGEST_IMAGE))
    except (OSError, elf.Malformed) as fault:
        why = fault.strerror if isinstance(fault, OSError) else fault
        return {}, (f"no section sizes: vmlinux: {why}",)
    return {section.name: section.size for section in file.sections if section.flags & elf.SHF_ALLOC}, ()


def _exports(build: Path) -> tuple[dict[str, Export], tuple[str, ...]]:
    """Read what modpost wrote; a kernel without modules exports nothing, and that must be said."""
    for name in ("Module.symvers", "vmlinux.symvers"):
        path = build / name
        try:
            text = disk.read_text(path, _LARGEST_TABLE)
        except FileNotFoundError:
            continue
        except OSError as fault:
            return {}, (f"no exports: {name}: {fault.strerror}",)
        if text:
            return symvers.parse(text), ()
    return {}, ("exports are not in this binary (no CONFIG_MODULES): touched sources were read for them",)
