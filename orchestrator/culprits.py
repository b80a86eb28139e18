"""Which patch, or which option, did it: what regressed, looked for in the kernels between a good and a bad one."""

import itertools
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import disk, proc
from kvm.errors import BuildError, Error
from orchestrator import config, request, trials
from orchestrator.build import kbuild, kconfig
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.order import Order
from orchestrator.intake import bisection, git, past
from orchestrator.intake.bisection import Answer, Bisection
from orchestrator.job import Job
from orchestrator.judge import culprit
from orchestrator.judge.culprit import Kind, Seen, Symptom
from orchestrator.model import Cell, Culprit, GuestRun, Lane, Run, Side, Suspect
from orchestrator.plan import Plan
from orchestrator.trial.suites.suite import Suite

_ODD = re.compile(r"[^\w.-]+", re.ASCII)
_UNENDED = "the culprit was not looked for to the end: "  # so begins what a run says of it


def look(job: Job) -> Run:
    """Find the patch that brought each thing that regressed. No tree is built or tested a second time."""
    before = unended(job.run)
    job.recorder.update(notes=tuple(note for note in job.run.notes if note not in before))
    return _look(job, _patches)


def look_after(job: Job) -> Run:
    """Look at the end of a run, whose verdict stands: a fault of the search is a note."""
    try:
        return look(job)
    except (Error, OSError) as fault:
        proc.stop.clear()  # the engine sets it, so that what ran beside it ends
        give_up(job, getattr(fault, "message", str(fault)))
    return job.run


def give_up(job: Job, why: str) -> None:
    """Say in the run that the search has come to no end."""
    job.recorder.note(f"{_UNENDED}{why}")


def unended(run: Run) -> tuple[str, ...]:
    """What a run says of a search that has come to no end."""
    return tuple(note for note in run.notes if note.startswith(_UNENDED))


def look_for_options(job: Job) -> Run:
    """Find the option of the flavour's fragment without which each thing that regressed does not show."""
    return _look(job, _options)


def _look(job: Job, way: Callable[[Job, Lane, Path], "_Way"]) -> Run:
    every = culprit.symptoms(job.run)
    groups: dict[tuple[Suspect, ...], list[_Hunt]] = {}  # one commit may have brought many things
    for same in _alike(every):
        with tempfile.TemporaryDirectory(prefix="kdelta-bisect-") as own:
            hunt = _Hunt(job, same, _suites(every, same[0]), way(job, same[0].lane, Path(own)))
            groups.setdefault(hunt.suspects(Path(own)), []).append(hunt)
    found = [_culprit(job, *group) for group in groups.items() if group[0]]
    others = [one for one in job.run.culprits if bool(one.suspects[0].commit) != (way is _patches)]
    return job.recorder.update(culprits=(*others, *found))


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


def _culprit(job: Job, suspects: tuple[Suspect, ...], hunts: list["_Hunt"]) -> Culprit:
    found = [symptom for hunt in hunts for symptom in hunt.same]
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


@dataclass(frozen=True)
class _Way:
    """What is searched: commits from a good one to a bad one, and what to build at each; `name` is its files'.

    `unproven` says that nobody has seen that the good end is good.
    """

    name: str
    store: Path
    good: str
    bad: str
    order: Callable[[str], Order]
    suspect: Callable[[str], Suspect]
    unproven: bool = False


def _patches(job: Job, lane: Lane, _: Path) -> _Way:
    """The trees between base and patched."""
    plan = job.plan
    whole, repository = plan.orders[Cell(Side.PATCHED, *lane)], git.Repository(plan.source.git_dir)
    numbers = {commit: number for number, commit in enumerate(plan.applied.commits, 1)}
    return _Way(
        str(lane),
        plan.source.git_dir,
        plan.source.commit,
        plan.applied.commits[-1],
        lambda commit: replace(whole, files=repository.tree(commit), defines=frozenset()),
        lambda commit: Suspect(numbers.get(commit, 0), commit, past.names([commit], repository)[commit]),
    )


def _options(job: Job, lane: Lane, own: Path) -> _Way:
    """The patched tree with more and more of the flavour's options; a commit stands for each."""
    whole = job.plan.orders[Cell(Side.PATCHED, *lane)]
    options = kconfig.parse(config.fragments(*lane)[-1].read_text(encoding="utf-8"))
    commits = bisection.draw(own / "options", [kconfig.text({name: value}).strip() for name, value in options.items()])
    rest = {name: value for name, value in kconfig.parse(whole.wish.fragments).items() if name not in options}
    names = list(options)

    def order(commit: str) -> Order:
        some = {name: options[name] for name in names[: commits.index(commit)]}
        may_be = kconfig.text(kconfig.parse(whole.wish.optional) | some)  # one may need another that is still to come
        wish = replace(whole.wish, fragments=kconfig.text(rest), optional=may_be)
        return replace(whole, wish=wish, start=replace(whole.start, wish=wish) if whole.start else None)

    def suspect(commit: str) -> Suspect:
        name = names[commits.index(commit) - 1]
        return Suspect(0, "", kconfig.text({name: options[name]}).strip())

    return _Way(f"{lane}-options", own / "options", commits[0], commits[-1], order, suspect, unproven=True)


def _command(job: Job, symptom: Symptom, suspects: tuple[Suspect, ...]) -> str:
    """What shows it with as little as possible, all else as in the run: the suspects alone, one lane, one suite."""
    asked = job.plan.request.pipeline
    suites = {suite.name: place for suite, place in zip(job.plan.suites, asked.suites, strict=True)}
    words = ["kdelta", "run", *_alone(job.plan, suspects), "--pipeline", str(job.directory / request.FILE)]
    for option, wanted, given in (
        ("--arch", symptom.lane.arch, asked.arches),
        ("--flavour", symptom.lane.flavour, asked.flavours),
        ("--suite", suites.get(symptom.suite), asked.suites),  # by its path: a name is looked for where one stands
    ):
        words += [option, wanted] if wanted and given != [wanted] else []
    return shlex.join(words)


