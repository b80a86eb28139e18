"""Series out of a repository and out of b4, and what applying on a part of the index must still see."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import Interrupted, UserError
from orchestrator.intake import history, mail, quilt, series, source
from orchestrator.intake.source import Source
from tests.flow.conftest import git
from tests.flow.test_series_shapes import SHAPES, base, origin  # noqa: F401  (fixtures)


def commit(where: Path, name: str, content: str, message: str) -> None:
    (where / name).write_text(content)
    git(where, "add", "--all")
    git(where, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message)


@pytest.fixture
def topic(fakelinux: Path) -> Path:
    """Two commits on `topic`; main has gone on since."""
    git(fakelinux, "checkout", "-q", "-b", "topic")
    commit(fakelinux, "one", "1\n", "mm: one\n\ndiff --git a/no b/no\n--- a/no\n+++ b/no\n@@ -1 +1 @@\n-x\n+y\n")
    commit(fakelinux, "two", "2\n", "")
    git(fakelinux, "checkout", "-q", "main")
    commit(fakelinux, "later", "3\n", "later")
    return fakelinux


def applied(topic: Path, spec: str, start: str, tmp_path: Path, **kwargs: str) -> series.Applied:
    found = source.resolve(f"git:{topic}", start, tmp_path / "cache")
    return series.apply(mail.read(spec, repository=topic, **kwargs).mails, found)


def test_a_range_is_its_commits_whatever_their_messages_hold(topic: Path, tmp_path: Path) -> None:
    done = applied(topic, "main~1..topic", "main~1", tmp_path)
    assert done.tree == git(topic, "rev-parse", "topic^{tree}")
    assert [patch.subject for patch in done.series.patches] == ["mm: one", ""]
    assert done.series.patches[0].author == "A Developer <a@example.org>"


def test_a_range_stands_on_the_commit_where_it_left(topic: Path) -> None:
    mails = mail.read("main..topic", repository=topic)
    assert len(mails.mails) == 2
    assert mails.base_commit == git(topic, "rev-parse", "main~1")


@pytest.mark.parametrize("kwargs", [{}, {"base": "main~1"}])
def test_a_branch_is_read_from_where_it_left_head_or_the_base_asked_for(
    topic: Path, tmp_path: Path, kwargs: dict[str, str]
) -> None:
    mails = mail.read("topic", repository=topic, **kwargs)
    assert [one.title for one in mails.mails] == ["mm: one", ""]
    assert mails.notes == (f"topic is read from where it left {kwargs.get('base', 'HEAD')}",)


def test_a_branch_whose_name_could_be_a_message_id_is_a_branch(topic: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    git(topic, "branch", "fix@v2", "topic")
    wanted = mail.read("main..topic", repository=topic).mails
    for spec in ("fix@v2", "main..fix@v2", "fix@v2~2..fix@v2"):
        assert mail.read(spec, repository=topic).mails == wanted, spec
    pretend_b4(tmp_path, monkeypatch, "echo 'not on lore'; exit 1")
    others = (("fix@v3", topic), ("main..fix@v3", topic), ("nowhere..fix@v2", topic), ("fix@v2", tmp_path))
    for spec, where in others:
        with pytest.raises(UserError, match=r"could not fetch .*: .*not on lore"):
            mail.read(spec, repository=where)


def test_a_branch_with_an_upstream_is_read_from_there(topic: Path) -> None:
    git(topic, "checkout", "-q", "topic")
    with pytest.raises(UserError, match="topic is HEAD itself"):
        mail.read("topic", repository=topic)
    git(topic, "branch", "-q", "--set-upstream-to=main", "topic")
    mails = mail.read("topic", repository=topic)
    assert (len(mails.mails), mails.notes) == (2, ("topic is read from where it left main",))


def test_an_empty_range_is_an_empty_series(topic: Path, tmp_path: Path) -> None:
    assert mail.read("main..main", repository=topic).mails == ()
    assert applied(topic, "topic..topic", "topic", tmp_path).series.title == "(empty series)"


def test_an_empty_commit_in_a_range_is_left_out_and_that_is_said(topic: Path) -> None:
    git(topic, "checkout", "-q", "topic")
    git(topic, "commit", "-q", "--allow-empty", "-m", "nothing")
    mails = mail.read("main..topic", repository=topic)
    assert len(mails.mails) == 2
    assert mails.notes == ("'nothing' changes nothing and is left out",)


def test_a_commit_hides_no_other_by_what_its_message_holds(topic: Path) -> None:
    git(topic, "checkout", "-q", "topic")
    git(topic, "commit", "-q", "--amend", "-m", "odd\n\n\x01 at its start")
    assert [one.title for one in mail.read("main..topic", repository=topic).mails][-1] == "odd"
    assert len(mail.read("main..topic", repository=topic).mails) == 2


def test_merges_are_refused_by_name(topic: Path) -> None:
    git(topic, "checkout", "-q", "topic")
    git(topic, "merge", "-q", "-m", "merge main", "main")
    with pytest.raises(UserError, match=r"holds 1 merge \([0-9a-f]+\), and a merge is no patch"):
        mail.read("main~1..topic", repository=topic)


@pytest.mark.parametrize("spec", ["main...topic", "nowhere..topic", "main..nowhere", "--all..topic", "no\nwhere", "-x"])
def test_what_is_no_range_is_refused_with_what_would_be(topic: Path, spec: str) -> None:
    with pytest.raises(UserError) as caught:
        mail.read(spec, repository=topic)
    assert "A..B" in (caught.value.hint or "")


def test_a_range_of_two_releases_is_refused(topic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.intake import revisions

    monkeypatch.setattr(revisions, "MOST", 1)
    with pytest.raises(UserError, match="holds 2 commits; a series of more than 1 is not read"):
        mail.read("main..topic", repository=topic)


def test_histories_without_a_common_commit_are_refused(topic: Path) -> None:
    git(topic, "checkout", "-q", "--orphan", "other")
    commit(topic, "x", "x", "other")
    with pytest.raises(UserError, match="no commit in common"):
        mail.read("main..other", repository=topic)


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a git repository"):
        mail.read("A..B", repository=tmp_path)


def test_configuration_hooks_and_attributes_of_the_repository_take_no_part(topic: Path, tmp_path: Path) -> None:
    plain = mail.read("main..topic", repository=topic)
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    evil.chmod(0o755)
    settings = {
        "diff.external": evil, "core.fsmonitor": evil, "core.pager": evil, "diff.x.textconv": evil,
        "diff.x.command": evil,
        "diff.noprefix": "true", "diff.context": "0", "format.signoff": "true", "log.showSignature": "true",
        "i18n.logOutputEncoding": "latin-1", "color.ui": "always", "log.follow": "true", "diff.orderFile": evil,
    }  # fmt: skip
    for key, value in settings.items():
        git(topic, "config", key, str(value))
    (topic / ".git" / "info" / "attributes").write_text("* diff=x\n")
    for hook in ("post-index-change", "reference-transaction", "post-checkout"):
        (topic / ".git" / "hooks" / hook).write_bytes(evil.read_bytes())
        (topic / ".git" / "hooks" / hook).chmod(0o755)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in topic.rglob("*") if file.is_file()}
    assert mail.read("main..topic", repository=topic) == plain
    assert not (tmp_path / "ran").exists()
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in topic.rglob("*") if file.is_file()} == before


def test_bare_shallow_linked_and_borrowed_repositories_give_the_same_series(topic: Path, tmp_path: Path) -> None:
    wanted = mail.read("main..topic", repository=topic)
    git(tmp_path, "clone", "-q", "--bare", str(topic), "bare")
    git(tmp_path, "clone", "-q", "--shared", "--no-checkout", str(topic), "borrowed")
    git(tmp_path, "clone", "-q", "--depth=2", "--no-single-branch", f"file://{topic}", "shallow")
    git(topic, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    for name, span in (
        ("bare", "main..topic"),
        ("borrowed", "origin/main..origin/topic"),
        ("shallow", "origin/topic~1..origin/topic"),
        ("linked", "main..topic"),
    ):
        mails = mail.read(span, repository=tmp_path / name)
        assert mails.mails == wanted.mails[-len(mails.mails) :], name
        assert mails.mails


B4 = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) out=$2; shift;; esac; last=$1; shift; done
echo "Grabbing thread for $last"
{}
"""


