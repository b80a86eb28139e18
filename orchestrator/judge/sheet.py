"""What one GuestRun says of each test, looked up by name. Pure."""

import functools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.model import GuestRun, Observed, Outcome, Splat, SuiteEnd, TestResult

SUITE_END = "(exit)"  # the test that every suite has: did its program end as it should?
# The test that a suite has where a kernel was tainted and no report says why: did it leave the kernel's word alone?
SUITE_TAINT = "(taint)"
REPORT = "(report) "  # begins the name of a report, which a suite has where one came under it that base did not give
# Before these two stands, with a slash, the program or test under which they came, where that can be run alone.
_TROUBLE = {
    "M": "machine check",
    "B": "bad page",
    "D": "oops or BUG",
    "W": "warning",
    "L": "soft lockup",
}
# Kinds of reports that set such a flag (add_taint() in Linux); any report may be one that warns.
_SETS = {
    "M": {"call-trace", "unknown"},
    "B": {"bad-page", "slab", "kasan", "kfence", "kmsan", "bug", "call-trace", "unknown"},
    "D": {
        *("oops", "bug", "general-protection", "panic", "list-corruption", "usercopy", "fortify", "cfi", "vfs"),
        *("stack-corruption", "spinlock", "call-trace", "unknown"),
    },
    "L": {"soft-lockup", "call-trace", "unknown"},
}

_BADNESS = (
    *(Outcome.PASS, Outcome.XFAIL, Outcome.SKIP, Outcome.FAIL),
    *(Outcome.TIMEOUT, Outcome.CRASH, Outcome.LOST, Outcome.MISSING),
)

_FAILURES = tuple(outcome for outcome in Outcome if outcome.bad)  # faster than to ask each of 10,000 results

Name = tuple[str, str]  # suite, test


@dataclass(frozen=True, eq=False)
class Sheet:
    """A GuestRun with its results and ends by name: one result of each test, all `repeats` of those with several.

    `splats` are the reports that may count: neither known nor base's anyhow.
    """

    run: GuestRun
    results: dict[Name, TestResult]
    repeats: dict[Name, list[TestResult]]
    ends: dict[str, list[SuiteEnd]]
    splats: tuple[Splat, ...]

    def observe(self, suite: str, name: str) -> Observed | None:
        """Fold the repeats of one test into one observation; None if a whole run of the suite has no such test."""
        ends = self.ends.get(suite, [])
        if name == SUITE_END:
            return _of_ends(ends, [(end.outcome, end.detail) for end in ends])
        if found := self.results.get((suite, name)):
            several = self.repeats.get((suite, name), [found])
            return _fold([(result.outcome, result.output) for result in several])
        if name.endswith(SUITE_TAINT) and ends:
            return self._trouble(suite, home(name))
        if title := reported(name):
            return self._report(ends, title)
        return None if ends and all(end.outcome is Outcome.PASS for end in ends) else Observed(Outcome.MISSING)

    @property
    def reports(self) -> Iterator[str]:
        """The titles of what may count of the console: how a guest ended is said otherwise."""
        guest = self.run.guest
        ended = ("panic", None if guest.went_on else guest.outcome)
        yield from (one.title for one in self.splats if one.kind not in ended)

    def _report(self, ends: list[SuiteEnd], title: str) -> Observed:
        """Look for a report on the console; where more came than are kept nobody knows that it did not."""
        for splat in self.splats:
            if splat.title == title:
                return Observed.once(Outcome.FAIL, splat.fingerprint)
        return Observed.once(Outcome.PASS if ends and not self.run.guest.more_splats else Outcome.MISSING)

    @property
    def names(self) -> Iterator[Name]:
        """Every test that there is something to say of, but for the ends."""
        yield from self.results
        yield from self.taints

    @property
    def taints(self) -> Iterator[Name]:
        """The tests that stand for a taint, each of which failed."""
        spoilt = (end for ends in self.ends.values() for end in ends if _taint(self.run, end))
        yield from ((end.suite, f"{end.test}/{SUITE_TAINT}" if end.test else SUITE_TAINT) for end in spoilt)

    @functools.cached_property
    def failed(self) -> dict[Name, None]:
        """Every test that was seen to fail in it; reports belong to programs."""
        bad = {(result.suite, result.name): None for result in self.run.results if result.outcome in _FAILURES}
        bad |= {(suite, SUITE_END): None for suite, ends in self.ends.items() if any(e.outcome.bad for e in ends)}
        return bad | dict.fromkeys(self.taints) | dict.fromkeys(self._taken)

    @property
    def _taken(self) -> Iterator[Name]:
        """The ends of programs, or the tests with guests of their own, that a kernel took along as it died."""
        if self.run.guest.outcome.bad:
            every = (end for ends in self.ends.values() for end in ends if end.outcome is Outcome.LOST)
            yield from ((end.suite, end.test or SUITE_END) for end in every)

    def _trouble(self, suite: str, part: str) -> Observed:
        """Did all of a suite, or a program or test of it, leave the kernel's word alone?"""
        if part == SUITE_TAINT:
            ends = self.ends[suite]
        else:
            ran = self.results.get((suite, part))
            lost = ran and ran.outcome in (Outcome.LOST, Outcome.MISSING)
            own = [end for end in self.ends[suite] if end.test == part]
            ends = [] if lost else own or ([SuiteEnd(suite, 0, Outcome.PASS, "")] if ran else [])
        return _of_ends(ends, [_spoiled(self.run, end) for end in ends])


