"""One fault, what must be said of it, and what was."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvm.qemu import Machine
from orchestrator.model import GuestRun, VerdictValue


@dataclass(frozen=True)
class Row:
    """A row of table.yaml, which says what its fields mean."""

    name: str
    inject: str
    outcome: str
    verdict: str
    fault: str = "missing"
    after: str = "missing"
    splats: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ("x86_64", "arm64")
    signal: str = ""
    boot: str = ""
    console: str = ""
    wording: bool = False
    line: str = ""
    within: float = 2.0
    seconds: float = 8.0

    @property
    def program(self) -> str:
        """Its suite's name, and its program's."""
        return re.sub(r"\W+", "-", self.name)

    @property
    def tells(self) -> bool:
        """Is there a moment from which the time to kdelta's word is counted?"""
        return bool(self.line) or self.signal == "KILL"

    @property
    def boots(self) -> bool:
        """Does it want a boot of its own?"""
        return bool(self.boot or self.console)

    def machine(self, machine: Machine) -> Machine:
        """The machine on which it happens."""
        arch = machine.arch
        if self.console:
            return replace(machine, arch=replace(arch, console=self.console, cmdline=("loglevel=0",)))
        return replace(machine, arch=replace(arch, cmdline=(*arch.cmdline, *self.boot.split())))

    def script(self, mark: str) -> str:
        """A suite of three tests, the second of which is the fault, with `mark` before it."""
        tests = "echo 1..3\necho ok 1 before\necho '# run fault'\n"
        return f"#!/bin/sh\n{tests}sleep 0.5\n{mark}\nsleep 0.5\n{self.inject}\necho ok 2 fault\necho ok 3 after\n"


@dataclass(frozen=True)
class Seen:
    """What came of a row: `late` are the seconds from the kernel's line to kdelta's first word of it, or None if nobody
    saw the line; `slow` is how much slower than alone the machine is.
    """

    row: Row
    arch: str
    run: GuestRun
    verdict: VerdictValue
    late: float | None
    slow: float
    seconds: float
    left: tuple[str, ...]

    @property
    def reports(self) -> list[str]:
        """Kinds of what the kernel reported, without what it may report or not."""
        return sorted({splat.kind for splat in self.run.guest.splats} - {*self.row.perhaps})

    @property
    def is_late(self) -> bool:
        """Was it told too long after its line, for a machine as slow as this?"""
        return self.late is not None and self.late > self.row.within * self.slow

    def of(self, test: str) -> str:
        """The outcome of a test."""
        return next((str(result.outcome) for result in self.run.results if result.name == test), "missing")

    def wrong(self) -> Iterator[str]:
        """Name what is not as the row says."""
        row, guest = self.row, self.run.guest
        if guest.outcome != row.outcome:
            yield f"guest is {guest.outcome}, not {row.outcome} ({guest.detail})"
        before = "missing" if row.outcome == "no-boot" else "pass"
        for name, wanted in (("before", before), ("fault", row.fault), ("after", row.after)):
            if self.of(name) != wanted:
                yield f"{name} is {self.of(name)}, not {wanted}"
        if self.reports != sorted(row.splats):
            yield f"reports are {self.reports}, not {sorted(row.splats)}"
        if self.verdict != row.verdict:
            yield f"verdict is {self.verdict}, not {row.verdict}"
        if row.tells and self.late is None:
            yield "its line was not seen"
        elif self.is_late:
            yield f"told {self.late:.1f} s after its line, not within {row.within:g} s x {self.slow:.1f}"
        yield from (f"left behind: {what}" for what in self.left)
