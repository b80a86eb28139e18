"""stress-ng's output in; a result for each stressor and its rates out. https://github.com/ColinIanKing/stress-ng"""

import re

from orchestrator.model import Metric, Outcome
from orchestrator.trial.kinds import lines
from orchestrator.trial.kinds.bench import number
from orchestrator.trial.kinds.lines import Words
from orchestrator.trial.kinds.parsed import Parsed, Results

_LINE = re.compile(r"stress-ng: (info|metrc|fail|error|warn|debug): +\[([0-9]+)\] (.*)")
_HOGS = re.compile(r"dispatching hogs: (.*)")
_HOG = re.compile(r"[0-9]+ ([\w-]{1,64})")
_SUMMARY = re.compile(r"(passed|failed|skipped|metrics untrustworthy): [0-9]+(?:: (.*))?$")
_COUNTED = re.compile(r"([\w-]{1,64}) \([0-9]+\)")
_OVER = re.compile(r"(un)?successful run completed in ")
_RATES = re.compile(r"([\w-]{1,64})((?: +[0-9.]+){6})(?: |$)")
_OWN = re.compile(r"([\w-]{1,64})(?::| stressor) ")
_SKIPPED = re.compile(r"stressor will be skipped|skipping (?:the |this )?(?:stressor|stress test|test\b)")
_KILLED = re.compile(r"process \[?[0-9]+\]? \((?:stress-ng-)?([\w-]{1,64})\) terminated on signal: ")
_UNTRUSTED = "metrics untrustworthy"
_CLOCKS = ("real", "cpu")


class _Run:
    """One run: what each of its stressors said and was said to be; `over` is None before its last line."""

    def __init__(self) -> None:
        self.words: dict[str, Words] = {}
        self.called: dict[str, set[str]] = {}
        self.rates: dict[str, tuple[float, float]] = {}
        self.over: Outcome | None = None

    def call(self, name: str, word: str) -> None:
        """Take how a stressor ended: passed, failed, skipped, killed; or that its metrics are untrustworthy."""
        if self.over:
            return
        self.words.setdefault(name, Words())
        self.called.setdefault(name, set()).add(word)

    def outcome(self, name: str) -> Outcome:
        """How a stressor ended. Its instances end one by one, so that it has passed is known when the run is over."""
        called = self.called.get(name, set())
        if "killed" in called:
            return Outcome.CRASH
        if "failed" in called:
            return Outcome.FAIL
        if "passed" in called and self.over:
            return Outcome.PASS
        if "skipped" in called:
            return Outcome.SKIP
        return self.over or Outcome.CRASH


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read how each stressor ended, and its rates by the clock and by processor time."""
    reader = _Reader()
    for line in lines.whole(text):
        reader.line(line)
    return reader.finish(suite, repeat, lines.cut(text))


class _Reader:
    """One pass over the lines; the process id tells a run's own lines from its stressors' and from another run's."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._last = _Run()  # the first; what is said before it begins is its own, too
        self._all = [self._last]
        self._other = Words()

    def line(self, line: str) -> None:
        """Read one line."""
        found = _LINE.match(line)
        if not found or not self._of_run(found[2], found[3]):
            self._of_stressor(found[1] if found else "", found[3] if found else line)

    def finish(self, suite: str, repeat: int, rest: str) -> Parsed:
        """End the output; `rest` is a line that has no end."""
        results = Results(suite, repeat)
        samples: dict[str, list[tuple[float, float]]] = {}
        untrusted = []
        for run in self._all:
            for name, words in run.words.items():
                results.add(name, run.outcome(name), str(words))
            for name, pair in run.rates.items():
                if _UNTRUSTED in run.called.get(name, ()):
                    untrusted.append(name)
                else:
                    samples.setdefault(name, []).append(pair)
        faults = []
        if not self._runs or not all(run.over for run in self._runs.values()):
            faults.append("it did not come to its end")
        if untrusted:
            faults.append(f"it calls its own metrics untrustworthy: {', '.join(untrusted)}"[:200])
        self._other.add(rest)
        metrics = tuple(
            Metric(suite, f"{name}.{clock}", "bogo-ops/s", tuple(pair[index] for pair in pairs))
            for name, pairs in samples.items()
            for index, clock in enumerate(_CLOCKS)
        )
        return Parsed(results.all(), metrics, tuple(faults), output=str(self._other))

    def _of_run(self, pid: str, words: str) -> bool:
        """Take a line of the run itself."""
        if found := _HOGS.match(words):
            run = self._begin(pid)
            for name in _HOG.findall(found[1]):
                run.words.setdefault(name, Words())
            return True
        run = self._runs.get(pid, self._last)
        if found := _SUMMARY.match(words):
            for name in _COUNTED.findall(found[2] or ""):
                run.call(name, found[1])
        elif found := _OVER.match(words):
            # without a summary, as before stress-ng 0.16, nobody knows who failed
            run.over = run.over or (Outcome.MISSING if found[1] else Outcome.PASS)
        elif found := _RATES.match(words):
            real, cpu = (number(column) for column in found[2].split()[4:6])
            if real is not None and cpu is not None:
                run.rates[found[1]] = real, cpu
        else:
            return False
        return True

    def _begin(self, pid: str) -> _Run:
        if pid not in self._runs or self._runs[pid].over:
            if self._runs:
                self._last = _Run()
                self._all.append(self._last)
            self._runs[pid] = self._last
        return self._runs[pid]

    def _of_stressor(self, kind: str, words: str) -> None:
        """Take what a stressor says of itself, or the run of one that was killed."""
        run = self._last
        if found := _KILLED.match(words):
            run.call(found[1], "killed")
        found = found or _OWN.match(words)
        skipped = found is not None and _SKIPPED.search(words) is not None
        if found and (skipped or kind == "fail"):
            run.call(found[1], "skipped" if skipped else "failed")
        if not found or found[1] not in run.words:
            return self._other.add(words)
        run.words[found[1]].add(f"{kind}: {words}")
        return None
