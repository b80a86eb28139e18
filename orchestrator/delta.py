"""What differs before anything boots: what the compilers and checkers say, and what the binary holds."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from kvm.arch import get as get_arch
from orchestrator.build import dissect, kbuild_options, kconfig
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.anatomy.facts import Anatomy
from orchestrator.build.findings import checkers
from orchestrator.build.findings.checkers import Checked, Checker, Scene
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.sandbox import Sandbox
from orchestrator.intake import git, tree
from orchestrator.job import Job
from orchestrator.judge import binary, findings, hunks
from orchestrator.judge.hunks import LineMap
from orchestrator.model import FindingChange, FindingRecord, Lane, Side, Uncompiled, cells
from orchestrator.sides import Built


def look(job: Job, lane: Lane, built: Built) -> None:
    """Compare the two kernels of a lane: warnings by identity, and the binary."""
    if len(built) < len(Side):
        return
    base, patched = (built[cell] for cell in cells(lane))
    with job.engine.task(f"compare {lane}"):
        job.recorder.add("uncompiled", *_uncompiled(job, lane, patched))
        _keep(job, findings.compare(base.findings, patched.findings, _lines(job), arch=lane.arch, flavour=lane.flavour))
        if base.image_sha256 != patched.image_sha256:
            places = tuple(
                Place(build.directory, _sources(job, side), job.plan.cache_dir / "ccache")
                for side, build in ((Side.BASE, base), (Side.PATCHED, patched))
            )
            both = dissect.dissect((places[0], places[1]), lane.arch, job.plan.applied.series.files, _differ)
            job.recorder.add("binaries", binary.diff(*both, arch=lane.arch, flavour=lane.flavour))


def _uncompiled(job: Job, lane: Lane, patched: KernelBuild) -> Iterator[Uncompiled]:
    """The touched sources that are in the patched tree, of this architecture, and of which no object came."""
    sources, config = _sources(job, Side.PATCHED), kconfig.parse(patched.config.read_text(encoding="utf-8"))
    others = tuple(f"arch/{path.name}/" for path in (sources / "arch").glob("*") if path.name != _arch(lane))
    if not any(unit.endswith(".o") for unit in patched.findings):
        return  # this tree's make does not say what it compiles
    for file in job.plan.applied.series.files:
        kernel = file.endswith((".c", ".S")) and not file.startswith((*others, "tools/", "scripts/", "samples/"))
        if kernel and (sources / file).is_file() and f"{file.rpartition('.')[0]}.o" not in patched.findings:
            options = kbuild_options.options_for(file, lambda path: _text(sources / path)) or ()
            yield Uncompiled(*lane, file, tuple(name for name in options if config.get(name) not in ("y", "m")))


def _arch(lane: Lane) -> str:
    return get_arch(lane.arch).srcarch


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def check(job: Job) -> None:
    """Run the static checkers over both trees, and keep what patched has and base has not."""
    chosen = checkers.named(tuple(job.plan.request.pipeline.checks))
    if job.plan.empty or not chosen:
        return
    with job.engine.task("check"):
        said = {side: {row.name: _checked(job, side, row) for row in chosen if _fits(row, side)} for side in Side}
        base, patched = ({name: found.units for name, found in said[side].items()} for side in Side)
        records, notes = findings.compare_checks(base, patched, _lines(job), arch="", flavour="")
    _keep(job, records)
    every = [note for side in Side for found in said[side].values() for note in found.notes]
    job.recorder.update(notes=tuple(dict.fromkeys((*job.run.notes, *every, *notes))))


def _fits(row: Checker, side: Side) -> bool:
    return side is Side.PATCHED or not row.judges_patches


def _checked(job: Job, side: Side, row: Checker) -> Checked:
    sources = _sources(job, side)
    with tempfile.TemporaryDirectory(prefix="kdelta-check-") as scratch:
        box = Sandbox(sources, Path(scratch), job.plan.cache_dir / "ccache")
        files = tuple(file for file in job.plan.applied.series.files if (sources / file).is_file())
        patches = tuple(sorted((job.directory / "series").glob("*.patch"))) if side is Side.PATCHED else ()
        return checkers.run(row, Scene(box, _sources(job, Side.BASE), (), files, patches=patches))


def _keep(job: Job, records: list[FindingRecord]) -> None:
    job.recorder.add("findings", *(record for record in records if record.change is not FindingChange.SAME))


def _differ(base: Anatomy, patched: Anatomy) -> list[str]:
    return [change.name for change in binary.objects_that_differ(base, patched)]


def _sources(job: Job, side: Side) -> Path:
    plan = job.plan
    return tree.checkout(plan.source, plan.source.tree if side is Side.BASE else plan.applied.tree, plan.cache_dir)


def _lines(job: Job) -> LineMap:
    plan, args = job.plan, ("diff-tree", "-r", "-p", "-M", "-U0")
    diff = git.Repository(plan.source.git_dir).raw(*args, plan.source.tree, plan.applied.tree)
    return hunks.parse(diff.decode("utf-8", "replace"))
