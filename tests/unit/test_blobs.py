"""What machines hand to each other is what its name says, and nothing lands outside of where it belongs."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvm.errors import InfraError
from orchestrator.cluster.blobs import Blobs
from tests import s3


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "store"))


@pytest.mark.long
def test_a_bucket_of_s3_holds_the_same(tmp_path: Path) -> None:
    with s3.bucket() as url:
        theirs = Blobs(url)
        test_what_is_put_comes_back(theirs, tmp_path)
        test_what_is_not_there_is_named(theirs)
        test_a_name_of_what_has_gone_leads_nowhere(theirs, lambda it: theirs._fs.rm(f"{theirs._root}/{_at(it)}"))
        test_a_name_leads_to_what_it_was_given_last(theirs)
        test_a_directory_comes_back_without_what_is_left_out_and_without_links(theirs, tmp_path)


def test_what_is_put_comes_back(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    digest = blobs.put(tmp_path / "file")
    assert blobs.put_bytes(b"content") == digest
    assert blobs.fetch(digest, tmp_path / "again").read_bytes() == b"content"


def test_what_is_not_as_its_name_says_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put_bytes(b"content")
    [stored] = (tmp_path / "store").rglob(digest)
    stored.write_bytes(b"another")
    with pytest.raises(InfraError, match="not what its name says"):
        blobs.read(digest)


def test_what_is_not_there_is_named(blobs: Blobs) -> None:
    with pytest.raises(InfraError, match="has no sha256/00"):
        blobs.read("0" * 64)


def test_a_name_leads_to_what_it_was_given_last(blobs: Blobs) -> None:
    assert blobs.named("told/one") is None
    first, last = blobs.put_bytes(b"first"), blobs.put_bytes(b"last")
    blobs.name("told/one", first)
    blobs.name("told/one", last)
    assert blobs.named("told/one") == last


@pytest.fixture
def gone(tmp_path: Path) -> Callable[[str], object]:
    """Tidy up what has a hash."""
    return lambda digest: (tmp_path / "store" / _at(digest)).unlink()


def _at(digest: str) -> str:
    return f"sha256/{digest[:2]}/{digest}"


def test_a_name_of_what_has_gone_leads_nowhere(blobs: Blobs, gone: Callable[[str], object]) -> None:
    digest = blobs.put_bytes(b"that goes")
    blobs.name("trees/one", digest)
    assert (blobs.named("trees/one"), blobs.named("trees/one", fresh=True)) == (digest, digest)
    gone(digest)
    assert (blobs.named("trees/one"), blobs.has(digest)) == (None, False)
    assert blobs.put_bytes(b"that goes") == digest
    assert blobs.named("trees/one") == digest


def test_what_is_old_is_stored_anew_when_it_is_put_again(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put_bytes(b"content")
    blobs.name("trees/one", digest)
    stored = tmp_path / "store" / _at(digest)
    os.utime(stored, (0, 0))
    assert (blobs.named("trees/one"), blobs.named("trees/one", fresh=True)) == (digest, None)
    blobs.put_bytes(b"content")
    assert stored.stat().st_mtime > 0
    assert blobs.named("trees/one", fresh=True) == digest


def test_a_directory_comes_back_without_what_is_left_out_and_without_links(blobs: Blobs, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    (top / "below" / "script").write_text("#!/bin/sh\n")
    (top / "below" / "script").chmod(0o755)
    (top / "image").write_text("large")
    (top / "link").symlink_to("/etc/passwd")
    blobs.fetch_directory(blobs.put_directory(top, ["image"]), tmp_path / "back")
    assert [str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*") if path.is_file()] == [
        "below/script"
    ]
    assert (tmp_path / "back" / "below" / "script").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("name", "kind"), [("../out", tarfile.REGTYPE), ("/out", tarfile.REGTYPE), ("a", tarfile.SYMTYPE)]
)
def test_an_archive_that_leads_out_of_its_directory_is_refused(
    blobs: Blobs, tmp_path: Path, name: str, kind: bytes
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO())
    with pytest.raises(InfraError, match="no file below its directory"):
        blobs.fetch_directory(blobs.put_bytes(packed.getvalue()), tmp_path / "back")
    assert not (tmp_path / "out").exists()


def test_a_store_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    broken = Blobs(str(tmp_path / "file"))
    with pytest.raises(InfraError, match=r"file: .*Not a directory|file: .*File exists"):
        broken.put_bytes(b"content")
    with pytest.raises(InfraError, match="Not a directory"):
        broken.read("0" * 64)