def report(program: str, title: str) -> str:
    """Name a report that came under a program of a suite; "" is all of it."""
    return f"{program}/{REPORT}{title}" if program else f"{REPORT}{title}"


def reported(name: str) -> str | None:
    """Return the title of the report that a name stands for; None for that of a test."""
    program, mark, title = name.partition(REPORT)
    return title if mark and (not program or program.endswith("/")) else None


def home(name: str) -> str:
    """The program or test under which a report or a taint came; any other name as it is; "" is all of the suite."""
    if reported(name):
        return name.partition(REPORT)[0].removesuffix("/")
    return "" if name == SUITE_END else name.removesuffix(f"/{SUITE_TAINT}")


def of(run: GuestRun, on_base: Collection[Splat] = ()) -> Sheet:
    """Look all of it through once; the reports `on_base` are no news."""
    old = {splat.identity for splat in on_base}
    last = {(result.suite, result.name): result for result in run.results}
    repeats = _repeated(run.results, last) if len(last) < len(run.results) else {}
    splats = tuple(one for one in run.guest.splats if not one.known and one.identity not in old)
    return Sheet(run, last, repeats, _by_suite(run.ends), splats)


def _repeated(results: Iterable[TestResult], last: dict[Name, TestResult]) -> dict[Name, list[TestResult]]:
    """Every result of the tests that have several; `last` holds the last one of each."""
    found: dict[Name, list[TestResult]] = {}
    for result in results:
        name = result.suite, result.name
        if name in found or last[name] is not result:
            found.setdefault(name, []).append(result)
    return found


def _by_suite(ends: Iterable[SuiteEnd]) -> dict[str, list[SuiteEnd]]:
    found: dict[str, list[SuiteEnd]] = {}
    for end in ends:
        found.setdefault(end.suite, []).append(end)
    return found


def _taint(run: GuestRun, end: SuiteEnd) -> str:
    """The flags of trouble that a program gave its kernel, where no report, which is judged, tells of it."""
    said = {splat.kind for splat in run.guest.splats} if end.taint else set()
    return "".join(letter for letter in end.taint if letter in _TROUBLE and not said & _SETS.get(letter, said))


def _spoiled(run: GuestRun, end: SuiteEnd) -> tuple[Outcome, str]:
    if end.outcome is Outcome.LOST:
        return Outcome.LOST, end.detail
    if not (letters := _taint(run, end)):
        return Outcome.PASS, ""
    words = ", ".join(f"{letter} ({_TROUBLE[letter]})" for letter in letters)
    return Outcome.FAIL, f"the kernel was tainted: {words}; no report on the console says why"


def _of_ends(ends: list[SuiteEnd], seen: list[tuple[Outcome, str]]) -> Observed:
    """Fold the ends of programs and of tests with guests of their own: those of one repeat are one end, the worst."""
    worst: dict[int, tuple[Outcome, str]] = {}
    for end, one in zip(ends, seen, strict=True):
        worst[end.repeat] = max(worst.get(end.repeat, one), one, key=_badness)
    return _fold(list(worst.values())) if worst else Observed(Outcome.MISSING)


def _badness(seen: tuple[Outcome, str]) -> int:
    return _BADNESS.index(seen[0])


def _fold(seen: list[tuple[Outcome, str]]) -> Observed:
    if len(seen) == 1:
        return Observed.once(*seen[0])
    outcome, output = max(seen, key=_badness)
    return Observed(outcome, output, tuple(pair[0] for pair in seen))
