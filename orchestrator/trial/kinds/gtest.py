"""GoogleTest's output in, test results out. https://google.github.io/googletest/advanced.html"""

import re

from orchestrator.model import Outcome
from orchestrator.trial.kinds import lines, names
from orchestrator.trial.kinds.lines import Words
from orchestrator.trial.kinds.parsed import Parsed, Results

_PLAN = re.compile(r"\[==========\] Running ([0-9]{1,18}) tests? from ")
_ENDED = re.compile(r"\[==========\] [0-9]+ tests? from .* ran\.")
_RUN = "[ RUN      ] "
_MARKS = {
    "[       OK ] ": Outcome.PASS,
    "[  FAILED  ] ": Outcome.FAIL,
    "[  SKIPPED ] ": Outcome.SKIP,
}
# A suite that could not be set up fails beside its tests, which are skipped.
_SUITE_FAILED = re.compile(r"\[  FAILED  \] (\S{1,200}): SetUpTestSuite or TearDownTestSuite$")
_BEHIND = re.compile(r"(?:, where (?:GetParam|TypeParam)| \([0-9]+ ms\)$).*")


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read all that a test program printed; the test that was running when it ended is a crash."""
    reader = _Reader(suite, repeat)
    for line in lines.whole(text):
        reader.line(line)
    return reader.finish(lines.cut(text))


class _Reader:
    """One pass over the lines. The lists at the end name tests again: only a test that runs gets a result."""

    def __init__(self, suite: str, repeat: int) -> None:
        self._results = Results(suite, repeat)
        self._running = ""
        self._words = Words()  # of the test that runs
        self._between = Words()
        self._faults: list[str] = []
        self._planned: int | None = None
        self._seen = 0
        self._ended = False

    def line(self, line: str) -> None:
        """Read one line; a test's own words may stand in front of its result."""
        if line.startswith(_RUN):
            self._begin(names.stable(line.removeprefix(_RUN)))
        elif self._running:
            if not self._result(line):
                self._words.add(line)
        elif found := _PLAN.match(line):  # --gtest_repeat gives one for each round
            self._planned = (self._planned or 0) + int(found[1])
        elif _ENDED.match(line):
            self._ended = True
        elif found := _SUITE_FAILED.match(line):
            self._faults.append(f"the set up or tear down of {names.stable(found[1])} failed")
        elif not line.startswith("["):
            self._between.add(line)

    def finish(self, rest: str) -> Parsed:
        """End the output; `rest` is a line that has no end, and no result."""
        faults = self._faults
        (self._words if self._running else self._between).add(rest)
        if self._running:
            self._end(Outcome.CRASH)
            faults.append("its output ends in the middle of a test")
        unseen = max(0, (self._planned or 0) - self._seen)
        if unseen:
            faults.append(f"{unseen} tests were planned that gave no result")
        if self._planned is None:
            faults.append("it gave no plan")
        if not self._ended:
            faults.append("it did not come to its end")
        skipped = "it has no test to run" if self._planned == 0 else None
        return Parsed(
            results=self._results.all(),
            faults=tuple(faults),
            skipped=skipped,
            output=str(self._between),
            planned=self._planned,
            unseen=unseen,
        )

    def _begin(self, name: str) -> None:
        if self._running:
            self._end(Outcome.CRASH)
        self._running, self._words = name, Words()

    def _result(self, line: str) -> bool:
        at, mark = max((line.rfind(mark), mark) for mark in _MARKS)
        if at < 0 or names.stable(_BEHIND.sub("", line[at + len(mark) :])) != self._running:
            return False
        self._words.add(line[:at])
        self._end(_MARKS[mark])
        return True

    def _end(self, outcome: Outcome) -> None:
        self._results.add(self._running, outcome, str(self._words))
        self._running, self._words = "", Words()
        self._seen += 1
