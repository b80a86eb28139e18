"""Folders of mail, and messages made to be hard to take apart."""

import time
from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator.intake import letters, mail

DIFF = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"
MAIL = f"From: A <a@example.org>\nSubject: [PATCH] x\nMessage-ID: <1@example.org>\n\nWhy.\n---\n\n{DIFF}"


def folder(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(MAIL)
    return top


def test_a_maildir_may_lack_cur_or_new_or_tmp(tmp_path: Path) -> None:
    for number, names in enumerate((["cur/1.host:2,S"], ["new/1.host", "tmp/2.host"], ["cur/1.host", "new/2.host"])):
        assert len(mail.read(folder(tmp_path / str(number), *names)).patches) == 1
    with pytest.raises(UserError, match="holds no patch"):
        mail.read(folder(tmp_path / "patches", "new/0001-x.patch"))


def test_a_link_to_nothing_and_a_directory_in_a_maildir_do_not_stop_it(tmp_path: Path) -> None:
    box = folder(tmp_path / "box", "cur/1.host:2,S", "cur/sub/2.host")
    (box / "cur" / "3.host").symlink_to(tmp_path / "nowhere")
    mails = mail.read(box)
    assert (len(mails.patches), mails.notes) == (1, ("3.host is a link to nothing and left out",))


@pytest.mark.parametrize("inner", [".Kernel/cur", "Kernel/cur"])
@pytest.mark.parametrize("outer", ["cur/.keep", "README"])
def test_a_folder_without_patches_names_the_folders_inside(tmp_path: Path, inner: str, outer: str) -> None:
    box = folder(tmp_path / "box", outer, f"{inner}/1.host:2,S")
    with pytest.raises(UserError, match="box holds no patch") as caught:
        mail.read(box)
    name = inner.split("/", maxsplit=1)[0]
    assert caught.value.hint == f"it has folders, which are not looked at: {name}; give one of them"
    assert len(mail.read(box / name).patches) == 1


def test_a_directory_of_patches_is_no_mh_folder(tmp_path: Path) -> None:
    top = folder(tmp_path / "top", "1", "2.patch")
    assert [one.source for one in mail.read(top).patches] == ["2.patch"]


PART = "Content-Type: multipart/mixed; boundary=b{0}\n\n--b{0}\n"
MESSAGE = "Content-Type: message/rfc822\n\nFrom: A <a@example.org>\nSubject: x\n"


@pytest.mark.parametrize("part", [PART, MESSAGE])
def test_parts_in_parts_without_end_are_refused(part: str) -> None:
    deep = "".join(part.format(number) for number in range(3000))
    text = f"From: A <a@example.org>\nSubject: x\nMIME-Version: 1.0\n{deep}Content-Type: text/plain\n\n{DIFF}"
    with pytest.raises(UserError, match="deep: its parts stand too deep in one another") as caught:
        mail.read_bytes(text.encode(), "deep")
    assert caught.value.hint
    with pytest.raises(UserError, match="too deep"):
        letters.one(text.encode(), "deep")


def test_a_packed_attachment_that_is_damaged_is_refused_and_one_of_another_kind_is_not_looked_at() -> None:
    part = 'Content-Type: application/gzip; name="{0}"\nContent-Disposition: attachment; filename="{0}"\n\n\x1f\x8bxx\n'
    head = "From: A <a@example.org>\nSubject: x\nContent-Type: multipart/mixed; boundary=B\n"
    text = f"{head}\n--B\n\n{DIFF}\n--B\n{part}--B--\n"
    assert len(mail.read_bytes(text.format("log.tar.gz").encode("latin-1"), "x").patches) == 1
    with pytest.raises(UserError, match="the compressed series is damaged"):
        mail.read_bytes(text.format("x.patch.gz").encode("latin-1"), "x")


@pytest.mark.parametrize(
    ("names", "level"),
    [
        ([("a/mm/x.c", "b/mm/x.c")], 1),
        ([("mm/x.c", "mm/x.c")], 0),
        ([("mm/x.c.orig", "mm/x.c")], 0),
        ([("Makefile", "Makefile")], 0),
        ([("mm/x.c", "mm/x.c"), ("/dev/null", "mm/new.c")], 0),
        ([("a/mm/x.c", "b/mm/x.c"), ("mm/y.c", "mm/y.c")], 1),
        ([("linux-6.1/mm/x.c", "linux/mm/x.c")], 1),
        ([("linux/mm/x.c", "linux/mm/x.c")], 1),
        ([("./mm/x.c", "./mm/x.c")], 1),
        ([("/dev/null", "b/mm/x.c")], 1),
        ([("a/a", "a/a")], 1),
    ],
)
def test_a_plain_diff_says_by_its_names_where_they_begin(names: list[tuple[str, str]], level: int) -> None:
    hunk = "@@ -1,2 +1,2 @@\n x\n--- a/y\n+++ b/y\n"  # a line `-- a/y` goes
    diff = "".join(f"--- {old}\t2024\n+++ {new}\t2024\n{hunk}" for old, new in names)
    assert letters.strip(diff.encode()) == level


def test_names_of_any_length_are_compared_at_once() -> None:
    began = time.process_time()
    assert letters.strip(b"diff --git " + b"a " * 500_000 + b"\n") == 1
    assert letters.strip(b"diff --git " + b"a " * 499_999 + b"a\n") == 0
    assert letters.strip(b"diff --git x/x\n") == 1
    assert time.process_time() - began < 5.0
