"""What was last said about each object in an O= directory: a make says nothing about what it did not compile.

patched is built in a copy of base's O=, so its log (and base's, when an option was added) holds a part only.
The findings therefore stand beside the objects, unit by unit: an object, a linked file, or one of the steps below.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk, proc
from orchestrator.build.findings import warnings
from orchestrator.build.findings.words import path
from orchestrator.model import Finding

Units = dict[str, tuple[Finding, ...]]

MAKE, CONFIG, MODPOST = "(make)", "(config)", "(modpost)"  # steps: done as a whole or not at all

_MOST_LINKS = 20_000  # each is compared with each warning of the linker; an allmodconfig has 10,000
_COMMAND_BYTES = 4 << 20  # of a .cmd file; those of a kernel have 100 KiB

_FORM = TypeAdapter(Units)
_QUIET = re.compile(r"^ {2}(?P<tool>[A-Z][A-Z0-9_]*)(?: \[M\])? +(?P<target>\S+)$", re.MULTILINE)
_COMPILERS = frozenset(("CC", "AS", "CPP", "HOSTCC", "HOSTCXX", "LDS", "DTC", "RUSTC"))
_LINKERS = frozenset(("LD", "HOSTLD", "VDSO", "LTO"))  # the drafts of vmlinux (.tmp_vmlinux.*) are vmlinux
_CONFIGURED = re.compile(r"^# (?:configuration written to|No change to) ", re.MULTILINE)
_DEPENDENCY = re.compile(r"^(?:source_\S+ :=| ) (\S+\.[chS])(?: \\)?$", re.MULTILINE)
_SOURCE = re.compile(r"^source_\S+ := (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What one make did, by its log: the objects it compiled, the files it linked, the steps it took."""

    compiled: frozenset[str]
    linked: frozenset[str]
    steps: frozenset[str]

    @property
    def units(self) -> frozenset[str]:
        """All of them."""
        return self.compiled | self.linked | self.steps


def done(log: str) -> Done:
    """Read what a make did from the short lines of Kbuild (`  CC      mm/madvise.o`)."""
    seen = [(hit["tool"], path(hit["target"])) for hit in _QUIET.finditer(log)]
    steps = {MAKE}
    if _CONFIGURED.search(log):
        steps.add(CONFIG)
    if any(tool == "MODPOST" for tool, _ in seen):
        steps.add(MODPOST)
    return Done(
        frozenset(target for tool, target in seen if tool in _COMPILERS),
        frozenset(target for tool, target in seen if tool in _LINKERS and not target.startswith(".tmp")),
        frozenset(steps),
    )


def update(previous: Mapping[str, Iterable[Finding]], log: str, origins: Mapping[str, str] | None = None) -> Units:
    """Put what `log` says in the place of what was known of the units that this make did again.

    `origins` gives the object of a source whose name is another (drivers/firmware/efi/libstub/lib-fdt.o: lib/fdt.c).
    """
    made = done(log)
    links = _by_directory(_links({*previous, *made.linked})[:_MOST_LINKS])
    fresh: dict[str, list[Finding]] = {unit: [] for unit in made.units}
    for finding in warnings.parse(log, heed=proc.stop.obey):
        fresh.setdefault(unit_of(finding, links, origins or {}), []).append(finding)
    for unit, found in fresh.items():
        if _is_link(unit) or unit in (CONFIG, MODPOST, MAKE):
            fresh[unit] = list(dict.fromkeys(found))  # vmlinux is linked several times to find its symbols
    return {unit: tuple(found) for unit, found in {**previous, **fresh}.items()}


def prune(units: Mapping[str, tuple[Finding, ...]], lives: Callable[[str], bool]) -> Units:
    """Drop the units whose file `lives` does not know any more; the steps have none."""
    return {unit: found for unit, found in units.items() if unit.startswith("(") or lives(unit)}


