"""Which commit a series belongs on: asked for, where its range starts, named by it, found by its blobs, or HEAD."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kvm import disk
from orchestrator import listing
from orchestrator.intake import git, past, patchtext
from orchestrator.intake.patch import Mail
from orchestrator.intake.source import Source
from orchestrator.model import Base, BaseRule

TAGS = 300  # of the newest, that are looked at
PATHS = 20  # of the series; more do not tell more
TURNS = 200  # commits that touched one of them


@dataclass(frozen=True)
class Wish:
    """What is said about the base: did the user ask for one, what the series names and how, what it says it needs."""

    asked: bool = False
    named: str | None = None
    rule: BaseRule = BaseRule.TRAILER
    prerequisites: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Search:
    """Where is looked, what for (blob ids by path; `more` were left out), and the user's tags by name."""

    origin: Source
    repository: git.Repository
    blobs: dict[str, str]
    more: bool
    tags: dict[str, str]


def choose(mails: Iterable[Mail], origin: Source, wish: Wish) -> Base:
    """Find the base in the history of `origin`, which stands at what the user asked for, or else at HEAD."""
    search = _search(mails, origin)
    named = search.repository.id(f"{wish.named}^{{commit}}") if wish.named else None
    if wish.asked:
        commit, rule = origin.commit, BaseRule.ASKED
    elif named:
        commit, rule = named, wish.rule
    else:
        commit, rule = _by_blobs(search)
    notes = []
    if wish.named and not named:
        notes.append(f"the series names base-commit {wish.named[:12]}, which is not in {origin.spec}")
    elif named and commit != named:
        other = "stands on another commit" if wish.rule is BaseRule.RANGE else "names another base-commit"
        notes.append(f"the series {other}, {_label(named, search)}")
    notes += _prerequisites(wish.prerequisites, commit, search.repository)
    return Base(commit, rule, _sure(commit, _label(commit, search), search), tuple(notes))


def without(mails: Iterable[Mail], origin: Source, wish: Wish, reverted: Source) -> Base:
    """Say where the series was taken out, which made the tree `reverted`: of what the user asked for, or of HEAD."""
    rule = BaseRule.ASKED if wish.asked else BaseRule.HEAD
    return Base(origin.commit, rule, _sure(reverted.commit, "the tree without the series", _search(mails, origin)))


def _search(mails: Iterable[Mail], origin: Source) -> _Search:
    blobs = pre_images(mails)
    first = dict(list(blobs.items())[:PATHS])
    return _Search(origin, git.Repository(origin.git_dir), first, len(blobs) > PATHS, _tags(origin))


def pre_images(mails: Iterable[Mail]) -> dict[str, str]:
    """Return the abbreviated blob id of each file as the series first finds it, without the files it creates."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for mail in mails:
        for section in patchtext.parse(mail.diff, mail.strip):
            old = section.old_path
            if old and section.blobs and old not in seen and section.blobs[0].strip("0"):
                found[old] = section.blobs[0]
            seen |= {path for path in (old, section.new_path) if path}
    return found


def _by_blobs(search: _Search) -> tuple[str, BaseRule]:
    """HEAD if all match there, else the newest tag, else the newest commit where all do; else where most do."""
    best, most = search.origin.commit, 0
    for group in _candidates(search):
        for commit, hits in _hits(group, search):
            if hits > most:
                best, most = commit, hits
        if most == len(search.blobs):
            break
    if 2 * most <= len(search.blobs):
        return search.origin.commit, BaseRule.HEAD
    return search.repository.id(best) or search.origin.commit, BaseRule.BLOBS


def _candidates(search: _Search) -> Iterator[Sequence[str]]:
    """HEAD, the tags, and just before and after each commit that touched a file: nothing changes between those."""
    yield (search.origin.commit,)
    yield tuple(search.tags.values())
    turns = past.touching(search.origin.commit, search.blobs, search.repository)[:TURNS]
    yield tuple(point for commit in turns for point in (f"{commit}^", commit))


def _tags(origin: Source) -> dict[str, str]:
    """The commits of the newest tags of the user's repository; ours has none."""
    kind, _, path = origin.spec.partition(":")
    if kind != "git":
        return {}
    listed = git.alone(
        *("-C", disk.expanded(path), "for-each-ref", f"--count={TAGS}"),
        *("--sort=-version:refname", "--sort=-creatordate"),  # the last one counts first
        "--format=%(refname:short) %(objecttype) %(objectname) %(*objecttype) %(*objectname)",
        "refs/tags",
    )
    rows = [line.split() for line in listed.output.splitlines()]
    return {row[0]: row[-1] for row in rows if len(row) >= 3 and row[-2] == "commit"}


def _hits(commits: Sequence[str], search: _Search) -> Iterator[tuple[str, int]]:
    """How many of the blobs each of `commits` has at their paths."""
    given = _given(commits, search)
    for index, commit in enumerate(commits):
        row = given[index * len(search.blobs) :]
        yield commit, sum(map(_matches, row, search.blobs.values()))


def _given(commits: Sequence[str], search: _Search) -> list[str]:
    """What git has at every path of every commit: one process for all."""
    asked = "".join(f"{commit}:{path}\n" for commit in commits for path in search.blobs)
    return search.repository.run("cat-file", "--batch-check=%(objectname)", input=asked.encode()).splitlines()


def _matches(given: str, wanted: str) -> bool:
    return given.startswith(wanted) and not given.endswith(" missing")


def _label(commit: str, search: _Search) -> str:
    """A commit as people know it: its tag, or HEAD, or twelve digits and the subject."""
    if not search.origin.spec.startswith("git:"):
        return search.origin.spec
    if tag := next((name for name, tagged in search.tags.items() if tagged == commit), None):
        return tag
    subject = search.repository.run("log", "-1", "--format=%s", commit).strip()
    return f'{commit[:12]} ("{subject}")'


def _sure(commit: str, label: str, search: _Search) -> str:
    count = len(search.blobs)
    if not count:
        return f"the series names no blobs to hold against {label}"
    given = dict(zip(search.blobs, _given([commit], search), strict=False))
    others = [path for path, blob in search.blobs.items() if not _matches(given.get(path, ""), blob)]
    whole = f"the first {count}" if search.more else str(count)
    if not others and count == 1:
        return f"the pre-image blob matches {label}"
    if not others:
        return f"all {'of ' * search.more}{whole} pre-image blobs match {label}"
    return f"{count - len(others)} of {whole} pre-image blobs match {label}; not {listing.first(others, 3)}"


def _prerequisites(ids: tuple[str, ...], commit: str, repository: git.Repository) -> list[str]:
    """Say whether the patches that the series says it needs are among the newest commits of the base."""
    if not ids:
        return []
    known = past.patch_ids(past.recent(commit, past.DIFFED, repository), repository)
    subjects = past.names([known[needed] for needed in ids if needed in known], repository)
    absent = f"is not among the newest {past.DIFFED} commits of the base"
    return [
        f"prerequisite patch {needed[:12]} "
        + (f'is in the base: {known[needed][:12]} ("{subjects[known[needed]]}")' if needed in known else absent)
        for needed in ids
    ]
