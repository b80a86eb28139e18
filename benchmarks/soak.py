"""Nights without end: does `kdelta nightly` leak, lose a result, or let the cache grow? `python benchmarks/soak.py`.

50 rounds on the fake tree with guests that follow a script, or, with `--real`, 5 on Linux with guests of QEMU; in each
one the branch has a new tip and the queue a new version of its series. Every fifth round, from the fourth on, the
branch breaks, and is repaired in the next one; of the real ones it is the second and the fourth. Every tenth night,
from the third on, is cut off, and done again. Reports in all forms and the page of all runs are written as the command
does it. Prints a line for every fifth round (for each real one), and exits 1 where something was lost or has grown.
"""

import argparse
import gc
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kvm import proc, snapshot
from kvm.errors import Interrupted
from kvm.snapshot import Take
from orchestrator import cache, inventory
from orchestrator.commands import opening
from orchestrator.config import Limits, Nightly, NightlyKeep, NightlyQueue, NightlyTree, Pipeline, Report
from orchestrator.history import ask
from orchestrator.history.book import opened
from orchestrator.model import ItemEnd, NightReport
from orchestrator.nightly import night
from orchestrator.nightly.place import Place
from orchestrator.publish.formats import FORMATS
from orchestrator.request import Request
from tests import branch, scripted
from tests.flow.conftest import MAKEFILE, git
from tests.flow.test_scripted import FAILS, PASSES

KEEP = 10
State = dict[str, int]
WHERE = "\tif (behavior == MADV_DONTNEED_LOCKED)\n"  # stands before what works


class Lab:
    """A tree, a queue, a history and a cache below one directory; `take` boots its guests.

    The branch breaks in the round `breaks`, and every so many after it; `slack_kib` of memory are no growth.
    """

    cache_mib: int
    slack_kib: int
    breaks: tuple[int, int]
    suite: str
    take: Take

    def __init__(self, top: Path) -> None:
        self.top, self.tree, self.queue = top, top / "tree", top / "queue"
        for directory in (self.queue, top / "cache"):
            directory.mkdir(parents=True)
        for part in ("apt", "rootfs"):  # copies, because what is too much in this cache is removed
            if (cache.default_root() / part).is_dir():
                shutil.copytree(cache.default_root() / part, top / "cache" / part)

    def commit(self, what: str, *, breaks: bool = False) -> None:
        """Put a commit of this subject on the branch."""
        raise NotImplementedError

    def new_version(self, number: int) -> None:
        """Write the queue's series anew, on what the branch is now; what is broken there it repairs."""
        raise NotImplementedError

    def is_broken(self, number: int) -> bool:
        """Is it a round in which the branch breaks?"""
        first, every = self.breaks
        return number >= first and (number - first) % every == 0

    def request(self) -> Request:
        kernel = f"git:{self.tree}"
        nightly = Nightly(
            trees=[NightlyTree(kernel=kernel, branches=["main"])],
            queues=[NightlyQueue(directory=str(self.queue))],
            keep=NightlyKeep(runs=KEEP),
        )
        pipeline = Pipeline(
            kernel=kernel,
            suites=[self.suite],
            arches=["arm64"],
            nightly=nightly,
            limits=Limits(cache_gib=self.cache_mib / 1024),
            report=Report(formats=list(FORMATS)),
        )
        return Request(pipeline=pipeline, near=str(self.top), cache=str(self.top / "cache"), jobs=2)


class Fake(Lab):
    """A tree of a few files, whose kernels are scripts of what a guest says."""

    cache_mib = 64
    slack_kib = 15_000
    breaks = (4, 5)
    take = staticmethod(scripted.take)

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.suite = str(top / "example")
        for directory in (self.tree / "mm", self.tree / "drivers", top / "example"):
            directory.mkdir(parents=True)
        (top / "example" / "main.c").write_text("int main(void) { return 0; }\n")
        (top / "example" / "suite.yaml").write_text("name: example\nkind: ktap\nsources: [main.c]\n")
        for name, text in (("Makefile", MAKEFILE), ("Kconfig.off", "BROKEN\n"), ("drivers/foo.c", "a module\n")):
            (self.tree / name).write_text(text)
        git(self.tree, "init", "-q", "-b", "main")
        self.commit("first")
        self.commit("second")

    def commit(self, what: str, *, breaks: bool = False) -> None:
        (self.tree / "mm" / "madvise.c").write_text(f"{what}\n{FAILS if breaks else PASSES}")
        git(self.tree, "add", ".")
        git(self.tree, "commit", "-q", "-m", f"mm: {what}")

    def new_version(self, number: int) -> None:
        git(self.tree, "checkout", "-q", "-B", "topic", "main")
        self.commit(f"version {number}")
        (self.queue / "series.patch").write_text(git(self.tree, "format-patch", "--stdout", "main..topic") + "\n")
        git(self.tree, "checkout", "-q", "main")


