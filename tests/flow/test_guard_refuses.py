"""A hostile series on the command line: what is said, how it ends, and that nothing is left behind."""

import re
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


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        (b"diff --git a/l b/l\nnew file mode 120000\nindex 0000000..e69de29\n", r"'l': a symlink to ''"),
        (b"diff --git a/%s b/%s\nnew file mode 100644\n" % ((b"x " * 150 + b"x",) * 2), "longer than 255 bytes"),
    ],
)
def test_what_no_file_system_can_hold_is_refused_also_where_git_alone_sees_it(
    fakelinux: Path, tmp_path: Path, diff: bytes, words: str
) -> None:
    (tmp_path / "0001-x.patch").write_bytes(MAIL + diff)
    mails = mail.read(tmp_path / "0001-x.patch").mails
    guard.check((one.source, one.diff) for one in mails)
    with pytest.raises(UserError, match=words):
        series.apply(mails, source.resolve(f"git:{fakelinux}", None, tmp_path / "cache"))


LIMITS = {
    "--max-patch-size": (
        "500",
        r"0001-a\.patch: line 1 of its diff: the patch is larger than 500 bytes \([0-9,]+ so far\)",
    ),
    "--max-series-size": ("500", r"0002-b\.patch: line 1 of its diff: the series is larger than 500 bytes"),
    "--max-files": ("1", r"0002-b\.patch: line 3 of its diff: more than 1 files"),
}


@pytest.mark.parametrize("option", LIMITS)
@pytest.mark.parametrize("by", ["the command line", "pipeline.yaml"])
def test_a_series_beyond_a_limit_exits_2_and_names_the_option(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path, option: str, by: str
) -> None:
    big = option == "--max-patch-size"
    for number, name in enumerate(("a", "b"), 1):
        body = b"".join(b"+line %d of many\n" % line for line in range(40 if big else 15))
        count = body.count(b"\n")
        diff = b"diff --git a/%s b/%s\nnew file mode 100644\n--- /dev/null\n+++ b/%s\n@@ -0,0 +1,%d @@\n%s"
        text = MAIL.replace(b"[PATCH]", b"[PATCH %d/2]" % number) + diff % ((name.encode(),) * 3 + (count, body))
        (tmp_path / "series").mkdir(exist_ok=True)
        (tmp_path / "series" / f"000{number}-{name}.patch").write_bytes(text)
    most, words = LIMITS[option]
    key = {"--max-patch-size": "patch_size", "--max-series-size": "series_size", "--max-files": "files"}[option]
    args = ["run", tmp_path / "series", "--kernel", f"git:{fakelinux}"]
    if by == "pipeline.yaml":
        (tmp_path / "pipeline.yaml").write_text(f"accept:\n  {key}: {most}\n")
    else:
        args += [option, most]
    done = kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2, done.stderr
    assert re.match(f"Error: {words}", done.stderr), done.stderr
    assert f"  hint: {option} sets the limit" in done.stderr
    assert not (tmp_path / "results").exists()
    plan = [*args[1:4], option, "1000000", "--arch", "arm64"]
    assert kdelta("plan", *plan, KDELTA_CACHE=str(tmp_path / "cache")).returncode == 0


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
