"""What the first pass makes suspicious, run again on both sides in turn until chance decides, or the budget ends."""

import functools
import itertools
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from kvm import disk
from orchestrator import consoles, store
from orchestrator.job import Job
from orchestrator.judge import chance, diff, ending, known, reports, sheet, splat, suspects
from orchestrator.model import Cell, Change, ChangeKind, GuestRecord, GuestRun, Lane, Outcome, Pair, Side, Splat
from orchestrator.trial import paired, stretch
from orchestrator.trial.paired import Look, Named
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.suite import Isolation
from orchestrator.trial.trial import Trial, Yard

FILE = "pairs.json"
MOST_AT_ONCE = 20  # programs of one boot
_LOOKED_FOR = ("kmemleak",)  # kinds of reports that come when all programs of a guest have run, whoever they are of


def run(job: Job, lane: Lane, trials: dict[Side, Trial], yard: Yard) -> None:
    """Do the pairs of one lane, and keep them beside what patched gave; of a run that goes on they may be there."""
    changes, on_base = _first(job, lane)
    if not job.plan.request.pipeline.rerun.pairs or len(trials) < len(Side) or load(job, lane) is not None:
        return
    if not any(suspects.look(changes, [], alpha(job)).wanted):
        return
    forget(job, lane)
    with job.engine.task(f"pairs {lane}"):
        again = functools.partial(paired.run, trials, job.take, yard, look(job))
        stand = functools.partial(suspects.look, changes, alpha=alpha(job), on_base=on_base)
        unable = _unlisted(job, changes) | _lost(trials[Side.PATCHED].payloads, changes)
        program = functools.partial(paired.program, trials[Side.PATCHED].payloads)
        done = _pairs(job, lane, stand, again, program, unable)
    store.save_pairs(done, store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / FILE)


def load(job: Job, lane: Lane) -> list[Pair] | None:
    """Read the pairs of one lane; None if it has not come to that."""
    return store.load_pairs(store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / FILE)


def forget(job: Job, lane: Lane) -> None:
    """Remove the pairs of a first pass that is made anew, or of a run that was cut off in them."""
    (store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / FILE).unlink(missing_ok=True)
    clear(job, lane, paired.AGAIN)


def clear(job: Job, lane: Lane, boots: str) -> None:
    """Remove the directory of other boots of both sides: a console of which nobody is told would be compared."""
    for side in Side:
        disk.clear(store.cell_directory(job.directory, Cell(side, *lane)) / boots)


def alpha(job: Job) -> float:
    """The false discovery rate of one lane: those of all lanes add up to the run's."""
    return chance.ALPHA / len(job.plan.lanes)


def _first(job: Job, lane: Lane) -> tuple[list[Change], tuple[Splat, ...]]:
    """The first pass of one lane, compared, and what base reported in it; nothing where base did not boot."""
    base, patched = (store.load_guest(store.cell_directory(job.directory, Cell(side, *lane))) for side in Side)
    if not base or not patched or base.guest.boot_seconds is None:
        return [], ()
    return compared(job, lane, base, patched), base.guest.splats


def compared(job: Job, lane: Lane, base: GuestRun, patched: GuestRun) -> list[Change]:
    """The first pass of one lane: its tests, whether it boots, and the reports that only patched gave."""
    names = [suite.name for suite in job.plan.suites]
    before, after = (known.mark(run.guest, job.plan.known_issues) for run in (base, patched))
    under = _under(job, lane, patched) if reports.new(before, after) else {}
    tests = diff.compare(base, patched, names, job.plan.expectations)
    return [*tests, *diff.boots(before, after), *reports.compare(before, after, under)]


def _under(job: Job, lane: Lane, patched: GuestRun) -> dict[str, Named]:
    """Under which suite and program each report of patched's guests came first, by its fingerprint.

    What no program can be blamed for came under what the guest was had for.
    """
    rules, found = job.plan.splat_rules, dict[str, Named]()
    where = store.cell_directory(job.directory, Cell(Side.PATCHED, *lane)) / "guests"
    for console in sorted(where.rglob("console.log")):
        seen = consoles.read(console, rules).splats
        stretches = stretch.read(console, after=True) if seen else {}  # most guests have nothing to report
        keys = dict[str, str]()
        for key, words in stretches.items():
            for one in splat.find([words], rules).splats:
                keys.setdefault(one.fingerprint, key)
        for one in seen:
            key = "" if one.kind in _LOOKED_FOR else keys.get(one.fingerprint, "")
            named = _named(job, key or str(console.parent.relative_to(where)), patched)
            found.setdefault(one.fingerprint, named)
    return found


