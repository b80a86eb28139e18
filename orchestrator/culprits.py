"""Which patch did it: what regressed, looked for in the trees between base and patched."""

import re
import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kvm import accel, disk
from kvm.arch import get as get_arch
from kvm.errors import BuildError
from orchestrator import pipeline, store
from orchestrator.build import kbuild
from orchestrator.build.kbuild import KernelBuild
from orchestrator.intake import git, past
from orchestrator.intake.bisection import Answer, Bisection
from orchestrator.job import Job
from orchestrator.judge import culprit
from orchestrator.judge.culprit import Kind, Symptom
from orchestrator.model import Cell, Culprit, GuestRun, Run, Side, Suspect
from orchestrator.trial import durations, runner

_ODD = re.compile(r"[^\w.-]+", re.ASCII)
FEW = 3  # so often a suite is run at first: what always shows has shown then


def look(job: Job) -> Run:
    """Find the culprit of each thing that regressed, and put it on record. No tree is built or tested a second time."""
    every = culprit.symptoms(job.run)
    hunts = [_Hunt(job, same, _suites(every, same[0])) for same in _alike(every)]
    groups: dict[tuple[str, ...], list[_Hunt]] = {}  # one commit may have brought many things
    for hunt in hunts:
        groups.setdefault(hunt.first_bad(), []).append(hunt)
    return job.recorder.update(culprits=tuple(_culprit(job, *group) for group in groups.items()))


def _alike(symptoms: Iterable[Symptom]) -> list[list[Symptom]]:
    """What shows in several lanes is looked for in the first of them."""
    groups: dict[tuple[object, ...], list[Symptom]] = {}
    for symptom in symptoms:
        groups.setdefault((symptom.kind, symptom.key), []).append(symptom)
    return list(groups.values())


def _suites(symptoms: Iterable[Symptom], wanted: Symptom) -> frozenset[str]:
    """What is run to see all that is looked for in a lane; nothing where any suite may show it."""
    here = {symptom.suite for symptom in symptoms if symptom.lane == wanted.lane}
    return frozenset() if "" in here else frozenset(here)


def _culprit(job: Job, commits: tuple[str, ...], hunts: list["_Hunt"]) -> Culprit:
    found, suspects = [symptom for hunt in hunts for symptom in hunt.same], _suspects(job, commits)
    return Culprit(
        symptoms=tuple(dict.fromkeys(symptom.words for symptom in found)),
        lanes=tuple(dict.fromkeys(str(symptom.lane) for symptom in found)),
        suspects=suspects,
        confidence=min(hunt.confidence for hunt in hunts),
        builds=len({log for hunt in hunts for log in hunt.builds}),
        boots=len({where for hunt in hunts for where in hunt.boots}),
        command=_command(job, hunts[0].symptom, suspects),
        log=str(hunts[0].log.relative_to(job.directory)),
    )


def _suspects(job: Job, commits: tuple[str, ...]) -> tuple[Suspect, ...]:
    numbers = {commit: number for number, commit in enumerate(job.plan.applied.commits, 1)}
    subjects = past.names(commits, git.Repository(job.plan.source.git_dir))
    return tuple(Suspect(numbers.get(commit, 0), commit, subjects[commit]) for commit in commits)


def _command(job: Job, symptom: Symptom, suspects: tuple[Suspect, ...]) -> str:
    """What shows it with as little as possible: the suspects alone, one lane, one suite."""
    first, last = suspects[0].commit, suspects[-1].commit
    spec = job.plan.source.spec
    kernel = spec if spec.startswith("git:") else f"git:{job.plan.source.git_dir}"
    words = ["kdelta", "run", f"{first}~1..{last}", "--kernel", kernel]
    words += ["--arch", symptom.lane.arch, "--flavour", symptom.lane.flavour]
    return shlex.join(words + (["--suite", symptom.suite] if symptom.suite else []))