def pretend_b4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """A b4 that does what the real one was seen to do, without a network."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "b4").write_text(B4.format(words))
    (tmp_path / "bin" / "b4").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def test_b4_fetches_a_message_id_and_a_lore_address(origin: Source, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    made = SHAPES / "v1-and-v2-in-one-file.mbox"
    pretend_b4(tmp_path, monkeypatch, f'[ "$last" = c2@example.org ] && mkdir $out && cp {made} $out/v2_x.mbx')
    for spec in ("c2@example.org", "<c2@example.org>", "https://lore.kernel.org/linux-mm/c2@example.org/T/#u"):
        mails = mail.read(spec)
        assert (mails.version, len(mails.patches)) == (2, 2)
        assert series.apply(mails.mails, origin).series.title == "kernel: spell numbers"


def test_what_b4_says_when_it_cannot_fetch_is_passed_on_with_another_way(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    pretend_b4(tmp_path, monkeypatch, "echo 'Server returned an error: 404'; exit 1")
    with pytest.raises(UserError, match=r"could not fetch a@example\.org: .*404") as caught:
        mail.read("a@example.org")
    assert "mbox" in (caught.value.hint or "")


def test_without_b4_the_error_says_what_to_install_or_to_save(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="b4 is needed to fetch a@example") as caught:
        mail.read("a@example.org")
    assert caught.value.hint == (
        "pip install b4, or save the thread as an mbox (lore's `mbox.gz` link) and give that file"
    )


def patch(text: str) -> mail.Mail:
    return mail.read_bytes(text.encode(), "x.patch").mails[0]


def create(path: str, mode: str = "100644") -> str:
    return f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        (create("kernel/alpha.c"), "already exists"),
        (create("kernel"), "kernel"),
        (create("kernel/alpha.c/below"), "kernel/alpha.c/below"),
        ("--- a/kernel/gone.c\n+++ b/kernel/gone.c\n@@ -1 +1 @@\n-x\n+y\n", "does not exist"),
        ("diff --git a/gone b/here\nsimilarity index 100%\nrename from gone\nrename to here\n", "does not exist"),
        ("--- a/kernel/alpha.c\n+++ b/kernel/alpha.c\n@@ -1 +1 @@\n-x\n+y\n", "hunk 1 of 1 of kernel/alpha.c"),
        ("--- a/kernel/alpha.c\n+++ b/kernel/alpha.c\n@@ -1,9 +1 @@\n-x\n+y\n", "corrupt patch"),
    ],
)
def test_what_the_whole_index_would_refuse_is_refused(origin: Source, diff: str, words: str) -> None:  # noqa: F811
    with pytest.raises(UserError, match="does not apply") as caught:
        series.apply([patch(diff)], origin)
    assert words in caught.value.message


def edits(name: str, wrong: str, *, top: str = "a/") -> str:
    """Two hunks of a file of nine numbered lines, as quilt writes them; the second one has a line that is not so."""
    stem = Path(name).stem
    first = f"@@ -1,2 +1,3 @@\n+new\n {stem} 1\n {stem} 2\n"
    return f"--- {top}{name}\n+++ {top}{name}\n{first}@@ -7,3 +8,3 @@\n {stem} 7\n-{wrong}\n+x\n {stem} 9\n"


@pytest.mark.parametrize("top", ["a/", "linux-6.1/", ""])
def test_the_hunk_that_fails_is_counted_in_its_own_file(origin: Source, top: str) -> None:  # noqa: F811
    text = edits("kernel/beta.c", "beta 8", top=top) + edits("kernel/alpha.c", "wrong", top=top)
    one = replace(patch(text), strip=top.count("/"))
    with pytest.raises(UserError, match=r"does not apply: hunk 2 of 2 of kernel/alpha\.c, at line 7$"):
        series.apply([one], origin)
    done = series.apply([replace(patch(edits("kernel/alpha.c", "alpha 8", top=top)), strip=one.strip)], origin)
    patched = replace(origin, commit=done.commits[-1], tree=done.tree)
    with pytest.raises(UserError, match=r"taken out of base: hunk 1 of 2 of kernel/beta\.c, at line 1$"):
        history.revert([replace(patch(edits("kernel/beta.c", "beta 8", top=top)), strip=one.strip)], patched)


def test_a_directory_may_become_a_file_and_a_file_a_directory(origin: Source) -> None:  # noqa: F811
    gone = "".join(
        f"diff --git a/kernel/{name}.c b/other/{name}.c\nsimilarity index 100%\n"
        f"rename from kernel/{name}.c\nrename to other/{name}.c\n"
        for name in ("alpha", "beta")
    )
    done = series.apply([patch(gone), patch(create("kernel"))], origin)
    listing = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", done.tree],
        cwd=origin.git_dir,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert listing.split() == ["dos.txt", "kernel", "latin.txt", "other/alpha.c", "other/beta.c"]


def test_a_list_of_more_files_than_one_command_line_holds_is_applied(origin: Source, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    monkeypatch.setattr(series, "_NAMED_AT_ONCE", 2)
    both = mail.read(SHAPES / "plain-git-diff.diff").mails
    assert series.apply(both, origin).series.patches[0].files == ("kernel/alpha.c", "kernel/beta.c")


def test_what_git_warns_of_while_it_lists_files_is_no_part_of_a_name(origin: Source) -> None:  # noqa: F811
    names = [f"kernel/{'long-' * 10}{number}.c" for number in range(300)]
    made = patch("".join(create(name).replace("+x\n", "+x \n") for name in names))
    done = series.apply([made], origin)
    assert done.series.patches[0].files == tuple(sorted(names))
    without, taken = history.revert([made], replace(origin, commit=done.commits[-1], tree=done.tree))
    assert (without.tree, taken.tree) == (origin.tree, done.tree)


def test_an_author_and_a_date_that_git_would_not_take_do_not_stop_a_series(origin: Source) -> None:  # noqa: F811
    good = patch(create("new"))
    odd = replace(good, author="<a>\n\0", email="<>\n", date="Mon, 99 Jan 99999 77:00:00 +9900", body=b"nul\0\n")
    for one in (odd, replace(odd, author="", email="", date="Thu, 1 Jan 1970 00:00:00 -9999")):
        done = series.apply([one], origin)
        checked = subprocess.run(["git", "fsck", "--strict", done.commits[0]], cwd=origin.git_dir, check=False)
        assert checked.returncode == 0


def test_a_date_is_kept_with_its_zone(origin: Source) -> None:  # noqa: F811
    done = series.apply(mail.read(SHAPES / "dep3-fields-like-a-mail.patch").mails, origin)
    assert git(origin.git_dir, "log", "-1", "--format=%aI", done.commits[0]) == "2024-01-01T10:00:00+01:00"


def test_a_quilt_option_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text(create("new"))
    (tmp_path / "series").write_text("a.patch -R\n")
    with pytest.raises(UserError, match="the option '-R' is not understood"):
        mail.read(tmp_path)
    (tmp_path / "series").write_text("# nothing yet\n")
    assert quilt.read(tmp_path / "series") == []
    assert mail.read(tmp_path).mails == ()


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """A quilt directory as Debian's kernel has it: its patches in directories of their own, in no order of names."""
    top = tmp_path / "patches"
    names = ["bugfix/one", "features/all/zulu", "features/all/sub/alpha", "features/all/mike"]
    for name in [*names, "features/all/not-listed"]:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / f"{name}.patch").write_text(f"From: A <a@example.org>\nSubject: [28/30] {name}\n\n{create(name)}")
    (top / "series").write_text("# all\n\n" + "".join(f"{name}.patch\n" for name in names))
    return top


