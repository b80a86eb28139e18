"""Which commit a series is put on, by which rule, and how sure that is."""

import subprocess
from pathlib import Path

import pytest

from orchestrator.intake import base, mail, source
from orchestrator.intake.base import Wish
from orchestrator.model import Base
from tests.flow.conftest import git

LINES = [f"line {number}\n" for number in range(40)]
NOTHING = Wish()
EDITED = "".join([*LINES[:5], "five and a half\n", *LINES[5:]])


def commit(top: Path, name: str, text: str, subject: str) -> str:
    (top / name).write_text(text)
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", subject)
    return git(top, "rev-parse", "HEAD")


@pytest.fixture
def choose(fakelinux: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    def call(path: Path, wish: Wish = NOTHING, at: str | None = None) -> Base:
        origin = source.resolve(f"git:{fakelinux}", at, tmp_path / "cache")
        return base.choose(mail.read(path).mails, origin, wish)

    return call


def test_head_is_taken_when_its_blobs_match(choose, fakelinux: Path, make_series) -> None:
    found = choose(make_series(EDITED, EDITED.upper()))
    assert (found.commit, found.rule) == (git(fakelinux, "rev-parse", "main"), "blob hashes")
    assert found.sure == f'the pre-image blob matches {found.commit[:12]} ("Linux fake")'
    assert found.notes == ()


def test_what_was_asked_for_comes_first_and_is_held_against_the_blobs(choose, fakelinux: Path, make_series) -> None:
    path = make_series(EDITED)
    other = commit(fakelinux, "mm/madvise.c", EDITED.upper(), "mm: shout")
    trailer = git(fakelinux, "rev-parse", "main~1")
    found = choose(path, Wish(asked=True, named=trailer), other)
    assert (found.commit, found.rule) == (other, "--base")
    assert found.sure == f'0 of 1 pre-image blobs match {other[:12]} ("mm: shout"); not mm/madvise.c'
    assert found.notes == (f'the series names another base-commit, {trailer[:12]} ("Linux fake")',)


def test_the_trailer_comes_before_the_blobs(choose, fakelinux: Path, make_series) -> None:
    path = make_series(EDITED)
    other = commit(fakelinux, "README", "x", "a readme")
    found = choose(path, Wish(named=other[:12]))
    assert (found.commit, found.rule) == (other, "base-commit trailer")


def test_a_trailer_that_is_not_in_the_repository_is_noted(choose, fakelinux: Path, make_series) -> None:
    found = choose(make_series(EDITED), Wish(named="1" * 40))
    assert found.rule == "blob hashes"
    assert found.notes == (f"the series names base-commit {'1' * 12}, which is not in git:{fakelinux}",)


def test_blobs_find_the_tag_that_the_series_was_made_on(choose, fakelinux: Path, make_series) -> None:
    path = make_series(EDITED)
    git(fakelinux, "tag", "-a", "-m", "one", "v1")
    git(fakelinux, "branch", "v1-lookalike")
    commit(fakelinux, "README", "x", "a readme")
    git(fakelinux, "tag", "v2")
    commit(fakelinux, "mm/madvise.c", EDITED.upper(), "mm: shout")
    found = choose(path)
    assert (found.commit, found.rule) == (git(fakelinux, "rev-parse", "v2"), "blob hashes")
    assert found.sure == "the pre-image blob matches v2"


def test_blobs_find_the_newest_commit_where_no_tag_matches(choose, fakelinux: Path, make_series) -> None:
    path = make_series(EDITED)
    newest = commit(fakelinux, "README", "x", "a readme")
    commit(fakelinux, "mm/madvise.c", EDITED.upper(), "mm: shout")
    found = choose(path)
    assert (found.commit, found.rule) == (newest, "blob hashes")


def test_most_blobs_are_better_than_none_and_half_of_them_is_not_most(choose, fakelinux: Path, tmp_path: Path) -> None:
    for name in "abc":
        commit(fakelinux, name, "one\n", f"add {name}")
    git(fakelinux, "checkout", "-q", "-b", "topic")
    for name in "abc":
        commit(fakelinux, name, "two\n", f"edit {name}")
    git(fakelinux, "format-patch", "-q", "-o", str(tmp_path / "series"), "main")
    git(fakelinux, "checkout", "-q", "main")
    most = commit(fakelinux, "c", "three\n", "other c")
    found = choose(tmp_path / "series")
    assert found.sure.startswith("all 3 pre-image blobs match ")
    git(fakelinux, "checkout", "-q", "--orphan", "alone")
    most = commit(fakelinux, "c", "three\n", "no past")
    found = choose(tmp_path / "series")
    assert (found.commit, found.rule) == (most, "blob hashes")
    assert found.sure == f'2 of 3 pre-image blobs match {most[:12]} ("no past"); not c'
    git(fakelinux, "checkout", "-q", "--orphan", "alone2")
    (fakelinux / "a").write_text("three\n")
    last = commit(fakelinux, "b", "three\n", "even less")
    found = choose(tmp_path / "series")
    assert (found.commit, found.rule) == (last, "HEAD")
    assert "0 of 3" in found.sure


def test_a_series_without_blobs_goes_on_head(choose, fakelinux: Path, tmp_path: Path, make_series) -> None:
    [patch] = make_series(EDITED, cover=False).glob("0001*")
    patch.write_text("".join(line for line in patch.open() if not line.startswith("index ")))
    found = choose(patch)
    assert found.rule == "HEAD"
    assert "names no blobs" in found.sure


def test_a_diff_without_prefixes_names_its_blobs_too(choose, fakelinux: Path, make_series, tmp_path: Path) -> None:
    make_series(EDITED)
    (tmp_path / "x.diff").write_text(git(fakelinux, "diff", "--no-prefix", "main..topic") + "\n")
    assert choose(tmp_path / "x.diff").sure.startswith("the pre-image blob matches")


def test_of_many_blobs_it_is_said_that_not_all_were_looked_at(choose, fakelinux: Path, tmp_path: Path) -> None:
    names = [f"mm/{number:02}.c" for number in range(base.PATHS + 3)]
    for name in names:
        (fakelinux / name).write_text("a\n")
    commit(fakelinux, "README", "x", "many files")
    for name in names:
        (fakelinux / name).write_text("b\n")
    (tmp_path / "x.diff").write_text(git(fakelinux, "diff") + "\n")
    git(fakelinux, "checkout", "-q", ".")
    assert choose(tmp_path / "x.diff").sure.startswith(f"all of the first {base.PATHS} pre-image blobs match")
    at = commit(fakelinux, names[0], "c\n", "one changed")
    found = choose(tmp_path / "x.diff", Wish(asked=True), at)
    assert found.sure.startswith(f"{base.PATHS - 1} of the first {base.PATHS} pre-image blobs match")


def test_files_that_the_series_creates_say_nothing_of_the_base(fakelinux: Path, tmp_path: Path) -> None:
    commit(fakelinux, "new", "x\n", "add")
    git(fakelinux, "format-patch", "-q", "-o", str(tmp_path / "series"), "HEAD^")
    assert base.pre_images(mail.read(tmp_path / "series").mails) == {}


def test_prerequisites_that_git_writes_are_found_and_missed(choose, fakelinux: Path, make_series, tmp_path) -> None:
    make_series(EDITED, EDITED.upper())
    out = tmp_path / "with-base"
    command = ("format-patch", "-q", "-o", str(out), "--base=main", "topic~1..topic")
    git(fakelinux, "checkout", "-q", "topic")
    git(fakelinux, *command)
    text = next(out.iterdir()).read_text()
    named = text.partition("base-commit: ")[2].split()[0]
    needed = text.partition("prerequisite-patch-id: ")[2].split()[0]
    wish = Wish(named=named, prerequisites=(needed,))
    assert "is not among the newest" in choose(out, wish).notes[0]
    [_, note] = choose(out, Wish(asked=True, named=named, prerequisites=(needed,)), "topic~1").notes
    there = git(fakelinux, "rev-parse", "topic~1")[:12]
    assert note == f'prerequisite patch {needed[:12]} is in the base: {there} ("mm: step 0")'


def test_a_tarball_has_one_commit_and_the_blobs_say_whether_it_is_the_right_one(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path, ball = make_series(EDITED), tmp_path / "linux.tar"
    subprocess.run(["git", "archive", "--prefix=linux/", "-o", ball, "main"], cwd=fakelinux, check=True)
    origin = source.resolve(f"tar:{ball}", None, tmp_path / "cache")
    found = base.choose(mail.read(path).mails, origin, Wish(named="1" * 40))
    assert (found.commit, found.rule, found.sure) == (
        origin.commit,
        "blob hashes",
        f"the pre-image blob matches tar:{ball}",
    )
    assert "which is not in tar:" in found.notes[0]


def test_another_commit_of_the_same_source_is_a_source(fakelinux: Path, tmp_path: Path) -> None:
    first = git(fakelinux, "rev-parse", "HEAD")
    second = commit(fakelinux, "README", "x", "a readme")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert origin.commit == second
    assert source.at(origin, first) == source.resolve(f"git:{fakelinux}", first, tmp_path / "cache")
