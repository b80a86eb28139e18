"""A series that is in the tree already: found, named by its commits, and taken out."""

import subprocess
from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator.intake import history, mail, series, source
from orchestrator.intake.source import Source
from tests.flow.conftest import git

LINES = [f"line {number}\n" for number in range(40)]
FIRST = "".join([*LINES[:5], "five and a half\n", *LINES[5:]])
SECOND = FIRST.replace("five and a half", "five and three quarters")  # stands on the line that the first one adds
THIRD = SECOND.replace("line 30", "LINE 30")


@pytest.fixture
def stacked(make_series) -> Path:  # type: ignore[no-untyped-def]
    return make_series(FIRST, SECOND, THIRD)


def at(fakelinux: Path, tmp_path: Path, revision: str) -> Source:
    return source.resolve(f"git:{fakelinux}", revision, tmp_path / "cache")


def test_a_series_that_is_all_there_is_named_by_its_commits(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    origin, mails = at(fakelinux, tmp_path, "topic"), mail.read(stacked).mails
    found = history.find(mails, origin)
    ids = git(fakelinux, "rev-list", "--reverse", "main..topic").split()
    assert [patch.presence for patch in found] == ["present"] * 3
    assert [patch.commits for patch in found] == [
        (f'{commit[:12]} ("mm: step {number}")',) for number, commit in enumerate(ids)
    ]
    with pytest.raises(UserError) as caught:
        series.apply(mails, origin)
    better = history.explain(mails, origin, caught.value)
    assert "already applied" in better.message
    assert f"'mm: step 2' is in the tree by {ids[2][:12]}" in better.message
    assert "--revert" in (better.hint or "")


def test_a_series_that_is_there_in_part_says_which_part(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    origin, mails = at(fakelinux, tmp_path, "topic~2"), mail.read(stacked).mails
    assert [patch.presence for patch in history.find(mails, origin)] == ["present", "absent", "absent"]
    with pytest.raises(UserError) as caught:
        series.apply(mails, origin)
    better = history.explain(mails, origin, caught.value)
    assert "1 of 3 patches are there already: 'mm: step 0' is in the tree by" in better.message
    assert caught.value.message in better.message


def test_a_series_that_is_not_there_keeps_its_fault(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    origin, mails = at(fakelinux, tmp_path, "main"), mail.read(stacked).mails
    assert {patch.presence for patch in history.find(mails, origin)} == {"absent"}
    fault = UserError("x")
    assert history.explain(mails, origin, fault) is fault


def test_what_was_applied_and_changed_since_is_said(fakelinux: Path, make_series, tmp_path: Path) -> None:
    mails = mail.read(make_series(FIRST)).mails
    git(fakelinux, "checkout", "-q", "topic")
    (fakelinux / "mm" / "madvise.c").write_text(FIRST.replace("five and a half", "5.5"))
    git(fakelinux, "commit", "-q", "-a", "-m", "mm: write numbers")
    [patch] = history.find(mails, at(fakelinux, tmp_path, "topic"))
    assert patch.presence == "changed"
    assert '("mm: step 0")' in patch.commits[0]


def test_a_backport_with_other_context_is_found_by_its_subject(fakelinux: Path, make_series, tmp_path: Path) -> None:
    mails = mail.read(make_series(FIRST)).mails
    git(fakelinux, "checkout", "-q", "-b", "stable", "main")
    (fakelinux / "mm" / "madvise.c").write_text(FIRST.replace("line 3\n", "line three\n"))
    git(fakelinux, "commit", "-q", "-a", "-m", "mm: step 0")
    [patch] = history.find(mails, at(fakelinux, tmp_path, "stable"))
    assert (patch.presence, len(patch.commits)) == ("changed", 1)


def test_patches_that_could_be_put_in_twice_are_there_if_all_can_be_taken_out(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    same = ["node {\n", "\tstatus;\n", "};\n"] * 12  # one looks like the other, as in a device tree
    git(fakelinux, "checkout", "-q", "main")
    (fakelinux / "mm" / "madvise.c").write_text("".join(same))
    git(fakelinux, "commit", "-q", "-a", "-m", "nodes")
    more = [*same[:18], *same[:3], *same[18:]]
    path = make_series("".join(more), "".join(["first\n", *more]), cover=False)
    mails, origin = mail.read(path).mails, at(fakelinux, tmp_path, "topic")
    assert [patch.presence for patch in history.find(mails, origin)] == ["present"] * 2
    assert [patch.presence for patch in history.find(mails, at(fakelinux, tmp_path, "main"))] == ["absent"] * 2


def test_a_series_that_goes_in_twice_is_said_to_be_there(fakelinux: Path, make_series, tmp_path: Path) -> None:
    rows = ["\t{ },\n"] * 20
    git(fakelinux, "checkout", "-q", "main")
    (fakelinux / "mm" / "madvise.c").write_text("".join(rows))
    git(fakelinux, "commit", "-q", "-a", "-m", "a table")
    path = make_series("".join([*rows[:10], "\t{ NEW },\n", *rows[10:]]), cover=False)
    mails = mail.read(path).mails
    on_base, on_topic = at(fakelinux, tmp_path, "main"), at(fakelinux, tmp_path, "topic")
    assert series.apply(mails, on_topic).tree != on_topic.tree
    assert history.reversible(mails, on_topic)
    assert not history.reversible(mails, on_base)
    assert not history.reversible((), on_topic)


def test_what_changes_nothing_when_it_is_taken_out_is_not_there(fakelinux: Path, tmp_path: Path) -> None:
    mode = "diff --git a/mm/madvise.c b/mm/madvise.c\nold mode 100644\nnew mode 100755\n"  # git only warns of a mode
    (tmp_path / "x.diff").write_text(mode)
    mails = mail.read(tmp_path / "x.diff").mails
    origin = at(fakelinux, tmp_path, "main")
    assert series.apply(mails, origin).tree != origin.tree
    assert not history.reversible(mails, origin)


def test_a_long_series_that_is_there_is_told_in_short(fakelinux: Path, make_series, tmp_path: Path) -> None:
    texts = ["".join([*LINES[:5], f"more {number}\n", *LINES[5:]]) for number in range(9)]
    mails, origin = mail.read(make_series(*texts)).mails, at(fakelinux, tmp_path, "topic")
    ids = git(fakelinux, "rev-list", "--reverse", "main..topic").split()
    better = history.explain(mails, origin, UserError("'mm: step 0' does not apply"))
    assert better.message == (
        f"the series is already applied to {origin.spec} (6.1.0-fake): 'mm: step 0' is in the tree by {ids[0][:12]}; "
        f"'mm: step 1' is in the tree by {ids[1][:12]}; 'mm: step 2' is in the tree by {ids[2][:12]}; and 6 more"
    )


def test_a_series_that_was_changed_since_is_not_to_be_left_out(fakelinux: Path, make_series, tmp_path: Path) -> None:
    mails = mail.read(make_series(FIRST)).mails
    git(fakelinux, "checkout", "-q", "topic")
    (fakelinux / "mm" / "madvise.c").write_text(FIRST.replace("five and a half", "5.5"))
    git(fakelinux, "commit", "-q", "-a", "-m", "mm: write numbers")
    better = history.explain(mails, at(fakelinux, tmp_path, "topic"), UserError("x"))
    assert "the series was applied to git:" in better.message
    assert "'mm: step 0' was applied by " in better.message
    assert better.hint == "`--base` takes a commit from before it"


def test_a_diff_without_prefixes_is_found_in_the_tree(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    diff = git(fakelinux, "diff", "--no-prefix", "main..topic") + "\n"
    (tmp_path / "x.diff").write_text(diff)
    [patch] = history.find(mail.read(tmp_path / "x.diff").mails, at(fakelinux, tmp_path, "topic"))
    assert patch.presence == "present"


def test_a_tarball_has_no_commits_to_name(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    ball = tmp_path / "linux.tar"
    subprocess.run(["git", "archive", "--prefix=linux/", "-o", ball, "topic"], cwd=fakelinux, check=True)
    origin = source.resolve(f"tar:{ball}", None, tmp_path / "cache")
    found = history.find(mail.read(stacked).mails, origin)
    assert {(patch.presence, patch.commits) for patch in found} == {("present", ())}
    base, applied = history.revert(mail.read(stacked).mails, origin)
    assert base.tree == git(fakelinux, "rev-parse", "main^{tree}")
    assert applied.tree == origin.tree


def test_reverting_gives_the_tree_without_the_series_as_base(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    origin, mails = at(fakelinux, tmp_path, "topic"), mail.read(stacked).mails
    base, applied = history.revert(mails, origin)
    assert base.tree == git(fakelinux, "rev-parse", "main^{tree}")
    assert applied.tree == git(fakelinux, "rev-parse", "topic^{tree}")
    assert [patch.files for patch in applied.series.patches] == [("mm/madvise.c",)] * 3
    again = series.apply(mails, base)
    assert (again.commits, again.tree) == (applied.commits, applied.tree)


def test_what_cannot_be_taken_out_is_named(fakelinux: Path, stacked: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0003-mm-step-2\.patch: 'mm: step 2' cannot be taken out .*hunk 1 of 1"):
        history.revert(mail.read(stacked).mails, at(fakelinux, tmp_path, "main"))
