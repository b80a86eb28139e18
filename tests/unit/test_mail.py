"""Which messages are the series, what a spec names, and that no bytes at all end in a traceback."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvm.errors import UserError
from orchestrator.intake import choice, cover, letters, lore, mail
from orchestrator.intake.head import Head
from orchestrator.intake.mail import Kind
from orchestrator.intake.patch import Mail
from orchestrator.model import Posting

EXAMPLES = int(os.environ.get("KDELTA_EXAMPLES", "100"))
FIXED = "KDELTA_EXAMPLES" not in os.environ  # a search for more is at random; the usual run is the same every time
SHAPES = Path(__file__).resolve().parents[1] / "data" / "mail"


def head(subject: str, *, mid: str = "", parents: tuple[str, ...] = (), diff: bool = True) -> Head:
    return Head("x", subject, mid or subject, parents, diff)


@pytest.mark.parametrize(
    ("subject", "number", "version", "title"),
    [
        ("[PATCH] mm: fix", None, (1, 0), "mm: fix"),
        ("[PATCH v3 2/7] mm: fix", (2, 7), (3, 0), "mm: fix"),
        ("[PATCH RFC 1/2] mm: fix", (1, 2), (1, 0), "mm: fix"),
        ("[RFC PATCH v12 01/10] mm: fix", (1, 10), (12, 0), "mm: fix"),
        ("[RFCv2 1/2] mm: fix", (1, 2), (2, 0), "mm: fix"),
        ("[PATCH net-next v2 03/10] mm: fix", (3, 10), (2, 0), "mm: fix"),
        ("[v2,1/3] mm: fix", (1, 3), (2, 0), "mm: fix"),
        ("[list] [PATCH][V2][1/2] mm: fix", (1, 2), (2, 0), "mm: fix"),
        ("[PATCH RESEND v2 1/2] mm: fix", (1, 2), (2, 1), "mm: fix"),
        ("[PATCH 5.10 001/120] mm: fix", (1, 120), (1, 0), "mm: fix"),
        ("[RFC PATCH v2 00/03] mm: fix", (0, 3), (2, 0), "mm: fix"),
        ("[PATCH v3 2 / 3] mm: fix", (2, 3), (3, 0), "mm: fix"),
        ("[PATCH v3 2 of 3] mm: fix", (2, 3), (3, 0), "mm: fix"),
        ("[PATCH 02 of 03] mm: fix", (2, 3), (1, 0), "mm: fix"),
        ("[PATCH2/3] mm: fix", (2, 3), (1, 0), "mm: fix"),
        ("[PATCH-v3 1/3] mm: fix", (1, 3), (3, 0), "mm: fix"),
        ("[RFC_V2 1/3] mm: fix", (1, 3), (2, 0), "mm: fix"),
        ("[PATCH out of 3] mm: fix", None, (1, 0), "mm: fix"),
        ("[PATCH v2.1 2/3] mm: fix", (2, 3), (1, 0), "mm: fix"),
        ("[PATCH v4.19-rt 1/2] mm: fix", (1, 2), (1, 0), "mm: fix"),
        ("[PATCH 1/2] [PATCH v9 3/4] quoted", (1, 2), (1, 0), "quoted"),
        ("[PATCH] [PATCH v7 3/9] quoted", None, (1, 0), "quoted"),
        ("[RESEND] [PATCH v2 1/2] mm: fix", (1, 2), (2, 1), "mm: fix"),
        ("mm: 1/2 of [v3] things", None, (1, 0), "mm: 1/2 of [v3] things"),
        ("[PATCH 0/0] nothing", None, (1, 0), "nothing"),
        ("[PATCH 00/00] nothing", None, (1, 0), "nothing"),
        ("[PATCH 99999999999999999999/7] much", None, (1, 0), "much"),
        ("", None, (1, 0), ""),
    ],
)
def test_a_subject_says_number_version_and_title(
    subject: str, number: tuple[int, int] | None, version: tuple[int, int], title: str
) -> None:
    found = head(subject)
    assert (found.number, found.version, found.title, found.reply) == (number, version, title, False)
    answer = head(f"Re: {subject}")
    assert (answer.number, answer.version, answer.title, answer.reply) == (number, version, title, True)


def test_missing_numbers_are_listed_as_spans() -> None:
    with pytest.raises(UserError, match=r"in v2, patches 1, 3-5 and 7 of 8 are missing"):
        choice.from_thread([head(f"[PATCH v2 {number}/8] x") for number in (0, 2, 6, 8)])
    with pytest.raises(UserError, match="patch 1 of 2 is missing"):
        choice.from_directory([head("[PATCH 2/2] x")])


def test_a_patch_beyond_the_end_of_its_series_comes_last() -> None:
    assert choice.from_thread([head("[PATCH 3/2] late"), head("[PATCH 2/2] b"), head("[PATCH 1/2] a")]).order == (
        2,
        1,
        0,
    )


def test_patches_without_a_thread_are_one_series_as_long_as_their_numbers_fit() -> None:
    assert choice.from_thread([head("[PATCH 2/2] b"), head("[PATCH 1/2] a")]).order == (1, 0)


def test_of_two_threads_the_one_with_the_newer_version_is_taken() -> None:
    old = [head(f"[PATCH {n}/2] x", mid=f"<a{n}>", parents=("<a0>",)) for n in (1, 2)]
    new = [head(f"[PATCH v2 {n}/2] x", mid=f"<b{n}>", parents=("<b0>", "<a0>")) for n in (1, 2)]
    assert choice.from_thread([*old, *new]).order == (2, 3)


def test_an_incomplete_copy_of_a_series_in_another_thread_is_left_out() -> None:
    whole = [head(f"[PATCH {n}/2] x{n}", mid=f"<a{n}>", parents=("<a0>",)) for n in (1, 2)]
    part = [head("[PATCH 2/2] x2", mid="<b2>", parents=("<b0>",))]
    chosen = choice.from_thread([*part, *whole])
    assert chosen.order == (1, 2)
    assert chosen.notes == ("other patches of v1 were left out: patch 1 of 2 is missing",)


def test_a_patch_that_was_sent_again_alone_as_v2_1_takes_the_place_of_that_of_v2() -> None:
    whole = [head(f"[PATCH v2 {n}/3] x{n}", mid=f"<a{n}>", parents=("<a0>",)) for n in (1, 2, 3)]
    other = head("[PATCH v4.19 3/3] y", mid="<c>", parents=("<c0>",))
    for late in (
        head("[PATCH v2.1 2/3] better", mid="<b>", parents=("<a2>", "<a0>")),
        head("[PATCH v2.1 2/3] x2", mid="<b>"),
    ):
        chosen = choice.from_thread([late, *whole, other])
        assert chosen.order == (1, 0, 3)
        assert f"'[PATCH v2.1 2/3] {late.title}' takes the place of '[PATCH v2 2/3] x2'" in chosen.notes
    stranger = head("[PATCH v2.1 2/3] other", mid="<b>", parents=("<d>",))
    assert choice.from_thread([stranger, *whole]).order == (1, 2, 3)
    newest = [head(f"[PATCH v2.{minor} 2/3] x2", mid=f"<m{minor}>") for minor in (10, 9)]
    assert choice.from_thread([*whole, *newest]).order == (0, 3, 2)
    assert choice.from_directory([*whole, *newest]).order == (0, 3, 2)


def two_series(newer: str, title: str, parents: tuple[str, ...] = ()) -> list[Head]:
    old = [head(f"[PATCH {n}/2] one{n}", mid=f"<a{n}>", parents=("<a0>",)) for n in (1, 2)]
    return old + [head(f"[PATCH {newer} {n}/2] {title}{n}", mid=f"<b{n}>", parents=("<b0>", *parents)) for n in (1, 2)]


def test_an_older_series_of_other_patches_is_no_older_version_of_this_one() -> None:
    with pytest.raises(UserError, match=r"more than one series is in it: 'one1' and 'other1' \(v3\)") as caught:
        choice.from_thread(two_series("v3", "other"))
    assert caught.value.hint
    for same in (two_series("v3", "one"), two_series("v3", "other", ("<a0>",)), two_series("v3", "ONE")):
        chosen = choice.from_thread(same)
        assert (chosen.order, chosen.notes) == ((2, 3), ("v1 (2 patches) was left out: v3 is newer",))
    chosen = choice.from_thread(two_series("v3", "other")[1:])
    assert (chosen.order, chosen.notes) == ((1, 2), ("other patches of v1 were left out: patch 1 of 2 is missing",))


def test_a_newer_patch_without_number_replaces_a_series_only_if_it_comes_from_it() -> None:
    old = two_series("v3", "x")[:2]
    with pytest.raises(UserError, match=r"more than one series is in it: 'one1' and 'other' \(v2\)"):
        choice.from_thread([*old, head("[PATCH v2] other")])
    chosen = choice.from_thread([*old, head("[PATCH v2] squashed", parents=("<a0>",))])
    assert (chosen.order, chosen.version) == ((2,), 2)


def test_in_a_directory_an_older_series_of_other_patches_counts_too() -> None:
    chosen = choice.from_directory(two_series("v3", "other"))
    assert chosen.order == (0, 1, 2, 3)
    assert "2 series stand in one directory" in chosen.notes[0]
    with pytest.raises(UserError, match="not complete: patch 2 of 2 is missing"):
        choice.from_directory([two_series("v3", "other")[place] for place in (0, 2, 3)])


def test_a_gap_in_the_numbers_of_files_whose_patches_have_none_is_said() -> None:
    def files(*names: str) -> list[Head]:
        return [Head(name, f"[PATCH] {name}", f"<{name}>", (), has_diff=True) for name in names]

    chosen = choice.from_directory(files("0001-a.patch", "0003-c.patch", "0006-d.patch"))
    assert chosen.order == (0, 1, 2)
    assert chosen.notes == ("the numbers of the files leave out 2 and 4-5",)
    assert choice.from_directory(files("v2-0003-a.patch", "v2-0004-b.patch")).notes == ()


def test_messages_that_answer_each_other_in_a_ring_end() -> None:
    ring = [head("[PATCH] a", mid="<a>", parents=("<b>",)), head("[PATCH] b", mid="<b>", parents=("<a>",))]
    assert sorted(choice.from_thread(ring).order) == [0, 1]
    ring = [head("[PATCH 1/1] a", mid="<a>", parents=("<b>",)), head("[PATCH 1/1] b", mid="<b>", parents=("<a>",))]
    with pytest.raises(UserError):
        choice.from_thread(ring)


def test_in_a_directory_every_file_counts_and_numbers_only_say_the_order_among_themselves() -> None:
    heads = [head("[PATCH 2/2] b"), head("[PATCH] extra"), head("[PATCH 1/2] a"), head("[PATCH 0/2] c", diff=False)]
    assert choice.from_directory(heads).order == (3, 2, 1, 0)
    two = [head("[PATCH 1/2] a"), head("[PATCH 2/2] b"), head("[PATCH 1/1] c")]
    chosen = choice.from_directory(two)
    assert chosen.order == (0, 1, 2)
    assert "2 series stand in one directory" in chosen.notes[0]


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("-", Kind.STDIN),
        ("20240101.abc@example.org", Kind.LORE),
        ("<a..b+c=d@example.org>", Kind.LORE),
        ("https://lore.kernel.org/linux-mm/20240101.abc@example.org/T/#u", Kind.LORE),
        ("A..B", Kind.REVISIONS),
        ("topic", Kind.REVISIONS),
        ("HEAD@{1}..HEAD", Kind.REVISIONS),
        ("topic@{upstream}", Kind.REVISIONS),
        ("a@b..topic", Kind.REVISIONS),
        ("user/topic@2", Kind.REVISIONS),
        ("--output=x@y", Kind.REVISIONS),
        ("x" * 5000, Kind.REVISIONS),
        ("nul\0", Kind.REVISIONS),
    ],
)
def test_a_spec_has_one_kind(spec: str, kind: Kind) -> None:
    assert mail.kind(spec) is kind


def test_a_path_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a@example.org", "main", "-"):
        (tmp_path / name).touch()
        assert mail.kind(name) is Kind.PATH
    assert mail.kind(tmp_path / "nowhere") is Kind.PATH


@pytest.mark.parametrize("spec", ["nowhere", "A..B", "-", "nul\0", "x" * 5000])
def test_what_names_nothing_is_answered_with_the_forms_that_there_are(spec: str) -> None:
    with pytest.raises(UserError) as caught:
        mail.read(spec)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://lore.kernel.org/all/1.2-a@b.org/", "1.2-a@b.org"),
        ("https://lore.kernel.org/r/1.2-a@b.org", "1.2-a@b.org"),
        ("https://lore.kernel.org/linux-mm/a%2Bb@c.org/t.mbox.gz", "a+b@c.org"),
        ("https://patch.msgid.link/1@b.org", "1@b.org"),
        ("https://lkml.kernel.org/r/1@b.org", "1@b.org"),
    ],
)
def test_a_lore_address_holds_a_message_id(url: str, found: str) -> None:
    assert lore.message_id(url) == found


@pytest.mark.parametrize(
    "url", ["https://example.org/a@b.c/", "https://lore.kernel.org/linux-mm/", "http://[", "https://"]
)
def test_another_address_is_refused_with_the_form_that_is_wanted(url: str) -> None:
    with pytest.raises(UserError) as caught:
        lore.message_id(url)
    assert caught.value.hint and "lore.kernel.org" in caught.value.hint


def test_a_mail_with_another_below_its_diff_is_one_mail() -> None:
    diff = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    one, other = (b"From: A <a@b.c>\nSubject: " + name + b"\n\n" + diff for name in (b"x", b"y"))
    assert letters.pile(one + other) == [one, other]
    assert letters.pile(other) == [other]
    for header in (b"Message-ID: <1@b.c>\n", b"Received: by b.c\n", b"Content-Type: multipart/mixed; boundary=B\n"):
        assert letters.pile(header + one + other) == [header + one + other]
    assert letters.pile(b"From a@b.c Mon Jan  1 10:00:00 2024\n" + one + other)[1:] == []


DIFF = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"


def test_a_patch_that_is_numbered_as_a_cover_letter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.patch").write_text(f"From: A <a@b.c>\nSubject: [PATCH 0/1] x\n\nWhy.\n---\n{DIFF}")
    with pytest.raises(
        UserError, match=r"'\[PATCH 0/1\] x' is numbered 0, as a cover letter is, and holds the only diff"
    ):
        mail.read(tmp_path / "one.patch")
    (tmp_path / "two.patch").write_text(f"From: A <a@b.c>\nSubject: [PATCH 1/1] y\n\nWhy.\n---\n{DIFF}")
    assert mail.read(tmp_path).notes == ("'[PATCH 0/1] x' is numbered 0, as a cover letter is: its diff is left out",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (DIFF.encode("utf-16"), "UTF-16"),
        (b"*** a/x\t2024\n--- b/x\t2024\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "a context diff"),
    ],
)
def test_a_patch_among_others_that_cannot_be_read_is_no_part_that_is_missed(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "a.patch").write_text(DIFF)
    (tmp_path / "b.patch").write_bytes(content)
    with pytest.raises(UserError, match=rf"b\.patch is no patch that can be read: it is {words}"):
        mail.read(tmp_path)


def test_a_patch_that_cannot_be_read_is_found_beside_others_in_one_file(tmp_path: Path) -> None:
    context = "*** a/x\n--- b/x\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n"
    mails = [
        f"From 1 Mon Sep 17 00:00:00 2001\nFrom: A <a@b.c>\nSubject: [PATCH] {name}\n\nWhy.\n---\n{diff}\n"
        for name, diff in (("one", DIFF), ("two", context))
    ]
    (tmp_path / "both.patch").write_text("".join(mails))
    with pytest.raises(UserError, match=r"both\.patch is no patch that can be read: it is a context diff"):
        mail.read(tmp_path)


def test_a_cover_letter_may_quote_what_it_wants(tmp_path: Path) -> None:
    quoted = "*** a\n--- b\n***************\n*** 1 ****\n"
    (tmp_path / "0000.patch").write_text(f"From: A <a@b.c>\nSubject: [PATCH 0/1] y\n\nOutput:\n\n{quoted}")
    (tmp_path / "0001.patch").write_text(f"From: A <a@b.c>\nSubject: [PATCH 1/1] y\n\nWhy.\n---\n{DIFF}")
    found = mail.read(tmp_path)
    assert (len(found.mails), found.notes) == (2, ())


def test_a_file_without_a_diff_among_patches_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text(DIFF)
    (tmp_path / "notes.patch").write_text("to do\n")
    assert "notes.patch has no diff and is left out" in mail.read(tmp_path).notes


def test_a_header_with_half_a_character_is_text(tmp_path: Path) -> None:
    (tmp_path / "one.patch").write_text(
        f"From: A <a@b.c>\nCc: =?utf-7?q?+2AA-?= <c@d.e>\nMessage-ID: <1@b.c>\nSubject: [PATCH] x\n\n---\n{DIFF}"
    )
    [found] = mail.read(tmp_path / "one.patch").mails
    assert found.posting
    json.dumps(found.posting.recipients, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "subject",
    ["mm: do it", "Größe: 1/2 of it", 'a, "b" <c>', "long " * 60, "Re: it", "*** SUBJECT HERE ***"],
)
def test_a_cover_letter_that_is_kept_is_read_as_it_was(subject: str, tmp_path: Path) -> None:
    body = "From here on it is better.\n\nSubject: x\n8< --- >8\n> quoted ü\n\nA (1):\n  mm: one\n\n"
    trailers = f"---\n mm/x.c | 2 +-\n\nbase-commit: {'1' * 40}\n-- \n2.39\n"
    letter = Mail("x", f"[RFC PATCH v3 0/7] {subject}", "Zoë, A. Größe", "z@example.org", "", body.encode(), b"",
                  trailers=trailers.encode())  # fmt: skip
    diff = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"
    (tmp_path / cover.NAME).write_bytes(cover.write(letter, 1))
    (tmp_path / "0001-x.patch").write_text(f"From: A <a@b.c>\nSubject: [PATCH 1/1] x\n\n{diff}")
    mails = mail.read(tmp_path)
    again = mails.mails[0]
    assert (again.title, again.author, again.email) == (letter.title, letter.author, letter.email)
    assert (again.body, again.trailers, again.diff) == (letter.body, letter.trailers, b"")
    assert (mails.base_commit, mails.notes, len(mails.patches)) == ("1" * 40, (), 1)


def harmless(content: bytes) -> None:
    try:
        assert mail.read_bytes(content, "fuzz").mails
    except UserError as fault:
        assert fault.message


LINES = [
    b"From a@b Mon Jan  1 10:00:00 2024", b"From " + b"1" * 40 + b" Mon Sep 17 00:00:00 2001", b"From: A <a@b.c>",
    b"From: ", b"From: =?x?q?=FF?= <>", b"Subject: [PATCH 1/2] x", b"Subject: [PATCH v2 2/2] y", b"Subject: Re: z",
    b"Subject: =?utf-16?b?//8=?=", b"Message-ID: <1@x>", b"In-Reply-To: <1@x>", b"Date: Mon, 99", b"",
    b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="B"', b"Content-Type: multipart/signed",
    b"Content-Type: text/plain; charset=\xff", b"Content-Type: message/rfc822",
    b"Content-Type: text/plain; charset=utf-7", b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: x-uuencode", b"begin 666 x", b"--B", b"--B--",
    b"Content-Disposition: attachment; filename*=klingon''%ff", b"Content-Transfer-Encoding: quoted-printable",
    b"=ZZ=", b"---", b"-- >8 --", b"diff --git a/x b/x", b"--- a/x", b"+++ b/x", b"@@ -1 +1 @@", b"-a", b"+b",
    b"\x00", b">From x", b"Description: x", b" continued", b"\xff\xfe", b"Index: x",
]  # fmt: skip
lines = st.sampled_from(LINES)


@settings(max_examples=EXAMPLES, derandomize=FIXED, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.binary(max_size=200), st.lists(lines, max_size=30).map(b"\n".join), st.lists(lines).map(b"\r\n".join))
)
@example(b"\x1f\x8b")
@example(b"BZh9")
@example(b"\xfd7zXZ\0")
@example(gzip.compress(b"hello")[:-4])
@example(b"\0" * 100)
def test_any_bytes_are_mails_or_the_users_fault(content: bytes) -> None:
    harmless(content)


@settings(max_examples=EXAMPLES, derandomize=FIXED, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(path for path in SHAPES.iterdir() if path.is_file())),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 200)), min_size=1, max_size=4),
)
def test_damaged_mails_are_mails_or_the_users_fault(path: Path, cuts: list[tuple[float, bytes, int]]) -> None:
    content = path.read_bytes()
    for where, put, gone in cuts:
        place = int(where * len(content))
        content = content[:place] + put + content[place + gone :]
    harmless(content)


def test_what_unpacks_to_more_than_a_series_can_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b"\0" * (letters.MAX_BYTES + 1), compresslevel=1)
    with pytest.raises(UserError, match="more than 256 MiB"):
        mail.read_bytes(bomb, "bomb")


def test_an_answer_to_a_series_names_its_cover_letter_and_all_who_got_it() -> None:
    thread = (
        "From ada Thu Jan  1 00:00:00 2026\nFrom: =?utf-8?q?Ada_=C3=9Cnder?= <ada@example.org>\nMessage-ID: <2@x>\n"
        'In-Reply-To: <1@x>\nReferences: <0@x>\n <1@x>\nTo: "B, C" <b@x.org>,\n list@x.org\n'
        "Cc: list@x.org, undisclosed:;\n"
        "Subject: [PATCH v2 0/1] mm:\n x\n\nwords\n\n"
        "From ada Thu Jan  1 00:00:01 2026\nFrom: Ada <ada@example.org>\nMessage-ID: <3@x>\nIn-Reply-To: <2@x>\n"
        "Subject: [PATCH v2 1/1] mm: y\n\nwhy\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    )
    cover, patch = mail.read_bytes(thread.encode(), "thread").mails
    assert cover.posting == Posting(
        "<2@x>",
        "[PATCH v2 0/1] mm: x",
        "Ada Ünder <ada@example.org>",
        ("B, C <b@x.org>", "list@x.org"),
        ("<0@x>", "<1@x>"),
    )
    assert patch.posting
    assert patch.posting.message_id == "<3@x>"
    plain = mail.read_bytes(b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "a diff").mails
    assert plain[0].posting is None