def _alone(todo: Plan, suspects: tuple[Suspect, ...]) -> list[str]:
    """The words that name the suspects and the tree below them; none for options: they are looked for in all patches.

    Two commits that are compared whole are the user's; those of a series kdelta has made.
    """
    first, last = suspects[0].commit, suspects[-1].commit
    if not first or todo.request.pipeline.whole:
        return [f"{first}~1..{last}"] if first else []
    base = last if todo.reverted else f"{first}~1"
    return [f"{first}~1..{last}", "--kernel", f"git:{todo.source.git_dir}", "--base", base]


class _Hunt:
    """The search for what brought one thing; of the lanes in which it shows, `same`, the first is looked at."""

    def __init__(self, job: Job, same: list[Symptom], suites: frozenset[str], way: _Way) -> None:
        self.job, self.same, self.symptom, self.suites, self.way = job, same, same[0], suites, way
        self.confidence = 1.0
        self.builds: set[Path] = set()
        self.boots: set[Path] = set()
        self.where = job.directory / "bisect" / way.name
        self.where.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Where git's story of it is kept."""
        name = "-".join((self.symptom.kind, *self.symptom.key[:2]))
        return self.where / f"{_ODD.sub('_', name)[:100]}.log"

    def suspects(self, own: Path) -> tuple[Suspect, ...]:
        """What brought it, or those that cannot be told apart; nothing where it shows at the good end, too."""
        if self.way.unproven and self._answer(self.way.good) is not Answer.GOOD:
            self.job.recorder.note(f"{self.way.name}: {self.symptom.words} shows without any of them")
            return ()
        search = Bisection(own / "git", self.way.store, good=self.way.good, bad=self.way.bad)
        disk.write(self.log, search.log)
        while commit := search.next:
            search.mark(commit, self._answer(commit))
            disk.write(self.log, search.log)  # of one that is cut off, too
        if search.repaired:
            give_up(self.job, f"{self.symptom.words} is repaired by a commit that base has and patched has not")
        return tuple(map(self.way.suspect, search.first_bad))

    def _answer(self, commit: str) -> Answer:
        """Build a tree, and boot it until its answer is as good as sure; the same image gives the same answer."""
        log = self.where / f"{commit[:12]}.log"
        self.builds.add(log)
        try:
            kernel = self._build(commit, log)
        except BuildError as fault:
            return Answer.BAD if self.symptom.kind is Kind.BUILD and not fault.unfinished else Answer.SKIP
        known = {build.identity: build.side for build in self.job.run.builds if build.arch == kernel.cell.arch}
        if self.symptom.kind is Kind.BUILD or known.get(kernel.identity) is Side.BASE:
            return Answer.GOOD
        if kernel.identity in known:
            return Answer.BAD
        return self._measure(kernel) if self.symptom.kind is Kind.METRIC else self._boot(kernel)

    @property
    def _wanted(self) -> tuple[Suite, ...]:
        """The suites that can show it; all, where nobody knows which."""
        return tuple(suite for suite in self.job.plan.suites if not self.suites or suite.name in self.suites)

    def _build(self, commit: str, log: Path) -> KernelBuild:
        order = self.way.order(commit)
        self.job.watch(order.cell, f"bisect {commit[:12]}: build")
        with self.job.engine.task(f"build {order.cell} {commit[:12]}"):
            return kbuild.build(order, self.job.plan.cache_dir, log)

    def _boot(self, kernel: KernelBuild) -> Answer:
        """Each run has a boot of its own: what a boot decides by itself would else be taken for the tree's."""
        total, where = Seen(0, 0), self.where / trials.label(kernel, self._wanted)
        numbers = map(str, itertools.count())
        while not culprit.enough(self.symptom, total):
            seen = culprit.show(self.symptom, self._given(kernel, where / next(numbers)))
            if seen is None:
                return Answer.SKIP
            total += seen
        probable = culprit.posterior(self.symptom, total)
        self.symptom = self.symptom.seen(total, bad=probable > 0.5)
        return self._told(probable)

    def _measure(self, kernel: KernelBuild) -> Answer:
        """Is it as slow as patched? Measured in turn with base, for the host may be faster now than it was.

        What is still too near to the middle when all is tried, or measures nothing, says nothing.
        """
        where = self.where / f"{trials.label(kernel, self._wanted)}-measured"
        order = self.job.plan.orders[Cell(Side.BASE, *self.symptom.lane)]
        base = kbuild.build(order, self.job.plan.cache_dir, self.where / "base.log")
        both = [(base, where / "base"), (kernel, where)]
        boots: list[tuple[GuestRun, GuestRun]] = []
        while len(boots) < culprit.MOST_RUNS:
            before, after = (self._given(one, below / str(len(boots))) for one, below in both)
            boots.append((before, after))
            probable = culprit.weigh(self.symptom, boots)
            if probable is not None and culprit.sure(probable):
                return self._told(probable)
            if probable is None and len(boots) >= self.symptom.patched.runs:
                break
        return Answer.SKIP

    def _told(self, probable: float) -> Answer:
        """The answer that is so probable to be `bad`."""
        bad = probable > 0.5
        self.confidence *= probable if bad else 1 - probable
        return Answer.BAD if bad else Answer.GOOD

    def _given(self, kernel: KernelBuild, where: Path) -> GuestRun:
        """What the guests of one boot gave, be it for another symptom."""
        self.boots.add(where)
        return trials.once(self.job, kernel, self._wanted, where, steady=self.symptom.kind is Kind.METRIC)
