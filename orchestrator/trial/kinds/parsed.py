"""What a parser makes of a program's output, whatever the program prints."""

from dataclasses import dataclass

from orchestrator.model import Metric, Outcome, TestResult


@dataclass(frozen=True)
class Parsed:
    """What one program said.

    `planned` is how many tests its outermost plan promised, None if it made none. `unseen` tests were planned, at any
    level, and gave no result; they have no names, and get none invented. `faults` say why this is not all that the
    program had to say. `skipped` is the reason of a program that says it could test nothing. `output` belongs to no
    test.
    """

    results: tuple[TestResult, ...] = ()
    metrics: tuple[Metric, ...] = ()
    faults: tuple[str, ...] = ()
    skipped: str | None = None
    output: str = ""
    planned: int | None = None
    unseen: int = 0

    @property
    def failed(self) -> bool:
        """Did a test fail?"""
        return any(result.outcome.bad for result in self.results)


class Results:
    """Test results as they come, each under a name of its own: the second `a` is `a#2`."""

    def __init__(self, suite: str, repeat: int) -> None:
        self._suite = suite
        self._repeat = repeat
        self._names: set[str] = set()
        self._again: dict[str, int] = {}
        self._results: list[TestResult] = []

    def claim(self, name: str) -> str:
        """Return `name`, or the next free `name#N`, and give it to nobody else."""
        if name in self._names:
            number = self._again.get(name, 1) + 1
            while f"{name}#{number}" in self._names:
                number += 1
            self._again[name] = number
            name = f"{name}#{number}"
        self._names.add(name)
        return name

    def put(self, claimed: str, outcome: Outcome, output: str = "") -> None:
        """Add the result of a name that `claim` gave."""
        self._results.append(TestResult(self._suite, claimed, outcome, output, self._repeat))

    def add(self, name: str, outcome: Outcome, output: str = "") -> None:
        """Add a result."""
        self.put(self.claim(name), outcome, output)

    def all(self) -> tuple[TestResult, ...]:
        """Every result, in the order it came."""
        return tuple(self._results)