def unit_of(finding: Finding, links: Mapping[str, str], origins: Mapping[str, str]) -> str:
    """Say whose finding it is, by its file and include chain; what cannot be said is the make's.

    The linker does not say for which output it warns: `links` has the one of a directory, and each by its own name.
    """
    if finding.tool in ("kconfig", "modpost"):
        return CONFIG if finding.tool == "kconfig" else MODPOST
    if finding.tool == "objtool":
        return finding.file
    if finding.tool == "ld":
        place = finding.file
        while place and place not in links:
            place = place.rpartition("/")[0]
        return links.get(place, MAKE)
    source = finding.chain[0] if finding.chain else finding.file
    if source.endswith(".h") and finding.site:
        source = finding.site[0]
    stem, _, suffix = source.rpartition(".")
    if not stem or finding.tool == "make" or suffix == "h":
        return MAKE
    return origins.get(source) or (f"{stem}.dtb" if suffix.startswith("dts") else f"{stem}.o")


def record(store: Path, log: str, *, src: Path, obj: Path) -> Units:
    """Bring `store` up to date after a make in `obj`, failed or not; returns what is known now.

    What this make compiled is in the answer even where no object came of it; on disk only what lives is kept.
    """

    def lives(unit: str) -> bool:
        source = _source(obj, unit)
        return (obj / unit).is_file() and (not source or (src / source).is_file() or (obj / source).is_file())

    sources = {unit: _source(obj, unit) for unit in done(log).compiled}
    known = update(prune(load(store) or {}, lives), log, {source: unit for unit, source in sources.items() if source})
    disk.write(store, dump(prune(known, lives)))
    return known


def load(store: Path) -> Units | None:
    """Read what `dump` wrote; None when there is none, or it cannot be read: then nothing is known."""
    try:
        return _FORM.validate_json(store.read_bytes())
    except (OSError, ValueError):
        return None


def dump(units: Units) -> bytes:
    """Write it as JSON, the same for the same findings."""
    return _FORM.dump_json(dict(sorted(units.items())), exclude_defaults=True)


def objects_of(obj: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Return the objects of the kernel in `obj` that were compiled from `files`, or include one of them."""
    wanted = {file for file in files if file.endswith((".c", ".S", ".h"))}
    found = []
    for command in obj.rglob(".*.o.cmd") if wanted else ():
        unit = command.with_name(command.name[1:].removesuffix(".cmd"))
        # Host programs and boot stubs are in no built-in.a: make takes none of them as a goal.
        if unit.is_file() and unit.with_name("built-in.a").exists():
            text = _command(command)
            if not wanted.isdisjoint(path(word) for word in _DEPENDENCY.findall(text)):
                found.append(unit.relative_to(obj).as_posix())
    return tuple(sorted(found))


def _links(units: Iterable[str]) -> list[str]:
    """The linked files, those of the deepest directories first."""
    found = [unit for unit in units if _is_link(unit)]
    return sorted(found, key=lambda unit: (-unit.count("/"), unit))


def _is_link(unit: str) -> bool:
    """A linked file is told from an object by its name: vmlinux, setup.elf, vdso64.so.dbg."""
    return not unit.startswith("(") and (not unit.endswith((".o", ".dtb", ".lds", ".s", ".i")) or unit == "vmlinux.o")


def _by_directory(links: Iterable[str]) -> dict[str, str]:
    """The first of them in each directory, and each by its own name."""
    found: dict[str, str] = {}
    for link in links:
        found.setdefault(link.rpartition("/")[0], link)
        found.setdefault(link, link)
    return found


def _source(obj: Path, unit: str) -> str:
    """The file that an object was compiled from, by the command that Kbuild keeps beside it; "" if it keeps none."""
    found = _SOURCE.search(_command((obj / unit).with_name(f".{Path(unit).name}.cmd")))
    return path(found[1]) if found else ""


def _command(file: Path) -> str:
    """What Kbuild keeps of how an object was made; "" if it keeps nothing that can be read."""
    try:
        return disk.read_text(file, _COMMAND_BYTES)
    except OSError:
        return ""
