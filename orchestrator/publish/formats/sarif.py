"""SARIF 2.1.0 of what compilers and checkers say of the patched tree: a run of each tool, base as the baseline.

What is gone is left out: viewers that know no baseline would show it as open.
"""

import hashlib
import json
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from orchestrator.model import FindingChange, FindingRecord, Run
from orchestrator.publish import clean, digest

_STATES = {FindingChange.NEW: "new", FindingChange.MOVED: "updated", FindingChange.SAME: "unchanged"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

Object = dict[str, Any]


def write(run: Run) -> str:
    """Everything that is there on patched; the same of several lanes once."""
    there = [found for found in digest.findings(run) if found.change in _STATES]
    tools = digest.merged(there, lambda found: found.tool)
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [_tool(some, run) for some in tools] or [_nothing(run)]}
    return json.dumps(log, indent=1) + "\n"


def _nothing(run: Run) -> Object:
    """A run without results closes what an earlier one opened."""
    return _run("kdelta", [], [], run)


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
