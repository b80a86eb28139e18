"""What one kernel's guests are asked to do, and what the guests of all kernels share."""

from dataclasses import dataclass, replace
from pathlib import Path

from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator.model import Cell
from orchestrator.places import Places
from orchestrator.trial.durations import Durations
from orchestrator.trial.suites.payload import Payload


@dataclass(frozen=True)
class Trial:
    """What one guest is asked to do; `directory` receives the console and the tests' output.

    With `keep_guest` one in which a test failed waits for a person; with `keep_state` what it was right after that
    program is kept. Of a kernel that `counts` (gcov) it is kept what each program ran.
    """

    cell: Cell
    machine: Machine
    limits: Limits
    payloads: tuple[Payload, ...]
    repeats: int
    directory: Path
    keep_guest: bool = False
    keep_state: bool = False
    counts: bool = False

    def kept_nothing(self, directory: Path) -> "Trial":
        """The same in another directory, where nothing of a guest is kept or counted."""
        return replace(self, directory=directory, keep_guest=False, keep_state=False, counts=False)

    def at(self, repeat: int) -> list[Payload]:
        """The suites that run for the `repeat`th time, from 0."""
        return [payload for payload in self.payloads if repeat < (payload.suite.repeats or self.repeats)]

    @property
    def most_repeats(self) -> int:
        """How often the suite that runs most often does so."""
        return max([payload.suite.repeats or self.repeats for payload in self.payloads], default=0)


@dataclass(frozen=True)
class Yard:
    """What the guests of all cells share: the places, and the memory of how long they took."""

    places: Places
    durations: Durations