def test_a_directory_of_a_quilt_directory_is_taken_in_the_order_of_the_series_file_above(queue: Path) -> None:
    mails = mail.read(queue / "features" / "all")
    assert [one.title for one in mails.mails] == ["features/all/zulu", "features/all/sub/alpha", "features/all/mike"]
    assert mails.notes == (
        f"the order is that of {queue}/series, which lists 1 other patch before the last of these",
        "not listed there and left out: not-listed.patch",
    )
    assert mail.read(queue / "bugfix").notes == (f"the order is that of {queue}/series",)


def test_a_directory_that_the_series_file_above_does_not_list_is_read_by_itself(queue: Path) -> None:
    (queue / "series").write_text("bugfix/one.patch\n")
    with pytest.raises(UserError, match="the series is not complete") as caught:
        mail.read(queue / "features" / "all")
    assert "; mike.patch is 28 of 30" in caught.value.message


@pytest.mark.parametrize("content", [b"\0", b"x" * (2 << 20), b"features/all", b"# features/all/mike.patch\n"])
def test_a_file_above_that_is_no_series_file_means_nothing(queue: Path, content: bytes) -> None:
    (queue / "series").write_bytes(content)
    (queue / "features" / "series").symlink_to("series")
    assert quilt.part(queue / "features" / "all") is None


def test_a_package_is_answered_with_its_quilt_directory(queue: Path) -> None:
    with pytest.raises(UserError, match="holds no patch") as caught:
        mail.read(queue.parent)
    assert caught.value.hint == f"{queue} is a quilt directory: give that"


def test_the_series_file_itself_can_be_named(origin: Source) -> None:  # noqa: F811
    named = mail.read(SHAPES / "quilt-with-options-and-comments" / "series")
    assert named == mail.read(SHAPES / "quilt-with-options-and-comments")


def test_a_pipe_is_read_as_a_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, create("new").encode())
    os.close(writing)
    assert mail.read(f"/dev/fd/{reading}").mails[0].diff
    os.close(reading)


def test_a_pipe_without_a_writer_does_not_keep_kdelta_from_ending(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.patch")
    proc.stop.set()
    try:
        for path in (tmp_path / "a.patch", tmp_path):
            with pytest.raises(Interrupted):
                mail.read(path)
    finally:
        proc.stop.clear()


def test_a_link_to_nothing_in_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.patch").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"no such series: \S+/a\.patch \(No such file"):
        mail.read(tmp_path)
