"""What a diff may not do, found in its text alone."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvm.errors import UserError
from orchestrator.intake import guard, patchtext
from orchestrator.intake.patchtext import Says
from tests.hostile import HOSTILE

BUNDLED = Path(__file__).resolve().parents[2] / "patches"
PLAIN = (
    b"diff --git a/mm/x.c b/mm/x.c\nindex 1234567..89abcde 100644\n--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1 +1 @@\n-a\n+b\n"
)


def link(target: bytes, path: bytes = b"d/l") -> bytes:
    return (
        b"diff --git a/%s b/%s\nnew file mode 120000\nindex 0000000..1234567\n--- /dev/null\n+++ b/%s\n"
        b"@@ -0,0 +1 @@\n+%s\n\\ No newline at end of file\n" % (path, path, path, target)
    )


def refused(diff: bytes, limits: guard.Limits = guard.DEFAULT) -> UserError:
    with pytest.raises(UserError) as caught:
        guard.check([("0001-x.patch", diff)], limits)
    return caught.value


@pytest.mark.parametrize("name", HOSTILE)
def test_each_refusal_names_patch_and_line_and_a_remedy(name: str) -> None:
    diff, line, words = HOSTILE[name]
    fault = refused(diff)
    assert fault.message.startswith(f"0001-x.patch: line {line} of its diff: ")
    assert words in fault.message
    assert fault.hint


@pytest.mark.parametrize("file", sorted(BUNDLED.rglob("0*.patch")), ids=lambda file: f"{file.parent.name}-{file.name}")
def test_the_bundled_series_pass(file: Path) -> None:
    guard.check([(file.name, file.read_bytes())])


@pytest.mark.parametrize("target", [b"x", b"../x", b"../mm/x.c", b"./x", b"a/b"])
def test_a_symlink_that_stays_in_the_tree_passes(target: bytes) -> None:
    guard.check([("0001-x.patch", link(target))])


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../x", b"..//../x", b"a/../../../x", b"m/../x", b".git/hooks"])
def test_a_symlink_that_leaves_the_tree_is_refused_also_where_it_goes_through_another(target: bytes) -> None:
    assert "symlink" in refused(link(target)).message


@pytest.mark.parametrize(
    "component",
    [
        *(".git", ".GIT", ".Git", ".git ", ".git.", ".git. .", ".git::$INDEX_ALLOCATION", "git~1", "GIT~2"),
        *(".g\u200cit", ".\u200dgit", ".git\ufeff", ".gitmodules", ".gitmodules ", "gitmod~1", "GI7EBA~1"),
    ],
)
def test_every_spelling_of_git_directories_is_refused(component: str) -> None:
    diff = PLAIN.replace(b"mm/x.c", f"mm/{component}/hooks".encode())
    assert re.search("file of git itself|git would fetch|control character", refused(diff).message)


@pytest.mark.parametrize("component", [".gitignore", ".gitattributes", "git", "digit~1", ".github", "..config", "a..b"])
def test_names_that_only_look_like_it_pass(component: str) -> None:
    guard.check([("0001-x.patch", PLAIN.replace(b"mm/x.c", f"mm/{component}".encode()))])


def test_a_binary_file_passes_with_the_option_and_not_without() -> None:
    diff, *_ = HOSTILE["binary"]
    assert refused(diff).hint == "--allow-binary lets it pass"
    guard.check([("0001-x.patch", diff)], guard.Limits(allow_binary=True))
    huge = diff.replace(b"literal 3", b"literal 99999999999999999999")
    assert "--max-patch-size" in (refused(huge, guard.Limits(allow_binary=True)).hint or "")


def test_limits_are_on_one_patch_on_the_series_and_on_its_files() -> None:
    assert "the patch is larger" in refused(PLAIN, guard.Limits(patch_bytes=100)).message
    two = [("0001-x.patch", PLAIN), ("0002-y.patch", PLAIN)]
    with pytest.raises(UserError, match=r"0002-y\.patch: .*the series is larger"):
        guard.check(two, guard.Limits(series_bytes=len(PLAIN) + 1))
    with pytest.raises(UserError, match=r"0002-y\.patch: line 1 .*more than 1 files"):
        guard.check(two, guard.Limits(files=1))
    guard.check(two, guard.Limits(patch_bytes=len(PLAIN), series_bytes=2 * len(PLAIN), files=2))
    with pytest.raises(UserError, match="more than 2 files"):
        guard.check([("0001-x.patch", b"diff -u a b\n" * 3)], guard.Limits(files=2))


def test_the_longest_names_that_a_file_system_takes_pass() -> None:
    guard.check([("x", PLAIN.replace(b"mm/x.c", b"d/" * 390 + b"x" * 240))])
    guard.check([("x", PLAIN.replace(b"mm/x.c", b"mm/" + b"x" * 255))])
    guard.check([("x", link(b"d/" * 390 + b"x" * 240))])


def test_a_path_of_any_length_is_refused_at_once_and_in_few_words() -> None:
    began = time.process_time()
    for path in (
        b"a/" * 500_000 + b"x",
        b"a /" * 500_000 + b"x",
        b"\x01" * 1_000_000,
        b'"' + b"\\001" * 500_000 + b'"',
    ):
        for diff in (PLAIN.replace(b"mm/x.c", path), link(b"x", path), link(path)):
            assert len(refused(diff).message) < 300
    assert time.process_time() - began < 5.0


def test_what_stands_in_a_hunk_is_content_and_no_header() -> None:
    hostile = b"--- a/../../x\n+++ b/.git/config\n rename from ../y\n+1d\n+new file mode 120000\n"
    guard.check([("x", PLAIN.replace(b"@@ -1 +1 @@\n-a\n+b\n", b"@@ -1,2 +1,4 @@\n" + hostile))])


def test_words_ahead_of_the_diff_are_no_header() -> None:
    guard.check([("x", b"---\nold mode 777 is gone\nindex ..\n1d\nrename from ../here\n a/x | 2 +-\n\n" + PLAIN)])


def test_a_hunk_that_is_cut_short_hides_nothing() -> None:
    cut = PLAIN.replace(b"@@ -1 +1 @@", b"@@ -1,9 +1,9 @@") + PLAIN.replace(b"mm/x.c", b"../x.c")
    assert "leaves the tree" in refused(cut).message


def test_blobs_and_paths_are_read() -> None:
    [section] = patchtext.parse(PLAIN)
    assert (section.old_path, section.new_path, section.blobs) == ("mm/x.c", "mm/x.c", ("1234567", "89abcde"))
    [section] = patchtext.parse(link(b"x"))
    assert (section.old_path, section.new_path, section.is_link) == (None, "d/l", True)


LINES = st.sampled_from(
    [line for diff, *_ in HOSTILE.values() for line in diff.split(b"\n")]
    + PLAIN.split(b"\n")
    + [
        b"--- z",
        b"+++ b/y",
        b"@@ -1,2 +1,2 @@",
        b"@@ -1,0 +1,0 @@",
        b"diff --git a/a b b/a b",
        b"rename new w",
        b"\r",
        b"-- ",
    ]
)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_no_bytes_make_a_traceback(diff: bytes) -> None:
    for text in (diff, PLAIN + diff, b"diff --git " + diff, b"--- " + diff + b"\n+++ " + diff):
        try:
            guard.check([("x", text)], guard.Limits(allow_binary=True))
        except UserError as fault:
            assert fault.hint


@given(st.lists(LINES, max_size=14))
@settings(max_examples=60)
def test_no_file_that_git_would_touch_is_overlooked(lines: list[bytes]) -> None:
    diff = b"\n".join(lines) + b"\n"
    said = subprocess.run(["git", "apply", "--numstat", "-z", "-"], input=diff, capture_output=True, check=False)
    try:
        guard.check([("x", diff)])
    except UserError:
        return
    touched = {row.split(b"\t")[2] for row in said.stdout.split(b"\0") if row.count(b"\t") == 2}
    seen = b"\n".join(
        b"\n".join(patchtext.git_names(fact.value)) if fact.says is Says.NAMES else patchtext.file_name(fact.value)
        for section in patchtext.parse(diff)
        for fact in section.facts
    )
    assert said.returncode != 0 or all(name in seen or b" " in name for name in touched)
