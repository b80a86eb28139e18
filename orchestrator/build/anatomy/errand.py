"""A script of ours sent into the sandbox, with the headers that a build generated; what it brings back is not trusted.

The tools it starts work on the tree's files, with the tree's flags: they see no home, no network, and end in time.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.build.anatomy import kit
from orchestrator.build.sandbox import OBJ, Escape, Sandbox

_INSIDE = "/tmp/inside.py"  # noqa: S108  (in the sandbox)
_WORK = ".errand"
_LARGEST = 256 << 20  # bytes that are read back


class NoAnswer(Exception):
    """The script brought nothing back; its words say why."""


@dataclass(frozen=True)
class Place:
    """Where an errand runs: a finished build with its kit, the tree it was built from, ccache's directory."""

    build: Path
    sources: Path
    ccache: Path


@dataclass(frozen=True)
class Answer:
    """What came back: the script's JSON, the directory with what else it left, and the sandbox, for more to be run."""

    json: bytes
    directory: Path
    box: Sandbox


@contextlib.contextmanager
def send(script: Path, job: dict[str, object], place: Place, seconds: float) -> Iterator[Answer]:
    """Run `script` with `job` (JSON) and lend its answer; raises NoAnswer."""
    with tempfile.TemporaryDirectory(prefix="kdelta-errand-") as top:
        objects = Path(top)
        try:
            kit.unpack(place.build, objects)
        except FileNotFoundError as fault:
            raise NoAnswer(kit.NONE) from fault
        work = objects / _WORK
        work.mkdir()
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        box = Sandbox(place.sources, objects, place.ccache, readable={_INSIDE: script})
        try:
            done = box.run(["python3", "-I", _INSIDE, f"{OBJ}/{_WORK}/job.json"], timeout=seconds)
        except Escape as fault:
            raise NoAnswer(fault.message) from fault
        try:
            answer = Answer(plain_file(work / "answer.json"), work, box)
        except OSError as fault:
            said = done.output.strip().splitlines() or ["no word"]
            raise NoAnswer("no end in time" if done.timed_out else said[-1]) from fault
        yield answer


def plain_file(path: Path) -> bytes:
    """Read what was left, unless it is a link out of the sandbox, or endless."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        raise FileNotFoundError(path)
    return path.read_bytes()
