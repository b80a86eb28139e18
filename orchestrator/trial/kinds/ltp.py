"""One LTP program's output in, test results out. https://linux-test-project.readthedocs.io

Its messages go to standard error (an old program's to standard output): a suite has to send them to standard output.
"""

import re

from orchestrator.model import Outcome
from orchestrator.trial.kinds import lines, names
from orchestrator.trial.kinds.lines import Words
from orchestrator.trial.kinds.parsed import Parsed, Results

_KINDS = "T(PASS|FAIL|BROK|CONF|WARN|INFO)"
# `file.c:12: TPASS: words` and, of a shell script, `name 1 TPASS: words`
_MESSAGE = re.compile(rf"\S{{1,200}}?(?::[0-9]{{1,9}}:| [0-9]{{1,9}}) {_KINDS}: (.*)")
_OLD = re.compile(rf"(\S{{1,200}}) +([0-9]{{1,9}}) +{_KINDS} +: *(.*)")
_SECTION = re.compile(r"(?:=== )?Testing on (\S+)(?: ===)?$")
_COUNT = re.compile(r"(passed|failed|broken|skipped|warnings) +([0-9]{1,9})$")
_KILLED = ("Test timeouted, sending SIGKILL", "Test timed out, sending SIGKILL", "Test killed! (timeout?)")
_BAD = frozenset({"FAIL", "BROK", "WARN"})


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read the program's result, and one for each file system it ran on; a program of the old library gives one a case.

    A message names no case, and only the summary at the end says that none of them is lost: without it nothing passed.
    """
    reader = _Reader(suite, repeat)
    for line in lines.whole(text):
        reader.line(line)
    return reader.finish(lines.cut(text))


def outcome_of(text: str) -> Outcome | None:
    """Tell how a program ended by what it said; None if it said nothing of it."""
    program = _Part("")
    for line in lines.whole(text):
        if found := _MESSAGE.match(line):
            program.say(found[1], found[2])
    program.closed = True
    return program.outcome()


class _Part:
    """What a program said, or what it said on one file system, which is closed when the next or the summary comes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.words = Words()
        self.closed = False
        self._said: set[str] = set()
        self._killed = False

    def say(self, kind: str, words: str) -> None:
        """Take a message of this kind."""
        self._said.add(kind)
        self._killed |= words.startswith(_KILLED)

    def outcome(self) -> Outcome | None:
        """How it ended; None if it said nothing of it."""
        if self._killed:
            return Outcome.TIMEOUT
        if self._said & _BAD:
            return Outcome.FAIL
        if not self.closed:
            return Outcome.SKIP if self._said == {"CONF"} else Outcome.CRASH
        if "PASS" in self._said:
            return Outcome.PASS
        return Outcome.SKIP if "CONF" in self._said else None


class _Reader:
    """One pass over the lines. What is said after a summary is another program's."""

    def __init__(self, suite: str, repeat: int) -> None:
        self._results = Results(suite, repeat)
        self._suite = suite
        self._new = False
        self._begin()

    def line(self, line: str) -> None:
        """Read one line."""
        if found := _MESSAGE.match(line):
            self._message(found[1], found[2])
        elif old := _OLD.match(line):
            self._case(f"{names.stable(old[1])}/{old[2]}", old[3], old[4])
        elif self._new and (count := _COUNT.match(line)):
            self._count(count[1], int(count[2]))
        for part in self._now:
            part.words.add(line)

    def finish(self, rest: str) -> Parsed:
        """End the output; `rest` is a line that has no end."""
        self._program.words.add(rest)
        if not self._new:
            return Parsed(results=self._results.all(), output=str(self._program.words))
        self._end()
        faults = () if self._program.closed else ("it gave no summary",)
        return Parsed(results=self._results.all(), faults=faults)

    def _begin(self) -> None:
        self._program = _Part(self._suite)
        self._parts: list[_Part] = []  # one for each file system
        self._now = [self._program]  # what a line belongs to

    def _end(self) -> None:
        if outcome := self._program.outcome():
            name = self._results.claim(self._suite)
            for part in self._parts:
                if of_part := part.outcome():
                    self._results.add(f"{name}/{part.name}", of_part, str(part.words))
            self._results.put(name, outcome, str(self._program.words))

    def _message(self, kind: str, words: str) -> None:
        if self._program.closed:
            self._end()
            self._begin()
        self._new = True
        if found := _SECTION.match(words):
            if self._parts:
                self._parts[-1].closed = True
            self._parts.append(_Part(names.stable(found[1])))
            self._now = [self._program, self._parts[-1]]
        for part in self._now:
            part.say(kind, words)

    def _case(self, name: str, kind: str, words: str) -> None:
        if kind == "INFO":
            return
        outcome = Outcome.FAIL if kind in _BAD else Outcome.PASS if kind == "PASS" else Outcome.SKIP
        self._results.add(name, Outcome.TIMEOUT if words.startswith(_KILLED) else outcome, words)

    def _count(self, word: str, number: int) -> None:
        if self._program.closed:
            return
        if number and word in ("failed", "broken", "warnings"):
            self._program.say("FAIL", "")
        if word == "warnings":  # the summary's last line
            for part in self._now:
                part.closed = True
