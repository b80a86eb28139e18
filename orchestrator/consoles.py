"""What the guests of a lane left on their consoles: the kernel's reports, and where in the sources they happened."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator import store
from orchestrator.build import toolchain
from orchestrator.build.anatomy import trace
from orchestrator.build.anatomy.errand import Place
from orchestrator.job import Job
from orchestrator.judge import frames, lines, splat
from orchestrator.judge.splat import Found
from orchestrator.model import Call, Cell, ConsoleLine, GuestRecord, Lane, Side, Splat, SplatRules
from orchestrator.sides import Built
from orchestrator.trial.paired import AGAIN, BOOTS

_BLOCK = 1 << 20  # characters that are read at once


def read(console: Path, rules: SplatRules) -> Found:
    """Find the reports on a console."""
    return splat.find(_blocks(console), rules)


def new_lines(job: Job, lane: Lane, base: GuestRecord, patched: GuestRecord) -> list[ConsoleLine]:
    """Compare what the kernels of one lane said in all their boots."""
    before, after = (_boots(store.cell_directory(job.directory, Cell(side, *lane))) for side in Side)
    return lines.compare(lane, before, after, [*base.splats, *patched.splats])


def _boots(directory: Path) -> list[lines.Heard]:
    """The first boot's console holds all its guests' words; of a later one each has its own."""
    first, later = directory / "console.log", [*directory.glob(f"{AGAIN}/*"), *directory.glob(f"{BOOTS}/*")]
    consoles = [[first] if first.exists() else [], *(sorted(where.rglob(first.name)) for where in sorted(later))]
    return [lines.heard(itertools.chain.from_iterable(map(_blocks, some))) for some in consoles if some]


def locate(job: Job, built: Built) -> None:
    """Put file and line to the frames of what the guests reported; costs nothing when they reported nothing."""
    for cell in built:
        directory = store.cell_directory(job.directory, cell)
        seen = store.load_guest(directory)
        if seen and seen.guest.splats:
            job.watch(cell, "looks up call traces")
            with job.engine.task(f"call traces {cell}"):
                splats = _located(job, cell, built, seen.guest.splats)
            seen = replace(seen, guest=replace(seen.guest, splats=splats))
            store.save_guest(seen, directory)
            job.recorder.add("guests", seen.guest)
            job.watch(cell, f"done: {seen.guest.outcome}")


def _located(job: Job, cell: Cell, built: Built, splats: Iterable[Splat]) -> tuple[Splat, ...]:
    """Every report with the places of its frames; all traces of a kernel are looked up at once."""
    skip, plan = job.plan.splat_rules.skip, job.plan
    told = [(report, frames.named(frames.of_text(report.text, skip), skip)) for report in splats]
    calls = list(dict.fromkeys(call for report, named in told if report.frames for call in named))
    place = Place(built[cell].directory, plan.sources(cell.side), plan.cache_dir / "ccache", plan.quota)
    program = f"{toolchain.find(cell.arch, plan.request.pipeline.toolchain).prefix}addr2line"
    found = dict(zip(calls, trace.symbolise(calls, place, program), strict=True))
    return tuple(replace(report, frames=_frames(report, named, found)) for report, named in told)


def _frames(report: Splat, calls: Iterable[Call], found: Mapping[Call, tuple[str, ...]]) -> tuple[str, ...]:
    """The report's functions, each with its place where it is known, and what was inlined into it before it."""
    if not report.frames:
        return ()
    known = tuple(frame for call in calls for frame in found.get(call) or (frames.line(call),))
    return known or report.frames


def _blocks(console: Path) -> Iterator[str]:
    with console.open(encoding="utf-8", errors="replace", newline="\n") as log:
        while block := log.read(_BLOCK):
            yield block
