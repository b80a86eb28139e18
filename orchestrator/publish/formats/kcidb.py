"""A KCIDB submission (schema 5.3): both kernels as checkouts, their builds, and what each test gave on each of them.

KCIDB takes facts and judges by itself: here a test that fails on base is FAIL there. kdelta's class stands in `misc`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median
from typing import Any

from orchestrator.model import (
    BuildRecord,
    Change,
    ChangeKind,
    GuestOutcome,
    GuestRecord,
    MetricPair,
    Observed,
    Outcome,
    Run,
    Samples,
    Side,
)
from orchestrator.publish import clean, excerpt

ORIGIN = "kdelta"
_MAJOR, _MINOR = 5, 3
_EXCERPT = 16384
_NO_STEP = re.compile(r"[^a-zA-Z0-9_-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STATUS = {
    Outcome.PASS: "PASS",
    Outcome.XFAIL: "PASS",
    Outcome.FAIL: "FAIL",
    Outcome.CRASH: "FAIL",
    Outcome.TIMEOUT: "FAIL",
    Outcome.SKIP: "SKIP",
    Outcome.LOST: "MISS",
    Outcome.MISSING: "MISS",
}

Object = dict[str, Any]


def write(run: Run, origin: str = ORIGIN) -> str:
    """The submission; `origin` is the name under which KCIDB knows the system that sends it."""
    top = f"{origin}:{clean.line(run.id)}-{_began(run)}"
    tests = [*_boots(run), *_tests(run), *_metrics(run)]
    groups = {
        "checkouts": [_checkout(run, side, top) for side in Side],
        "builds": [_build(run, build, top) for build in run.builds],
        "tests": list(_named(tests, run, top)),
    }
    records = {name: [{**record, "origin": origin} for record in group] for name, group in groups.items()}
    return json.dumps({"version": {"major": _MAJOR, "minor": _MINOR}, **records}, indent=1) + "\n"


def _began(run: Run) -> str:
    """When, in a word: --out gives many runs one name, and no two of an origin may have one."""
    return f"{datetime.fromisoformat(run.started).astimezone(UTC):%Y%m%d%H%M%S}"


def _checkout(run: Run, side: Side, top: str) -> Object:
    patched, commit = side is Side.PATCHED, run.kernel.base_commit
    said = run.verdict if patched else None
    # else it is of kdelta's own store, and nobody else has it
    public = run.kernel.source.startswith("git:") and not run.kernel.reverted and _COMMIT.fullmatch(commit)
    return {
        "id": f"{top}-{side}",
        "tree_name": clean.line(run.kernel.source),
        "comment": clean.line(run.series.title if patched else f"Linux {run.kernel.release}"),
        "start_time": run.started,
        "valid": True,
        **({"git_commit_hash": commit} if public else {}),
        **({} if patched else {"patchset_hash": ""}),
        "misc": {"side": side, "verdict": said and said.value, "strength": said and clean.line(said.strength)},
    }


def _build(run: Run, build: BuildRecord, top: str) -> Object:
    return {
        "id": _build_id(top, build.side, build.arch, build.flavour),
        "checkout_id": f"{top}-{build.side}",
        "architecture": _architecture(build.arch),
        "config_name": build.flavour,
        "compiler": clean.line(run.host.compilers.get(build.arch, "")),
        "duration": build.seconds,
        "status": "FAIL" if build.error else "PASS",
        **({"log_excerpt": _excerpt(build.error)} if build.error else {}),
        "misc": {"noop": build.noop, "cached": build.cached},
    }


def _build_id(top: str, side: Side, arch: str, flavour: str) -> str:
    return f"{top}-{side}-{arch}-{flavour}"


def _architecture(arch: str) -> str:
    return {"arm64": "aarch64"}.get(arch, arch)  # as `uname -m` says


Row = tuple[Side, str, str, Object]  # side, arch, flavour, and all of a test but its names


def _boots(run: Run) -> Iterator[Row]:
    for guest in run.guests:
        excerpts = {"log_excerpt": _excerpt(guest.detail)} if guest.detail else {}
        misc = {"outcome": guest.outcome, "accelerator": guest.accel}
        boot: Object = {"path": "boot", "status": _boot_status(guest), **excerpts, "misc": misc}
        yield guest.side, guest.arch, guest.flavour, boot


def _boot_status(guest: GuestRecord) -> str:
    if guest.outcome is GuestOutcome.OK or guest.went_on:
        return "PASS"
    return "FAIL" if guest.outcome.bad else "MISS"


def _tests(run: Run) -> Iterator[Row]:
    lacks = {ChangeKind.ADDED: Side.BASE, ChangeKind.REMOVED: Side.PATCHED}  # no such test there: nothing was missed
    for change in run.tests:
        for side, seen in ((Side.BASE, change.base), (Side.PATCHED, change.patched)):
            if lacks.get(change.change) is side:
                continue
            yield side, change.arch, change.flavour, _test(change, seen)


def _test(change: Change, seen: Observed) -> Object:
    said = {"log_excerpt": _excerpt(seen.output)} if seen.output.strip() and not seen.outcome.good else {}
    misc: Object = {"name": clean.line(change.name), "outcome": seen.outcome, "change": change.change}
    if seen.repeats:
        misc["repeats"] = list(seen.repeats)
    return {"path": _path(change.suite, change.name), "status": _STATUS[seen.outcome], **said, "misc": misc}


def _metrics(run: Run) -> Iterator[Row]:
    for pair in run.metrics:
        for side, seen in ((Side.BASE, pair.base), (Side.PATCHED, pair.patched)):
            if seen.samples:
                yield side, pair.arch, pair.flavour, _metric(pair, seen)


def _metric(pair: MetricPair, seen: Samples) -> Object:
    number = {"value": median(seen.samples), "unit": clean.line(pair.unit) or "1"}
    misc = {"name": clean.line(pair.name), "samples": list(seen.samples)}
    return {"path": _path(pair.suite, pair.name), "status": "DONE", "number": number, "misc": misc}


def _named(rows: list[Row], run: Run, top: str) -> Iterator[Object]:
    """Give each test its id, which no other has, and the build it ran on."""
    built, nth = {(build.side, build.arch, build.flavour) for build in run.builds}, Counter[str]()
    for side, arch, flavour, test in rows:
        if (side, arch, flavour) not in built:
            continue  # it refers to nothing
        build = _build_id(top, side, arch, flavour)
        name = f"{build}-{test['path']}"
        nth[name] += 1
        yield {"id": name if nth[name] == 1 else f"{name}-{nth[name]}", "build_id": build, **test}


def _path(suite: str, name: str) -> str:
    """`mm/mlock.on fault` as `mm.mlock.on_fault`."""
    steps = (_NO_STEP.sub("_", step) for step in re.split(r"[./]", f"{suite}/{name}"))
    return ".".join(step for step in steps if step)


def _excerpt(text: str) -> str:
    return excerpt.output(text).text[-_EXCERPT:]