class _Hunt:
    """The search for what brought one thing; of the lanes in which it shows, `same`, the first is looked at."""

    def __init__(self, job: Job, same: list[Symptom], suites: frozenset[str]) -> None:
        self.job, self.same, self.symptom, self.suites = job, same, same[0], suites
        self.confidence = 1.0
        self.builds: set[Path] = set()
        self.boots: set[Path] = set()
        self.where = job.directory / "bisect" / str(self.symptom.lane)
        self.where.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Where git's story of it is kept."""
        name = "-".join((self.symptom.kind, *self.symptom.key[:2]))
        return self.where / f"{_ODD.sub('_', name)[:100]}.log"

    def first_bad(self) -> tuple[str, ...]:
        """The commit that brought it, or those that cannot be told apart."""
        plan = self.job.plan
        with tempfile.TemporaryDirectory(prefix="kdelta-bisect-") as own:
            ends = {"good": plan.source.commit, "bad": plan.applied.commits[-1]}
            search = Bisection(Path(own) / "git", plan.source.git_dir, **ends)
            while commit := search.next:
                search.mark(commit, self._answer(commit))
            disk.write(self.log, search.log)
            return search.first_bad

    def _answer(self, commit: str) -> Answer:
        """Build a tree, and boot it until its answer is as good as sure; the same image gives the same answer."""
        log = self.where / f"{commit[:12]}.log"
        self.builds.add(log)
        try:
            kernel = self._build(commit, log)
        except BuildError:
            return Answer.BAD if self.symptom.kind is Kind.BUILD else Answer.SKIP
        known = {build.image_sha256: build.side for build in self.job.run.builds if build.arch == kernel.cell.arch}
        if self.symptom.kind is Kind.BUILD or known.get(kernel.image_sha256) is Side.BASE:
            return Answer.GOOD
        return Answer.BAD if kernel.image_sha256 in known else self._boot(kernel)

    def _build(self, commit: str, log: Path) -> KernelBuild:
        plan, cell = self.job.plan, Cell(Side.PATCHED, *self.symptom.lane)
        files = git.Repository(plan.source.git_dir).tree(commit)
        order = replace(plan.orders[cell], files=files, defines=frozenset())
        self.job.watch(cell, f"bisect {commit[:12]}: build")
        with self.job.engine.task(f"build {cell} {commit[:12]}"):
            return kbuild.build(order, plan.cache_dir, log)

    def _boot(self, kernel: KernelBuild) -> Answer:
        clean, where = 0, self.where / kernel.image_sha256[:12]
        for number in range(culprit.MOST_RUNS):
            left = culprit.needed(self.symptom) - clean
            if left <= 0:
                break
            runs = left if number else min(left, FEW)
            seen = culprit.show(self.symptom, self._given(kernel, where / str(number), runs))
            if seen is None:
                return Answer.SKIP
            if seen.bad:
                self.symptom = self.symptom.seen(seen)
                return Answer.BAD
            clean += seen.runs
        self.confidence *= 1 - culprit.luck(self.symptom, clean)
        return Answer.GOOD

    def _given(self, kernel: KernelBuild, where: Path, runs: int) -> GuestRun:
        """What the guests of one boot gave, be it for another symptom, or before this search was cut off."""
        self.boots.add(where)
        if kept := store.load_guest(where):
            return kept
        where.mkdir(parents=True, exist_ok=True)
        plan, arch = self.job.plan, get_arch(kernel.cell.arch)
        wanted = tuple(suite for suite in plan.suites if not self.suites or suite.name in self.suites)
        choice = accel.choose(arch, lambda: kernel.image, plan.cache_dir)
        trial = pipeline.trial(replace(plan, suites=wanted), kernel, choice, {}, where)
        yard = runner.Yard(self.job.engine.places, durations.of(plan.cache_dir, arch.name))
        return pipeline.tried(self.job, replace(trial, repeats=runs, keep_guest=False), yard)
