"""An installed LTP in, a test for each line of its runtest files out."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kvm import elf
from kvm.errors import UserError
from orchestrator.trial.suites.run import Run
from orchestrator.trial.suites.stage import SCRATCH, Stage, inside
from orchestrator.trial.suites.suite import Suite

_LINE = re.compile(r"^(?P<tag>[\w.:+-]+)\s+(?P<command>\S.*)$")
_PROGRAMS = "testcases/bin"
_TOOLS = "tst_"  # what LTP's shell library calls


def stage(suite: Suite, tree: Path, staged: Stage) -> tuple[Run, ...]:
    """Stage what the runtest files of `suite` name: each line is a tag and a shell command."""
    if not (tree / _PROGRAMS).is_dir():
        raise UserError(f"suite {suite.name}: {tree} is no installed LTP: no {_PROGRAMS} in it")
    commands = _chosen(suite, dict(line for name in suite.runtest for line in _lines(suite, tree, name)))
    words = {word for command in commands.values() for word in re.split(r"[\s;|&]+", command) if word}
    own = (_TOOLS, *(word for word in words if (tree / _PROGRAMS / word).is_file()))
    # scripts come along, for they call each other; of the programs, those that are named, and their own children
    for path in sorted((tree / _PROGRAMS).rglob("*")):
        if path.is_file() and (path.name.startswith(own) or path.parent != tree / _PROGRAMS or not elf.machine(path)):
            staged.files[str(path.relative_to(tree))] = path
    root = inside(suite.name)
    home = f"export LTPROOT={root} PATH={root}/{_PROGRAMS}:$PATH"
    return tuple(Run(tag, f"{home}; {command}") for tag, command in commands.items())


def settled(suite: Suite, run: Run) -> Run:
    """Tell a program what it cannot know: how slow its guest is, and which device it may have."""
    device = f" LTP_DEV={SCRATCH}" if suite.needs.disk_mib else ""  # there are no loop devices
    return replace(run, command=f"export TMPDIR=/tmp LTP_TIMEOUT_MUL=$KDELTA_SCALE{device}; {run.command}")


def _chosen(suite: Suite, commands: dict[str, str]) -> dict[str, str]:
    """Those that `programs` names, in that order; all, where it names none."""
    if missing := [tag for tag in suite.programs if tag not in commands]:
        files = ", ".join(f"runtest/{name}" for name in suite.runtest)
        raise UserError(f"suite {suite.name}: no {', '.join(missing)} in {files}")
    return {tag: commands[tag] for tag in suite.programs} or commands


def _lines(suite: Suite, tree: Path, name: str) -> Iterator[tuple[str, str]]:
    try:
        text = (tree / "runtest" / name).read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        known = ", ".join(sorted(path.name for path in tree.glob("runtest/*"))) or "none"
        raise UserError(f"suite {suite.name}: no runtest/{name} in {tree}; there: {known}") from fault
    for line in text.splitlines():
        if found := _LINE.match(line.strip()):
            yield found["tag"], found["command"]
