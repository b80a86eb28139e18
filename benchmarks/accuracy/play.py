"""One entry run by kdelta: the series laid out, the command, its record."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.entry import CORPUS, SUITES, Entry, digest
from orchestrator import config

LONGEST_SECONDS = 5400
_KDELTA = "from orchestrator.cli import entry; entry()"
_MARK = "played.json"

Record = dict[str, Any]


def version() -> str:
    """Name the kdelta that runs here, by its files."""
    return digest([config.share() / name for name in ("kvm", "orchestrator", "configs", "guest_tests", "patches")])


def kept(entry: Entry, arches: list[str], out: Path, kdelta: str) -> Record | None:
    """The record of a run that is there already, if this kdelta made it of this entry."""
    where = _directory(entry, arches, out)
    try:
        played = json.loads((where / _MARK).read_text())
        made = json.loads((where / "run" / "run.json").read_text())
    except (OSError, ValueError):
        return None
    return made if played == _mark(entry, kdelta) and made.get("verdict") else None


def run(entry: Entry, arches: list[str], out: Path, kdelta: str) -> Record | str:
    """Run kdelta on it; its record, or its words where it made none."""
    where = _directory(entry, arches, out)
    shutil.rmtree(where, ignore_errors=True)
    lay_out(entry, arches, where)
    argv = [sys.executable, "-c", _KDELTA, "run", "--pipeline", where / "pipeline.yaml", "--out", where / "run"]
    with (where / "stdout").open("w") as stdout, (where / "stderr").open("w") as stderr:
        try:
            subprocess.run(argv, stdout=stdout, stderr=stderr, timeout=LONGEST_SECONDS, check=False)
        except subprocess.TimeoutExpired as fault:
            return str(fault)
    remember(entry, where, kdelta)
    record = where / "run" / "run.json"
    words = (where / "stderr").read_text(errors="replace")[-2000:]
    made = json.loads(record.read_text()) if record.is_file() else {}
    return made if made.get("verdict") else words or "no record, and not a word"


def boots(entry: Entry, arches: list[str], out: Path) -> int:
    """How many kernels its run booted, in pairs, to measure and to find a culprit, too; restored guests are none."""
    run = _directory(entry, arches, out) / "run"
    return sum("guests" not in console.relative_to(run).parts for console in run.rglob("console.log"))


def remember(entry: Entry, where: Path, kdelta: str) -> None:
    """Note of which entry, and by which kdelta, the run is."""
    (where / _MARK).write_text(json.dumps(_mark(entry, kdelta)))


def lay_out(entry: Entry, arches: list[str], where: Path) -> None:
    """Write the series, behind the one that it comes after, and the pipeline that validates it."""
    series = where / "series"
    where.mkdir(parents=True, exist_ok=True)
    before = config.find("patches", entry.answer.after, CORPUS) if entry.answer.after else None
    if before:
        shutil.copytree(before, series, ignore=shutil.ignore_patterns("*cover-letter*"))
    series.mkdir(exist_ok=True)
    for patch in entry.patches:
        shutil.copy(patch, series / f"1{patch.name}")
    how = entry.answer.run
    suites = [str(SUITES / name) if (SUITES / name).is_dir() else name for name in how.suites]
    asked = how.model_dump() | {"series": "series", "arches": arches, "suites": suites}
    asked["bisect"] = entry.answer.culprit is not None  # of one patch nothing is to be learnt
    (where / "pipeline.yaml").write_text(yaml.safe_dump(asked))


def _directory(entry: Entry, arches: list[str], out: Path) -> Path:
    return out / f"{entry.name}@{'+'.join(arches)}"


def _mark(entry: Entry, kdelta: str) -> dict[str, str]:
    return {"kdelta": kdelta, "entry": entry.key}
