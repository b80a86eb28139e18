"""git's own bisection, in a repository of ours that borrows the objects of another one: nothing is checked out."""

import re
import shutil
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from kvm.errors import UserError
from orchestrator.intake import git

_FIRST = re.compile(r"^# (?:possible )?first bad commit: \[(\w+)\]", re.MULTILINE)
# git's exit status when nothing is left to look at but what could not be told, and when what both ends have is bad
_ONLY_SKIPPED, _BAD_BEFORE = 2, 3


class Answer(StrEnum):
    """What one commit is found to be; the words are git's."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Bisection:
    """One search between a good and a bad commit, from which the good one need not be reachable."""

    def __init__(self, where: Path, store: Path, *, good: str, bad: str) -> None:
        """Begin in the new bare repository `where`, with the objects of `store`."""
        self._good = good
        self.repaired = False  # by a commit that the good end has, for what both have is bad
        self._repository = git.create(where, borrow=store.resolve() / "objects")
        shallow = store / "shallow"
        if shallow.is_file():  # history ends there, and is no damage
            shutil.copyfile(shallow, where / shallow.name)
        self._repository.run("update-ref", "--no-deref", "HEAD", bad)
        self._tell("start", "--no-checkout", bad, good)

    @property
    def next(self) -> str | None:
        """The commit to look at; None when there is nothing more to learn."""
        return None if self.repaired or self.first_bad else self._repository.id("BISECT_HEAD")

    @property
    def first_bad(self) -> tuple[str, ...]:
        """The commit that did it, or those among which it is, as the others could not be told; oldest first."""
        found = set(_FIRST.findall(self.log))
        listed = (
            self._repository.run("rev-list", "--reverse", "--topo-order", *found, f"^{self._good}") if found else ""
        )
        return tuple(line for line in listed.split() if line in found)

    @property
    def log(self) -> str:
        """The story so far, which `git bisect replay` reads."""
        return self._repository.run("bisect", "log")

    def mark(self, commit: str, answer: Answer) -> None:
        """Say what was found at `commit`."""
        self._tell(answer, commit)

    def _tell(self, *words: str) -> None:
        done = self._repository.attempt("bisect", *words)
        self.repaired = done.returncode == _BAD_BEFORE
        if done.returncode not in (0, _ONLY_SKIPPED, _BAD_BEFORE):
            raise UserError(f"git bisect {words[0]}: {done.output.strip()[-500:]}", hint="is the good commit older?")


def draw(where: Path, steps: Iterable[str]) -> list[str]:
    """Make a line of commits without files, one for each step, for what is no history; one stands before the first."""
    repository = git.create(where)
    tree = repository.run("mktree").strip()
    commits = [repository.run("commit-tree", tree, "-m", "none of them").strip()]
    for step in steps:
        commits.append(repository.run("commit-tree", tree, "-p", commits[-1], "-m", step).strip())
    return commits
