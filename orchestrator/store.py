"""Results in and out: the run directory, and run.json, which is replaced whole and valid at any time."""

import dataclasses
import datetime
import json
import operator
import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kvm import disk
from kvm.errors import InfraError, UserError
from orchestrator.model import AccelChoice, Cell, GuestRun, Pair, Run, RunStatus, Side

RECORD = "run.json"
DIFF = "series.diff"  # all that the series does
CLUSTER = "cluster.json"  # of a run that is done on other machines: where
# What there is of a run before anything is built.
_BEGUN = {RECORD, CLUSTER, "request.json", "pipeline.yaml", "reproduce.sh", "series", DIFF, *Side}
_KEYS = {
    "builds": ("side", "arch", "flavour"),
    "steps": ("arch", "flavour", "number"),
    "configs": ("arch", "flavour", "option"),
    "uncompiled": ("arch", "flavour", "file"),
    "tools": ("arch", "flavour", "tool"),
    "findings": ("arch", "flavour", "tool", "file", "line", "kind", "message", "change"),
    "binaries": ("arch", "flavour"),
    "coverage": ("arch", "flavour", "side", "file", "line"),
    "guests": ("side", "arch", "flavour"),
}


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Run, GuestRun)}
_PAIRS = TypeAdapter(list[Pair])


def schema() -> dict[str, Any]:
    """Return the JSON schema of run.json (docs/run.schema.json)."""
    described = _ADAPTERS[Run].json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kdelta.run/1", **described}


def new_directory(results: Path, title: str, now: datetime.datetime) -> Path:
    """Make the directory of a new run: date, time and the series' name; two at the same second get two."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "series"
    name = f"{now:%Y%m%d-%H%M%S}-{slug}"
    for attempt in range(1, 1000):
        directory = results / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{results}: {error.strerror}", hint="--out names another directory") from error
        return directory
    raise InfraError(f"{results} is full of runs named {name}")


def given_directory(directory: Path) -> Path:
    """Make the directory that --out names."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}", hint="--out names another directory") from error
    return directory.resolve()


def vacate(directory: Path) -> None:
    """Make room for a new run: one that came to nothing is removed; what else is there is refused, not overwritten."""
    try:
        held = list(directory.iterdir())
        if held and not _came_to_nothing(directory, {disk.meant(entry.name) for entry in held}):
            raise UserError(f"{directory} is not empty", hint="--out takes a new or an empty directory")
        for entry in held:
            disk.clear(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}", hint="--out names another directory") from error


def _came_to_nothing(directory: Path, names: set[str]) -> bool:
    """Does it hold nothing but a run that ended before anything was built?"""
    if not (directory / RECORD).exists():  # it was killed as it wrote that, the first of its files
        return names == {RECORD}
    if names - _BEGUN:
        return False
    run = load(directory)
    return run.status is not RunStatus.DONE and not run.builds and not run.guests


def cell_directory(run: Path, cell: Cell) -> Path:
    """Return (and make) the directory of one cell."""
    directory = run / cell.side / str(cell.lane)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def save(run: Run, directory: Path) -> None:
    """Replace run.json."""
    disk.write(directory / RECORD, _ADAPTERS[Run].dump_json(run, indent=1).decode() + "\n")


def load(directory: Path) -> Run:
    """Read run.json back."""
    run: Run = _load(directory / RECORD, _ADAPTERS[Run])
    return run


def save_guest(guest: GuestRun, directory: Path) -> None:
    """Keep what one guest gave beside its console."""
    disk.write(directory / "guest.json", _ADAPTERS[GuestRun].dump_json(guest, indent=1).decode() + "\n")


def load_guest(directory: Path) -> GuestRun | None:
    """Read what one guest gave, or None if it has not run."""
    path = directory / "guest.json"
    if not path.is_file():
        return None
    guest: GuestRun = _load(path, _ADAPTERS[GuestRun])
    return guest


def save_pairs(pairs: list[Pair], path: Path) -> None:
    """Keep what was run again in one lane."""
    disk.write(path, _PAIRS.dump_json(pairs, indent=1).decode() + "\n")


def load_pairs(path: Path) -> list[Pair] | None:
    """Read what was run again in one lane, or None if it has not come to that."""
    if not path.is_file():
        return None
    pairs: list[Pair] = _load(path, _PAIRS)
    return pairs


def save_json(path: Path, content: object) -> None:
    """Replace a JSON file."""
    disk.write(path, json.dumps(content, indent=1) + "\n")


def save_report(page: str, directory: Path) -> Path:
    """Replace report.html and return its path."""
    path = directory / "report.html"
    disk.write(path, page)
    return path


def place(file: Path, at: Path) -> Path:
    """Put a file of the cache into a run, by a link where the file system allows it."""
    at.unlink(missing_ok=True)
    try:
        os.link(file, at)
    except OSError:  # another file system, or a link into a cache of another user
        shutil.copyfile(file, at)
    return at


class Recorder:
    """The one writer of a run's run.json: every change is on disk before the next task starts."""

    def __init__(self, run: Run, directory: Path) -> None:
        self.directory = directory
        self.run = run
        self._lock = threading.Lock()
        self.update()

    def update(self, **changes: Any) -> Run:
        """Replace fields of the record and write it."""
        with self._lock:
            return self._replace(**changes)

    def add(self, field: str, *records: Any) -> Run:
        """Add to one of the record's lists; what is there under the same key is replaced."""
        with self._lock:
            key = operator.attrgetter(*_KEYS[field])
            kept = {key(record): record for record in (*getattr(self.run, field), *records)}
            return self._replace(**{field: tuple(kept[name] for name in sorted(kept))})

    def absorb(self, other: Run) -> None:
        """Add all that another machine put on record."""
        for field in _KEYS:
            if records := getattr(other, field):
                self.add(field, *records)
        for arch, choice in other.host.accel.items():
            self.add_accel(arch, choice)
        self.note(*other.notes)

    def note(self, *notes: str) -> None:
        """Add to what else is to be said of the run, each thing once."""
        with self._lock:
            self._replace(notes=tuple(dict.fromkeys((*self.run.notes, *notes))))

    def add_accel(self, arch: str, choice: AccelChoice) -> None:
        """Say which accelerator runs the guests of `arch`."""
        with self._lock:
            self._replace(host=dataclasses.replace(self.run.host, accel={**self.run.host.accel, arch: choice}))

    def _replace(self, **changes: Any) -> Run:
        """Do it; the caller holds the lock."""
        self.run = dataclasses.replace(self.run, **changes)
        save(self.run, self.directory)
        return self.run


def newest(results: Path) -> Path:
    """Return the newest run below `results`."""
    runs = [entry for entry in results.iterdir() if (entry / RECORD).is_file()] if results.is_dir() else []
    if not runs:
        raise UserError(f"no run below {results}", hint="`kdelta run` makes one; or name a run's directory")
    return max(runs, key=lambda entry: (entry / RECORD).stat().st_mtime)


def _load(path: Path, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint="name the directory of a run") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is not a kdelta run record: {place}: {first['msg']}") from error
