"""SARIF 2.1.0 of what compilers and checkers say of the patched tree: a run of each tool, base as the baseline.

What is gone is left out: viewers that know no baseline would show it as open.
"""

import hashlib
import json
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from orchestrator.model import FindingChange, FindingRecord, Lane, Run
from orchestrator.publish import clean, digest

_STATES = {FindingChange.NEW: "new", FindingChange.MOVED: "updated", FindingChange.SAME: "unchanged"}
_ONCE = {Lane("", "")}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

Object = dict[str, Any]


def write(run: Run) -> str:
    """Everything that is there on patched; the same of several lanes once.

    A tool's run without results closes what an earlier one of it opened, so only one that looked everywhere has it.
    """
    there = [found for found in digest.findings(run) if found.change in _STATES]
    tools = {some[0].tool: _tool(some, run) for some in digest.merged(there, lambda found: found.tool)}
    runs = {name: _run(name, [], [], run) for name in _looked(run)} | tools
    nobody = _run("kdelta", [], [], run)  # GitHub takes no log without a run; this one closes nothing
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": list(runs.values()) or [nobody]}
    return json.dumps(log, indent=1) + "\n"


def _looked(run: Run) -> list[str]:
    """The tools that looked at all of both sides, in every lane that was to be built."""
    lanes = {digest.lane_of(build) for build in run.builds}
    told = digest.merged(run.tools if run.verdict else (), lambda one: one.tool)
    whole = [some for some in told if all(one.whole for one in some)]
    return [some[0].tool for some in whole if {Lane(one.arch, one.flavour) for one in some} in (_ONCE, lanes)]


def _tool(some: list[FindingRecord], run: Run) -> Object:
    kinds = list(dict.fromkeys(clean.line(found.kind) or "(none)" for found in some))
    alike = digest.merged(some, lambda found: (found.kind, found.file, found.line, found.message, found.change))
    return _run(clean.line(some[0].tool), kinds, [_result(group, kinds) for group in alike], run)


def _run(tool: str, kinds: list[str], results: list[Object], run: Run) -> Object:
    return {
        "tool": {
            "driver": {"name": tool, "rules": [{"id": kind} for kind in kinds]},
            "extensions": [{"name": "kdelta", "version": version("kdelta")}],
        },
        "automationDetails": {"id": f"kdelta/{tool}/{clean.line(run.id)}"},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }


def _result(group: list[FindingRecord], kinds: list[str]) -> Object:
    found = group[0]
    rule = clean.line(found.kind) or "(none)"
    return {
        "ruleId": rule,
        "ruleIndex": kinds.index(rule),
        "level": "warning" if found.change is FindingChange.NEW else "note",
        "baselineState": _STATES[found.change],
        "message": {"text": clean.printable(found.message) or rule},
        "partialFingerprints": {"kdelta/v1": _fingerprint(found)},
        "properties": {"lanes": [f"{one.arch}-{one.flavour}" for one in group if one.arch]},
        **({"locations": [_location(found)]} if found.file else {}),
    }


def _location(found: FindingRecord) -> Object:
    place: Object = {"artifactLocation": {"uri": _uri(found.file), "uriBaseId": "%SRCROOT%"}}
    if found.line > 0:
        place["region"] = {"startLine": found.line}
    named = {"logicalLocations": [{"name": clean.line(found.function), "kind": "function"}]} if found.function else {}
    return {"physicalLocation": place, **named}


def _uri(path: str) -> str:
    """A path in the tree as a relative reference; a colon in its first part would make that a scheme."""
    return quote(path.lstrip("/"), safe="/", errors="surrogateescape")


def _fingerprint(found: FindingRecord) -> str:
    """What stays when the line moves."""
    identity = "\0".join((found.tool, found.kind, found.file, found.function, found.message))
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
