"""Kconfig fragments: what was asked for, and what olddefconfig left of it. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.config import CONFIG_GOALS

_SET = re.compile(r"^CONFIG_(\w+)=(.*)$")
_UNSET = re.compile(r"^# CONFIG_(\w+) is not set$")
_DEFINED = re.compile(r"^[ \t]*(?:menu)?config[ \t]+(\w+)[ \t\r]*$", re.MULTILINE)


@dataclass(frozen=True)
class Wish:
    """What a .config starts from, one of CONFIG_GOALS or the text of another, and what is merged onto that.

    `optional` is asked for too, and may be dropped: not every kernel version has it. `enable` are options, without
    CONFIG_, to be set with all that they depend on, as far as that can be had.
    """

    start: str
    fragments: str
    optional: str = ""
    enable: tuple[str, ...] = ()

    @property
    def is_goal(self) -> bool:
        """Does make know how to start?"""
        return self.start in CONFIG_GOALS


@dataclass(frozen=True)
class Dropped:
    """One option that was asked for and is not in .config as asked."""

    option: str
    wanted: str
    got: str


def parse(text: str) -> dict[str, str]:
    """Read a .config or a fragment: option without CONFIG_ -> value, "n" where it is not set; the last line wins."""
    options = {}
    for line in text.splitlines():
        if found := _SET.match(line):
            options[found[1]] = found[2]
        elif found := _UNSET.match(line):
            options[found[1]] = "n"
    return options


def optional(fragments: str) -> dict[str, str]:
    """Read the options that a fragment asks for where they exist: `#? CONFIG_X=y`."""
    return parse("\n".join(line[3:] for line in fragments.splitlines() if line.startswith("#? ")))


def defined(kconfig: str) -> set[str]:
    """Read which options a Kconfig file defines."""
    return set(_DEFINED.findall(kconfig))


def text(options: Mapping[str, str]) -> str:
    """Write options as Kconfig reads them, the same for the same options."""
    return "".join(
        f"# CONFIG_{name} is not set\n" if value == "n" else f"CONFIG_{name}={value}\n"
        for name, value in sorted(options.items())
    )


def dropped(wish: str, config: str) -> list[Dropped]:
    """Compare what the fragments ask for with the final .config."""
    have = parse(config)
    asked = parse(wish).items()
    return [Dropped(name, value, have.get(name, "n")) for name, value in asked if have.get(name, "n") != value]


def differences(base: str, patched: str) -> list[tuple[str, str, str]]:
    """Compare two .config: option, what it is on base, what it is on patched."""
    before, after = parse(base), parse(patched)
    names = sorted(before.keys() | after.keys())
    rows = [(name, before.get(name, "n"), after.get(name, "n")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def describe(losses: Iterable[Dropped], reasons: dict[str, str]) -> str:
    """Say each dropped option in a line, with the dependency that is not met where it is known."""
    lines = []
    for loss in losses:
        reason = reasons.get(loss.option, "")
        lines.append(f"CONFIG_{loss.option}={loss.wanted} came out as {loss.got}{f' ({reason})' if reason else ''}")
    return "; ".join(lines)
