"""What differs before anything boots: what the compilers say, and what the binary holds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from kvm import disk
from kvm.arch import get as get_arch
from orchestrator.build import dissect, kbuild_options, kconfig, kconfig_ask
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.anatomy.facts import Anatomy
from orchestrator.build.findings import warnings
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.make import ENV
from orchestrator.build.sandbox import DENIED, Sandbox
from orchestrator.job import Job
from orchestrator.judge import binary, findings
from orchestrator.model import Lane, Side, ToolRecord, Uncompiled, cells
from orchestrator.sides import Built


def look(job: Job, lane: Lane, built: Built) -> None:
    """Compare the two kernels of a lane: warnings by identity, and the binary."""
    if len(built) < len(Side):
        return
    base, patched = (built[cell] for cell in cells(lane))
    with job.engine.task(f"compare {lane}"):
        job.recorder.add("uncompiled", *_uncompiled(job, lane, patched))
        said = findings.compare(base.findings, patched.findings, job.plan.lines, arch=lane.arch, flavour=lane.flavour)
        job.recorder.add("findings", *findings.unlike(said))
        job.recorder.add("tools", *(ToolRecord(tool, *lane) for tool in warnings.TOOLS))
        places = tuple(
            Place(build.directory, job.plan.sources(side), job.plan.cache_dir / "ccache", job.plan.quota)
            for side, build in ((Side.BASE, base), (Side.PATCHED, patched))
        )
        both = dissect.dissect((places[0], places[1]), lane.arch, job.plan.applied.series.files, _differ)
        job.recorder.note(*(f"patched/{lane}: {note}" for note in both[1].uapi.notes if note.startswith(DENIED)))
        found = binary.diff(*both, arch=lane.arch, flavour=lane.flavour)
        if found.interface or base.identity != patched.identity:
            job.recorder.add("binaries", found)


def _uncompiled(job: Job, lane: Lane, patched: KernelBuild) -> Iterator[Uncompiled]:
    """The touched sources that are in the patched tree, of this architecture, and of which no object came."""
    sources, config = job.plan.sources(Side.PATCHED), kconfig.parse(patched.config.read_text(encoding="utf-8"))
    others = tuple(f"arch/{path.name}/" for path in (sources / "arch").glob("*") if path.name != _arch(lane))
    if not any(unit.endswith(".o") for unit in patched.findings):
        return  # this tree's make does not say what it compiles
    for file in job.plan.applied.series.files:
        kernel = file.endswith((".c", ".S")) and not file.startswith((*others, "tools/", "scripts/", "samples/"))
        if kernel and (sources / file).is_file() and f"{file.rpartition('.')[0]}.o" not in patched.findings:
            options = kbuild_options.options_for(file, lambda path: _text(sources / path)) or ()
            off = tuple(name for name in options if config.get(name) not in ("y", "m"))
            yield Uncompiled(*lane, file, off, _needs(job, patched, off))


def _needs(job: Job, patched: KernelBuild, options: tuple[str, ...]) -> str:
    """Say what the options depend on, as Kconfig sees it under this kernel's .config."""
    order = job.plan.orders[patched.cell]
    if not options or not order.sandboxed:
        return ""
    with disk.scratch("kdelta-ask-") as scratch:
        shutil.copyfile(patched.config, scratch / ".config")
        box = Sandbox(job.plan.sources(Side.PATCHED), scratch, job.plan.cache_dir / "ccache", order.quota, ENV)
        reasons = kconfig_ask.why(box, order, options)
    return "; ".join(f"CONFIG_{name} {reason}" for name, reason in reasons.items() if reason)


def _arch(lane: Lane) -> str:
    return get_arch(lane.arch).srcarch


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _differ(base: Anatomy, patched: Anatomy) -> list[str]:
    return [change.name for change in binary.objects_that_differ(base, patched)]
