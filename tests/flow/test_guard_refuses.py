"""A hostile series on the command line: what is said, how it ends, and that nothing is left behind."""

from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator.intake import guard, mail, series, source
from tests.conftest import Kdelta
from tests.flow.conftest import git
from tests.hostile import HOSTILE

MAIL = b"From: A <a@example.org>\nDate: Mon, 23 Nov 2026 12:00:00 +0000\nSubject: [PATCH] evil\n\nWhy.\n---\n\n"


def files_below(top: Path) -> dict[str, bytes]:
    return {str(file.relative_to(top)): file.read_bytes() for file in top.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_series_exits_2_with_words_and_leaves_nothing(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path, name: str
) -> None:
    diff, line, words = HOSTILE[name]
    patch, scratch, repository = tmp_path / "0001-evil.patch", tmp_path / "tmp", files_below(fakelinux)
    patch.write_bytes(MAIL + diff)
    scratch.mkdir()
    where = {"KDELTA_CACHE": str(tmp_path / "cache"), "TMPDIR": str(scratch)}
    done = kdelta("run", patch, "--kernel", f"git:{fakelinux}", **where)
    assert done.returncode == 2, done.stderr
    if name in ("ed, diff -e", "normal diff"):  # what git does not take for a diff is refused as a mail
        assert "0001-evil.patch holds no patch" in done.stderr
    else:
        assert done.stderr.startswith(f"Error: 0001-evil.patch: line {line + 2} of its diff: "), done.stderr
        assert words in done.stderr
    assert "  hint: " in done.stderr
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert not (tmp_path / "results").exists()
    assert list(scratch.iterdir()) == []
    assert files_below(fakelinux) == repository
    assert not (tmp_path / "cache" / "trees").exists()


def test_a_symlink_that_git_makes_of_a_plain_diff_is_refused_too(fakelinux: Path, tmp_path: Path) -> None:
    """The text does not say that the file is a link: only the tree does."""
    (fakelinux / "mm" / "link").symlink_to("madvise.c")
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "a link")
    hunk = b"@@ -1 +1 @@\n-madvise.c\n\\ No newline at end of file\n+/etc/passwd\n\\ No newline at end of file\n"
    (tmp_path / "0001-x.patch").write_bytes(MAIL + b"--- a/mm/link\n+++ b/mm/link\n" + hunk)
    mails = mail.read(tmp_path / "0001-x.patch").mails
    guard.check((one.source, one.diff) for one in mails)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(UserError, match=r"0001-x\.patch: 'mm/link': a symlink to '/etc/passwd'"):
        series.apply(mails, origin)


def test_a_link_that_a_rename_moves_up_is_refused(fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "mm" / "link").symlink_to("../mm/madvise.c")
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "a link")
    rename = b"diff --git a/mm/link b/link\nsimilarity index 100%\nrename from mm/link\nrename to link\n"
    (tmp_path / "0001-x.patch").write_bytes(MAIL + rename)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(UserError, match=r"symlink to '\.\./mm/madvise\.c', which leaves the tree"):
        series.apply(mail.read(tmp_path / "0001-x.patch").mails, origin)


def test_a_binary_file_is_applied_when_it_is_allowed(fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "logo.bin").write_bytes(bytes(range(256)))
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "a logo")
    git(fakelinux, "format-patch", "-q", "--binary", "-o", str(tmp_path / "series"), "HEAD^")
    wanted = git(fakelinux, "rev-parse", "HEAD^{tree}")
    origin = source.resolve(f"git:{fakelinux}", "HEAD^", tmp_path / "cache")
    mails = mail.read(tmp_path / "series").mails
    with pytest.raises(UserError, match="binary file"):
        series.apply(mails, origin)
    assert series.apply(mails, origin, guard.Limits(allow_binary=True)).tree == wanted
