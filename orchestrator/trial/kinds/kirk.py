"""The JSON report of kirk, LTP's runner, in; test results out. https://github.com/linux-test-project/kirk"""

import json
import re
from typing import Any

from orchestrator.model import Outcome
from orchestrator.trial.kinds import lines, ltp, names, status
from orchestrator.trial.kinds.parsed import Parsed, Results

_LIST = re.compile(r'"results"\s*+:\s*+\[\s*+')
_BETWEEN = re.compile(r"\s*+,\s*+")
_END = re.compile(r"\s*+\]")
_NAME = re.compile(r'\{\s*+"test_fqn"\s*+:\s*+"([\w.@+-]{1,300})"')
_OUTCOMES = {"pass": Outcome.PASS, "conf": Outcome.SKIP}
_GIVEN_UP = "-1"  # kirk's word for a test that did not end in time, or whose machine went away
_KILLED = re.compile("-([0-9]{1,2})")  # by this signal, as Python says it; a shell adds 128


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read the report; of one that ends in the middle, the tests before that."""
    results = Results(suite, repeat)
    found = _LIST.search(text)
    if not found:
        return Parsed(faults=("it gave no report of kirk: there is no list of results",), output=lines.kept(text))
    at, cut = found.end(), ""
    while not _END.match(text, at):
        record, after = _record(text, at)
        if record is None:
            cut = "its report ends in the middle"
            break
        _add(results, record)
        comma = _BETWEEN.match(text, after)
        at = comma.end() if comma else after
        if not comma and not _END.match(text, at):
            cut = "its report ends in the middle"
            break
    unrun = sum(result.outcome is Outcome.MISSING for result in results.all())
    late = f"kirk's --suite-timeout came before {unrun} of its tests" if unrun else ""
    if cut and (name := _NAME.match(text, at)):
        results.add(names.stable(name[1]), Outcome.MISSING)
    return Parsed(
        results=results.all(),
        faults=tuple(fault for fault in (late, cut) if fault),
        skipped=None if cut or results.all() else "its report has no test",
    )


def _record(text: str, at: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at


def _add(results: Results, record: Any) -> None:
    """Add one test; a record of another shape has no status, and so has not passed."""
    record = record if isinstance(record, dict) else {}
    test = record["test"] if isinstance(record.get("test"), dict) else {}
    log = _text(test.get("log"))
    name = names.stable(_text(record.get("test_fqn"))) or "(no name)"
    said = _text(record.get("status"))
    # that is how kirk writes down those that it had no more time for: as skipped, after nothing
    unrun = said == "conf" and not log and test.get("duration") == 0
    outcome = Outcome.MISSING if unrun else _outcome(said, _text(test.get("retval")), log)
    results.add(name, outcome, lines.kept(log))


def _text(value: Any) -> str:
    """Return a JSON value as text: of a list its last, as kirk gives exit statuses; half a surrogate pair is none."""
    if isinstance(value, list) and value:
        value = value[-1]
    return str(value).encode("utf-8", "replace").decode("utf-8") if isinstance(value, str | int) else ""


def _outcome(said: str, exit_status: str, log: str) -> Outcome:
    """Judge by kirk's word, and where that is bad, tell how the test came to it."""
    if said in _OUTCOMES:
        return _OUTCOMES[said]
    if exit_status == _GIVEN_UP or ltp.outcome_of(f"{log}\n") is Outcome.TIMEOUT:
        return Outcome.TIMEOUT
    killed = _KILLED.fullmatch(exit_status)
    by_a_shell = re.fullmatch("[0-9]{1,3}", exit_status) and status.name_of_signal(int(exit_status))
    return Outcome.CRASH if killed or by_a_shell else Outcome.FAIL
