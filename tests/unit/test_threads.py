"""Mails of a Maildir and of an archive's search become threads, each a series of its own."""

import gzip
from pathlib import Path

import pytest

from kvm.errors import InfraError, UserError
from orchestrator.intake import search
from orchestrator.nightly import threads
from tests.peer import says, server


def mail(name: str, subject: str, above: str = "", body: str = "words\n") -> bytes:
    references = f"References: {above}\n" if above else ""
    return f"From: A <a@x>\nMessage-ID: <{name}>\nSubject: {subject}\n{references}\n{body}".encode()


PATCH = mail("1@x", "=?utf-8?q?=5BPATCH_1/1=5D_mm=3A_gr=C3=B6=C3=9Fer?=", "<0@x>")
MAILS = (
    mail("2@x", "Re: [PATCH] mm: x", "<0@x> <1@x>"),
    PATCH,
    mail("0@x", "[PATCH 0/1] mm: larger"),
    mail("0@x", "[PATCH 0/1] mm: larger"),  # a copy, of another list
    mail("8@x", "lunch?"),
    mail("9@x", "Re: [PATCH] of which only an answer is here", "<7@x>"),
)


def split(mails: tuple[bytes, ...], into: Path) -> dict[str, list[bytes]]:
    return {name: [file.read_bytes() for file in sorted(at.glob("cur/*"))] for name, at in threads.split(mails, into)}


def test_each_thread_with_a_patch_is_a_maildir_by_its_first_message(tmp_path: Path) -> None:
    assert split(MAILS, tmp_path) == {"<0@x>": list(MAILS[:3])}
    assert split(MAILS[:2], tmp_path) == {"<0@x>": list(MAILS[:2])}  # it is the same when its cover letter is not there
    assert len([*tmp_path.iterdir()]) == 1


def test_of_a_maildir_what_is_marked_as_deleted_is_left_out(tmp_path: Path) -> None:
    for part, name in (("new", "1.host"), ("cur", "2.host:2,S"), ("cur", "3.host:2,ST")):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / name).write_bytes(name.encode())
    assert [*threads.in_maildir(tmp_path)] == [b"1.host", b"2.host:2,S"]
    for other in (tmp_path / "none", tmp_path / "new"):
        with pytest.raises(UserError, match="is no Maildir"):
            threads.in_maildir(other)


def test_a_mail_that_cannot_be_read_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = "Content-Type: multipart/mixed; boundary={0}\n\n--{0}\n"
    deep = "".join(part.format(number) for number in range(3000))
    head = "From: A <a@x>\nMessage-ID: <deep@x>\nReferences: <0@x>\nSubject: Re: x\nMIME-Version: 1.0\n"
    nameless = head.replace("Message-ID", "X-ID")
    bad = ((head + deep).encode(), (nameless + deep).encode())
    assert split((*bad, *MAILS), tmp_path) == {"<0@x>": list(MAILS[:3])}
    first, second = caplog.messages
    assert first.startswith("<deep@x> is left out: ") and "too deep" in first
    assert second.startswith("a mail without a Message-ID is left out: ")


def test_what_a_mail_reader_moves_is_read_where_it_is_then_and_what_it_removes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part, name in (("new", "1.host"), ("new", "2.host"), ("cur", "3.host:2,"), ("cur", "4.host:2,")):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / name).write_bytes(name.encode())
    mails = threads.in_maildir(tmp_path)
    (tmp_path / "new" / "1.host").rename(tmp_path / "cur" / "1.host:2,S")
    (tmp_path / "cur" / "3.host:2,").rename(tmp_path / "cur" / "3.host:2,S")
    (tmp_path / "new" / "2.host").unlink()
    assert [*mails] == [b"1.host", b"3.host:2,", b"4.host:2,"]
    assert caplog.messages == [f"{tmp_path}/new/2.host is left out: it has gone since the folder was listed"]


def test_a_search_gives_the_mails_of_all_threads_that_are_found() -> None:
    mbox = b"".join(b"From mboxrd@z Thu Jan  1 00:00:00 1970\n%s\n" % one for one in MAILS)
    with server(says(200, gzip.compress(mbox), Content_Type="application/gzip")) as (url, asked):
        found = search.threads("dfn:mm/madvise.c AND rt:1.day.ago..", f"{url}/linux-mm/")
    assert [one.partition(b"\n")[2].rstrip() for one in found] == [one.rstrip() for one in MAILS]
    [one] = asked
    assert one.command == "POST"
    assert one.path == "/linux-mm/?x=m&t=1&q=dfn%3Amm%2Fmadvise.c+AND+rt%3A1.day.ago.."


def test_a_search_that_finds_nothing_is_no_fault_and_an_archive_that_refuses_is_one() -> None:
    with server(says(404, b"No results found")) as (url, _):
        assert search.threads("dfn:none.c", url) == []
    with server(says(403, b"robots go home")) as (url, _), pytest.raises(InfraError, match="403 Forbidden: robots go"):
        search.threads("dfn:none.c", url)