def _named(job: Job, key: str, patched: GuestRun) -> Named:
    """What a console, or a directory of guests, calls `key`: a suite, and a program or test of it, "" for all."""
    key = re.sub(r"\+\d+$", "", key)  # a guest for what follows a program that destroyed the one before
    suites = [one.name for one in job.plan.suites if f"{key}/".startswith((f"{one.name}/", f"{one.name}@"))]
    shared = re.sub(r"@\d+$", "", key)  # by several suites: nobody can say of which it is
    suite = max(suites, key=len, default=shared)  # a name may have dots
    tests = [one.name for one in patched.results if one.suite == suite]
    return suite, stretch.program(key, suite, [*tests, *(end.test for end in patched.ends if end.suite == suite)])


def _unlisted(job: Job, changes: Iterable[Change]) -> set[Named]:
    """The tests with guests of their own that patched has not: its program may fail for being asked for one."""
    single = {suite.name for suite in job.plan.suites if suite.isolation is Isolation.TEST}
    return {(one.suite, one.name) for one in changes if one.change is ChangeKind.REMOVED and one.suite in single}


def _lost(payloads: Iterable[Payload], changes: Iterable[Change]) -> set[Named]:
    """The ends of several programs that were lost with some of these, which run again instead of all."""
    several = {payload.suite.name for payload in payloads if not payload.single}
    ends = (one for one in changes if one.name == sheet.SUITE_END and one.suite in several)
    return {(one.suite, one.name) for one in ends if one.patched.outcome is not Outcome.CRASH}


def _pairs(
    job: Job,
    lane: Lane,
    stand: Callable[[list[Pair]], suspects.Lane],
    run: Callable[..., list[Pair]],
    program: Callable[[Named], Named],
    unable: Collection[Named],
) -> list[Pair]:
    """Run, after each round of pairs, what is wanted most then, on kernels booted for it, but for what is `unable`.

    The seconds do not cut off what is slow before it can be decided at all, as a test that hangs each time.
    """
    budget, done, alone, lost = job.plan.request.pipeline.rerun, list[Pair](), set[Named](unable), 0
    end, enough = time.monotonic() + budget.seconds, chance.fewest(alpha(job))
    for number in itertools.count(1):
        runs = {name: sum(pair.runs(name) for pair in done) for name in stand(done).wanted if name not in alone}
        wanted = [name for name, ran in runs.items() if ran < budget.pairs]
        names = chosen(wanted, runs.__getitem__, lambda name: program(_part(name)), enough)
        late = time.monotonic() > end and number > enough
        if not names or lost > enough or late:
            break
        for side in Side:
            job.watch(Cell(side, *lane), f"pair {number}")
        pairs = run([_part(name) for name in names], number, f"{paired.AGAIN}/{number}")
        done += pairs
        if why := paired.unbooted(pairs):  # which is a result, too, and the next boot may do
            job.recorder.note(f"{lane}: pair {number} did not boot: {why}")
            lost += 1
        else:
            alone |= {name for name in names if not any(pair.runs(name) for pair in pairs)}
    return done


def chosen(
    wanted: Iterable[Named], runs: Callable[[Named], int], program: Callable[[Named], Named], enough: int
) -> list[Named]:
    """Those of one boot: the tests of so many programs, first of all what had not `enough` runs to be named at all."""
    ordered = sorted(wanted, key=lambda name: runs(name) // enough)
    programs = {name: program(name) for name in ordered}
    first = list(dict.fromkeys(programs.values()))[:MOST_AT_ONCE]
    return [name for name in ordered if programs[name] in first]


def _part(name: Named) -> Named:
    """What is run again for it."""
    return name[0], sheet.home(name[1])


def look(job: Job) -> Look:
    """Read the console of each guest, too."""

    def seen(trial: Trial, name: str, record: GuestRecord) -> GuestRecord:
        console = trial.directory / name / "console.log"
        if not console.exists():
            return record
        found = consoles.read(console, job.plan.splat_rules)
        heard = ending.name(replace(record, splats=found.splats, more_splats=found.more))
        return known.mark(heard, job.plan.known_issues)

    return seen