class Real(Lab):
    """Linux, of which each commit is another kernel; its cache is empty in the beginning."""

    cache_mib = 1500
    slack_kib = 30_000
    breaks = (2, 2)
    suite = "madvise_locked"
    take = staticmethod(snapshot.take)

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.branch = branch.Branch(self.tree, "main")
        self.first, self.commits = self.branch.text, 0

    def _other(self) -> str:
        """The file as it works, but for some more instructions."""
        self.commits += 1
        reads = "\t(void)READ_ONCE(current->flags);\n" * self.commits
        return self.first.replace(f"{WHERE}{branch.WORKS}", f"{reads}{WHERE}{branch.WORKS}")

    def commit(self, what: str, *, breaks: bool = False) -> None:
        text = self._other()
        self.branch.commit(text.replace(branch.WORKS, branch.BREAKS) if breaks else text, f"mm: {what}")

    def new_version(self, number: int) -> None:
        self.branch.commit(self._other(), f"mm: version {number}", on="refs/heads/topic")
        (self.queue / "series.patch").write_text(self.branch.mails("topic"))


def spend(lab: Lab, number: int, place: Place) -> NightReport:
    """One night; every tenth one is killed in its first guest, and begun again."""
    if number % 10 == 3:
        try:
            night.run(lab.request(), replace(place, take=_killed))
        except Interrupted:
            proc.stop.clear()
            cache.let_go()
    report = night.run(lab.request(), place)
    opening.write_index(place.book, place.results)
    return report


def _killed(*_: object, **__: object) -> object:
    raise Interrupted


def state(lab: Lab) -> State:
    """What may grow."""
    gc.collect()
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10
    children = subprocess.run(
        ["ps", "--no-headers", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return {
        "files open": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": len(children.stdout.splitlines()) - 1,  # but for ps
        "memory KiB": rss,
        "cache KiB": inventory.size(lab.top / "cache") >> 10,
        "run directories": len(list((lab.top / "results").glob("*/run.json"))),
        "history KiB": sum(part.stat().st_size for part in lab.top.glob("history.sqlite*")) >> 10,
    }


def faults(number: int, report: NightReport, *, broken: bool) -> Iterator[str]:
    """What a night did otherwise than it should."""
    verdicts = sorted(one.verdict if one.end is ItemEnd.RAN else one.end.value for one in report.items)
    if verdicts != (["clean", "regressed"] if broken else ["clean", "clean"]):
        yield f"round {number}: {verdicts}"
    if broken and [who.split(" ", 1)[1] for one in report.items for who in one.culprits] != [f"mm: breaks {number}"]:
        yield f"round {number}: the culprit was not found"
    if bool(report.open) is not broken:
        yield f"round {number}: open are {report.open}"
    if missing := [one.item for one in report.items if not (Path(one.directory) / "report.html").is_file()]:
        yield f"round {number}: no report of {', '.join(missing)}"


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, help="50, or 5 with --real")
    asked.add_argument("--real", action="store_true", help="on Linux, with guests of QEMU: half an hour")
    options = asked.parse_args()
    rounds = options.rounds or (5 if options.real else 50)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="kdelta-soak-") as own, opened(str(Path(own) / "history.sqlite")) as book:
        lab = (Real if options.real else Fake)(Path(own))
        place = Place(book, lab.top / "results", opening.publish, lambda *_: None, lab.take)
        wrong, states, bisected = list[str](), list[State](), list[State]()
        for number in range(1, rounds + 1):
            broken = lab.is_broken(number)
            if broken:
                lab.commit(f"harmless {number}")
            lab.commit(f"breaks {number}" if broken else f"round {number}", breaks=broken)
            lab.new_version(number)
            wrong += faults(number, spend(lab, number, place), broken=broken)
            states.append(state(lab))
            bisected += states[-1:] * broken
            if number % 5 == 0 or options.real:
                print(number, states[-1], flush=True)
        kept = ask.runs(book)
    if len(kept) != 2 * rounds:
        wrong.append(f"the history has {len(kept)} runs of {2 * rounds}")
    wrong += grown(bisected, lab.slack_kib)
    for what, most in (("cache KiB", lab.cache_mib * 1024), ("run directories", KEEP + 2)):
        if (seen := max(one[what] for one in states)) > most:
            wrong.append(f"{what} grew to {seen}")
    print("\n".join(wrong) or f"{rounds} rounds, {len(kept)} runs: nothing lost, nothing has grown")
    return bool(wrong)


def grown(bisected: list[State], slack_kib: int) -> Iterator[str]:
    """What is more in the second half of the rounds that bisect, which need most, than ever in the first half."""
    half = len(bisected) // 2
    if not half:
        yield "with fewer than two rounds that bisect nobody can say whether anything has grown"
        return
    for what, slack in (("files open", 0), ("threads", 0), ("children", 0), ("memory KiB", slack_kib)):
        early, late = (max(one[what] for one in some) for some in (bisected[:half], bisected[half:]))
        if late > early + slack:
            yield f"{what} grew from {early} to {late}"


sys.exit(main())
