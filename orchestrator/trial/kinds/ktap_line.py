"""One line of KTAP: its forms, and what a result line says of its test."""

import re

from orchestrator.model import Outcome
from orchestrator.trial.kinds import names, status
from orchestrator.trial.kinds.lines import Words

PREFIX = re.compile(r"(?:# |[ \t])*")  # what nests: spaces, or "# " as kselftest's runner writes
RESULT = re.compile(r"(not )?ok(?:\s+([0-9]{1,18})(?=\s|$))?(?:\s+|$)(.*)")
PLAN = re.compile(r"1\.\.([0-9]{1,18})\s*+(?:(#)\s*+(?:SKIP\S*)?:?\s*+(.*))?$", re.IGNORECASE)
VERSION = re.compile(r"K?TAP version [0-9]+\s*$", re.IGNORECASE)
SUBTEST = re.compile(r"Subtest: *(\S.*)$")
BAIL = re.compile(r"Bail out!\s*(.*)$", re.IGNORECASE)
# Who says which test runs: guest_tests/include/ktap.h, kselftest_harness.h, kselftest's runner.
RUNNING = re.compile(r"run (\S+)$|RUN\s+(\S.*?) \.\.\.$|(selftests: \S+: \S+)$")
BEGINS = re.compile(r"(?:# |[ \t])*(?:not ok|ok|1\.\.)")

_DIRECTIVE = re.compile(r"(?:^|\s)#\s*+(SKIP(?:PED)?|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b:?\s*+(.*)", re.IGNORECASE)
_NOTE = re.compile(r"(?:^|\s)#(?=\s|$)")
_EXIT = re.compile(r"exit=([0-9]{1,3})\b")
_HOW = re.compile(
    r"(\S+): (?:(Test terminated by timeout|test case timed out|try timed out)"
    r"|Test terminated unexpectedly by signal|SIG[A-Z0-9]+ \()"
)


def read(description: str) -> tuple[str, str, str]:
    """Split what follows the number into the test's name, the directive in capitals, and what is said beside it."""
    if "#" not in description:
        return names.stable(description), "", ""
    directive, note = _DIRECTIVE.search(description), _NOTE.search(description)
    end = min([found.start() for found in (directive, note) if found], default=len(description))
    name = names.stable(description[:end].replace("\\#", "#"))
    if directive:
        return name, directive[1].upper().removesuffix("PED"), directive[2].strip()
    return name, "", description[end:].strip(" #\t")


def outcome(failed: bool, directive: str, note: str) -> Outcome:
    """Say how a test ended by its result line alone."""
    match directive:
        case "SKIP" | "XFAIL" | "TIMEOUT":
            return Outcome(directive.lower())
        case "TODO":  # one that passes nevertheless has passed
            return Outcome.XFAIL if failed else Outcome.PASS
        case "ERROR":
            return Outcome.FAIL
    if not failed:
        return Outcome.PASS
    said = _EXIT.match(note)
    return Outcome.CRASH if said and status.name_of_signal(int(said[1])) else Outcome.FAIL


def how_it_failed(name: str, words: Words) -> Outcome:
    """Tell from a failed test's own words whether it was killed, or ran out of time."""
    for line in words:
        found = _HOW.match(line)
        if found and (name == found[1] or name.endswith(f".{found[1]}")):
            return Outcome.TIMEOUT if found[2] else Outcome.CRASH
    return Outcome.FAIL
