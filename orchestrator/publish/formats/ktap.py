"""KTAP, as the kernel's own tests speak: lanes, in them suites, in them tests; words of guests cannot forge a line."""

from collections.abc import Iterator

from orchestrator.model import Outcome, Run
from orchestrator.publish import clean, digest, excerpt
from orchestrator.publish.formats import cases
from orchestrator.publish.formats.cases import Case, Standing

_NOT_OK = (Standing.AGAINST, Standing.UNSURE)
_SAID = (*_NOT_OK, Standing.GOOD)  # a test that is good has no words, the verdict has
_MOST = 20  # lines of output below one test


def write(run: Run) -> str:
    """The whole run as one KTAP document."""
    lanes = digest.merged(cases.of(run), lambda case: case.lane)
    return "\n".join(_block([(some[0].lane or "all", _lane(some), _bad(some)) for some in lanes], "")) + "\n"


def _lane(some: list[Case]) -> Iterator[str]:
    suites = digest.merged(some, lambda case: case.group)
    return _block([(tests[0].group, _suite(tests), _bad(tests)) for tests in suites], "  ", some[0].lane or "all")


def _bad(some: list[Case]) -> bool:
    return any(case.standing in _NOT_OK for case in some)


def _block(held: list[tuple[str, Iterator[str], bool]], margin: str, title: str = "") -> Iterator[str]:
    """Yield tests that hold tests, each after what it holds."""
    yield f"{margin}KTAP version 1"
    if title:
        yield f"{margin}# Subtest: {_name(title)}"
    yield f"{margin}1..{len(held)}"
    for number, (name, lines, bad) in enumerate(held, 1):
        yield from lines
        yield f"{margin}{'not ok' if bad else 'ok'} {number} {_name(name)}"


def _suite(tests: list[Case]) -> Iterator[str]:
    yield "    KTAP version 1"
    yield f"    # Subtest: {_name(tests[0].group)}"
    yield f"    1..{len(tests)}"
    for number, case in enumerate(tests, 1):
        if case.standing is not Standing.GOOD:
            yield f"    # kdelta: {clean.line(case.why)}"
        if case.standing in _SAID and case.output:
            said = excerpt.output(case.output).text.splitlines()
            yield from (f"    # | {clean.line(text)}" for text in said[-_MOST:])
        ok = "not ok" if case.standing in _NOT_OK else "ok"
        yield f"    {ok} {number} {_name(case.name)}{_directive(case)}"


def _directive(case: Case) -> str:
    """How it failed, or why it is no success; without one a test passed, or failed by itself."""
    match case.standing, case.outcome:
        case Standing.UNTESTED, _:
            return " # SKIP"
        case Standing.ASIDE, _:
            return " # XFAIL not by the series"
        case Standing.UNSURE, _:
            return " # ERROR nobody can say"
        case Standing.AGAINST, Outcome.TIMEOUT:
            return " # TIMEOUT"
    return ""


def _name(name: str) -> str:
    """On one line, its # no directive."""
    return clean.line(name).strip().replace("#", "\\#") or "(no name)"
