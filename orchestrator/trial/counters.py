"""What the objects that count (gcov) have counted, read out of a guest after each program. All of it is a guest's word.

Each reading sets the counters back, so that the next one is of the next program alone. A guest that dies takes along
what it counted since the last one.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvm import disk
from kvm.errors import GuestLost
from kvm.guest import Guest
from kvm.vm import Limits
from orchestrator.model.coverage import BOOT

_TOP = "/sys/kernel/debug/gcov"
_RESET = f"echo 0 >{_TOP}/reset"
# a file there says that it has no bytes, and yet it can be read
_EACH = 'while read -r file; do echo "$file $(base64 -w 0 <$file)"; done'
_READ = f"cd {_TOP} && find . -name '*.gcda' | {_EACH}; {_RESET}"
_LINE = re.compile(rb"^\./([\w+./-]{1,1000})\.gcda ([A-Za-z0-9+/]+={0,2})$", re.MULTILINE)
_MOST_BYTES = 64 << 20  # of what a guest may say at once
_INDEX = "readings.jsonl"


@dataclass(frozen=True)
class Kept:
    """What one object counted while a program ran, as a .gcda in `file`; no object where nobody knows."""

    program: str
    object: str
    file: Path


def begin(directory: Path) -> None:
    """Forget what was read of a cell before."""
    disk.clear(_home(directory))
    _home(directory).mkdir(parents=True)


def boot(guest: Guest, limits: Limits, directory: Path) -> None:
    """Keep what ran since the kernel started: counters are there before anything else is."""
    read(BOOT, guest, limits, directory)


def reset(guest: Guest, limits: Limits) -> None:
    """Set the counters back."""
    guest.run(_RESET, timeout=limits.command_seconds)


def read(program: str, guest: Guest, limits: Limits, directory: Path) -> None:
    """Keep what the objects counted while `program` ran, and set the counters back."""
    try:
        said = guest.run(_READ, timeout=limits.command_seconds, output_limit=_MOST_BYTES)
    except GuestLost:
        lose(program, directory)
        raise
    found = {} if said.timed_out or said.truncated else dict(_objects(said.stdout))
    if not found:
        lose(program, directory)
    for name, content in found.items():
        file = _home(directory) / f"{hashlib.sha256(content).hexdigest()[:32]}.gcda"
        if not file.exists():  # most programs leave most objects alone
            disk.write(file, content)
        _note(directory, program, name, file.name)


def lose(program: str, directory: Path) -> None:
    """Say that nobody knows what ran while `program` did."""
    _note(directory, program, "", "")


def kept(directory: Path) -> list[Kept]:
    """Return what was read of a cell, in the order in which it came."""
    try:
        lines = (_home(directory) / _INDEX).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [Kept(program, name, _home(directory) / file) for program, name, file in map(json.loads, lines)]


def _home(directory: Path) -> Path:
    return directory / "coverage"


def _objects(said: bytes) -> Iterator[tuple[str, bytes]]:
    """What a guest says of its objects: the path without its suffix, in the kernel's directories, and the counters."""
    for name, content in _LINE.findall(said):
        try:
            yield name.decode(), base64.b64decode(content, validate=True)
        except binascii.Error:
            continue


def _note(directory: Path, *words: str) -> None:
    """Add a line to the index: one write, for guests bring theirs side by side."""
    with (_home(directory) / _INDEX).open("ab", buffering=0) as index:
        index.write(f"{json.dumps(words)}\n".encode())
