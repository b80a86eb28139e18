"""A script of ours sent into the sandbox, with the headers that a build generated; what it brings back is not trusted.

The tools it starts work on the tree's files, with the tree's flags: they see no home, no network, and end in time.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvm import disk
from orchestrator.build.anatomy import kit
from orchestrator.build.quota import Quota
from orchestrator.build.sandbox import OBJ, Escape, Sandbox

_INSIDE = "/tmp/inside.py"  # noqa: S108  (in the sandbox)
_WORK = ".errand"
LARGEST = 64 << 20  # bytes of each file that are read back


class NoAnswer(Exception):
    """The script brought nothing back; its words say why."""


@dataclass(frozen=True)
class Place:
    """Where an errand runs: a finished build with its kit, the tree it was built from, ccache's directory.

    `quota` is what it may use.
    """

    build: Path
    sources: Path
    ccache: Path
    quota: Quota


@dataclass(frozen=True)
class Answer:
    """What came back: the script's JSON, the directory with what else it left, and the sandbox, for more to be run."""

    json: bytes
    directory: Path
    box: Sandbox


@contextlib.contextmanager
def send(script: Path, job: dict[str, object], place: Place, seconds: float) -> Iterator[Answer]:
    """Run `script` with `job` (JSON) and lend its answer; raises NoAnswer."""
    with disk.scratch("kdelta-errand-") as objects:
        try:
            kit.unpack(place.build, objects)
        except FileNotFoundError as fault:
            raise NoAnswer(kit.NONE) from fault
        work = objects / _WORK
        work.mkdir()
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        box = Sandbox(place.sources, objects, place.ccache, place.quota, readable={_INSIDE: script})
        try:
            done = box.run(["python3", "-I", _INSIDE, f"{OBJ}/{_WORK}/job.json"], timeout=seconds)
        except Escape as fault:
            raise NoAnswer(fault.message) from fault
        if done.charge:
            raise NoAnswer(done.charge)
        try:
            answer = Answer(disk.read(work / "answer.json", LARGEST), work, box)
        except OSError as fault:
            said = done.output.strip().splitlines() or ["no word"]
            raise NoAnswer(f"no end in {seconds:.0f} s" if done.timed_out else said[-1][:200]) from fault
        yield answer
