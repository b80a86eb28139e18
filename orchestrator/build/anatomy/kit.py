"""What it takes to compile one more object of a build long after: its generated headers and its command lines.

A build directory moves on to other versions of a series; the kit stays beside the image. So what needs
debug info is compiled again only when it is asked for, off the way from make to the guests, and never into the image.
"""

import contextlib
import gzip
import json
import os
import re
import shlex
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvm import disk, proc
from orchestrator.build.sandbox import SRC

NONE = "only a kernel that was built in the sandbox can be looked at so closely"  # any other keeps no kit

_FILE = "kit.tar.gz"
_LARGEST = 16 << 20  # bytes of a generated header or a .cmd file; none of a kernel comes near
_COMMANDS = "kit.json.gz"
_RECIPE = re.compile(r"^(?:saved)?cmd_(\S+) := (.*)$", re.MULTILINE)
_DEPENDS = re.compile(rf"^  ({SRC}/)?(\S+\.h) ?\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Kit:
    """Command lines by object; `headers` of the tree, and by object the places in it of those that it includes."""

    commands: dict[str, str]
    headers: tuple[str, ...]
    included: dict[str, tuple[int, ...]]

    def users(self, header: str) -> set[str]:
        """Return the objects that include `header`, a path in the tree."""
        if header not in self.headers:
            return set()
        place = self.headers.index(header)
        return {name for name, places in self.included.items() if place in places}

    def built_from(self, source: str) -> set[str]:
        """Return the objects that are compiled from `source`, a path in the tree."""
        return {name for name, command in self.commands.items() if f" {SRC}/{source} " in f"{command} "}

    def argv(self, name: str) -> list[str]:
        """Return the command line that compiled the object, up to what Kbuild does with it afterwards."""
        words = []
        for word in shlex.split(self.commands[name]):
            if plain := word.rstrip(";"):
                words.append(plain)
            if plain != word:
                break
        return words


def save(build: Path, directory: Path) -> None:
    """Keep the kit of the build directory `build` in `directory`."""
    commands, included, headers = {}, {}, {}  # type: dict[str, str], dict[str, list[int]], dict[str, int]
    for path in _files(build, ".o.cmd"):
        text = _text(path)
        if (found := _RECIPE.search(text)) and f" {SRC}/" in found[2]:
            commands[found[1]] = _unescape(found[2])
            depends = [header for tree, header in _DEPENDS.findall(text) if tree]
            included[found[1]] = sorted({headers.setdefault(header, len(headers)) for header in depends})
    facts = json.dumps({"commands": commands, "headers": list(headers), "included": included})
    (directory / _COMMANDS).write_bytes(gzip.compress(facts.encode(), compresslevel=1, mtime=0))
    with tarfile.open(directory / _FILE, "w:gz", compresslevel=1) as archive:
        for path in (*_files(build, ".h"), *_files(build, ".gcno")):  # the latter say which counter is which line
            if "include/config/" not in str(path) and path.stat().st_size <= _LARGEST:
                with contextlib.suppress(PermissionError):  # a build may take the right to read it away
                    archive.add(path, path.relative_to(build), recursive=False)


def load(directory: Path) -> Kit | None:
    """Read the kit in `directory`; None if there is none."""
    try:
        facts = json.loads(gzip.decompress((directory / _COMMANDS).read_bytes()))
    except (OSError, ValueError, EOFError):
        return None
    included = {name: tuple(places) for name, places in facts["included"].items()}
    return Kit(facts["commands"], tuple(facts["headers"]), included)


def unpack(directory: Path, into: Path) -> None:
    """Lay the generated headers out in `into`."""
    with tarfile.open(directory / _FILE) as archive:
        for member in archive:  # extractall() is safe only from Python 3.11.4 on, by its filters
            path = into / member.name
            content = archive.extractfile(member) if path.resolve().is_relative_to(into.resolve()) else None
            if content and member.isreg():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def choose(kit: Kit, differing: Iterable[str], touched: Iterable[str], limit: int) -> tuple[list[str], list[str]]:
    """Choose objects worth a closer look, and say in words what was left out.

    Those of touched sources come first, then as few as include every touched header, then others that differ.
    """
    paths = list(touched)
    chosen = dict.fromkeys(sorted(name for path in paths if path.endswith(".c") for name in kit.built_from(path)))
    waiting = {path: users for path in paths if path.endswith(".h") and (users := kit.users(path))}
    different = [name for name in sorted(differing) if name in kit.commands]
    while waiting := {path: users for path, users in waiting.items() if not users & chosen.keys()}:
        candidates = sorted(set().union(*waiting.values()), key=lambda name: (name not in different, name))
        chosen[max(candidates, key=lambda name: sum(name in users for users in waiting.values()))] = None
    chosen |= dict.fromkeys(different)
    names = list(chosen)
    notes = [f"{len(names)} objects differ or are touched: frames and layouts of {limit} of them were looked at"]
    return names[:limit], notes if len(names) > limit else []


def _files(build: Path, ending: str) -> Iterator[Path]:
    for top, folders, names in os.walk(build):
        proc.stop.obey()
        if Path(top) == build:
            folders[:] = [name for name in folders if name not in ("scripts", "tools", "source")]
        folders.sort()
        for name in sorted(names):
            path = Path(top, name)
            if name.endswith(ending) and not path.is_symlink() and path.is_file():
                yield path


def _text(path: Path) -> str:
    try:
        return disk.read_text(path, _LARGEST)
    except OSError:
        return ""


def _unescape(command: str) -> str:
    """Undo what Kbuild's make-cmd does to a command line."""
    return command.replace("$(pound)", "#").replace("$$", "$")
