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
_NO_STATUS = "-1"  # kirk's word for a test that it had to kill, or whose machine went away


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read the report; of one that ends in the middle, the tests before that."""
    results = Results(suite, repeat)
    found = _LIST.search(text)
    if not found:
        return Parsed(faults=("it gave no report of kirk: there is no list of results",), output=lines.kept(text))
    at, broken = found.end(), False
    while not _END.match(text, at):
        record, after = _record(text, at)
        if record is None:
            broken = True
            if name := _NAME.match(text, at):
                results.add(names.stable(name[1]), Outcome.MISSING)
            break
        _add(results, record)
        comma = _BETWEEN.match(text, after)
        at = comma.end() if comma else after
        if not comma and not _END.match(text, at):
            broken = True
            break
    empty = not broken and not results.all()
    return Parsed(
        results=results.all(),
        faults=("its report ends in the middle",) if broken else (),
        skipped="its report has no test" if empty else None,
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
    results.add(name, _outcome(_text(record.get("status")), _text(test.get("retval")), log), lines.kept(log))


def _text(value: Any) -> str:
    """Return a JSON value as text: of a list its last, as kirk gives exit statuses; half a surrogate pair is none."""
    if isinstance(value, list) and value:
        value = value[-1]
    return str(value).encode("utf-8", "replace").decode("utf-8") if isinstance(value, str | int) else ""


def _outcome(said: str, exit_status: str, log: str) -> Outcome:
    """Judge by kirk's word, and where that is bad, tell how the test came to it."""
    if said in _OUTCOMES:
        return _OUTCOMES[said]
    if ltp.outcome_of(f"{log}\n") is Outcome.TIMEOUT:
        return Outcome.TIMEOUT
    killed = re.fullmatch("[0-9]{1,3}", exit_status) and status.name_of_signal(int(exit_status))
    return Outcome.CRASH if killed or exit_status == _NO_STATUS else Outcome.FAIL
