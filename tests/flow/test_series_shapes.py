"""Mails as they are found in the world (tests/data/mail): read, applied, and compared with the tree that they mean."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvm.errors import UserError
from orchestrator.intake import guard, mail, series
from orchestrator.intake.source import Source
from tests.flow.conftest import git

SHAPES = Path(__file__).resolve().parents[1] / "data" / "mail"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((SHAPES / "expected.yaml").read_text(encoding="utf-8"))

FILES = {
    "kernel/alpha.c": "".join(f"alpha {line}\n" for line in range(1, 10)).encode(),
    "kernel/beta.c": "".join(f"beta {line}\n" for line in range(1, 10)).encode(),
    "latin.txt": "".join(f"höhe {line}\n" for line in range(1, 4)).encode("latin-1"),
    "dos.txt": b"dos 1\r\ndos 2\r\ndos 3\r\n",
}
ENCODINGS = {"latin.txt": "latin-1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("base")
    for name, content in FILES.items():
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_bytes(content)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "base")
    return top


@pytest.fixture(scope="module")
def origin(base: Path) -> Source:
    return Source("base", base / ".git", git(base, "rev-parse", "HEAD"), git(base, "rev-parse", "HEAD^{tree}"), "6.1")


def meant(base: Path, expected: dict[str, Any], scratch: Path) -> str:
    """The id of the tree that the expectation describes, made by git from whole files."""
    files = dict(FILES)
    for name, line in expected["changes"].items():
        lines = files[name].split(b"\n")
        place = 4 if name.startswith("kernel/") else 1
        end = b"\r" if lines[place].endswith(b"\r") else b""
        lines[place] = line.encode(ENCODINGS.get(name, "utf-8")) + end
        files[name] = b"\n".join(lines)
    for name, text in expected.get("added", {}).items():
        files[name] = base64.b64decode(text) if expected.get("binary") else text.encode()
    for old, new in expected.get("renamed", {}).items():
        files[new] = files.pop(old)
    for name, content in files.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(content)
        (scratch / name).chmod(int(expected.get("modes", {}).get(name, "100644")[-3:], 8))
    git(scratch, "init", "-q")
    git(scratch, "add", ".")
    return git(scratch, "write-tree")


def test_every_file_has_its_expectation_and_there_are_many() -> None:
    beside = {entry.name for entry in SHAPES.iterdir()} - {"expected.yaml", ".gitattributes"}
    assert beside == set(EXPECTED)
    assert len(beside) >= 25


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "subjects" in expected])
def test_a_shape_is_read_and_applied_as_it_is_meant(name: str, base: Path, origin: Source, tmp_path: Path) -> None:
    expected = EXPECTED[name]
    mails = mail.read(SHAPES / name)
    applied = series.apply(mails.mails, origin, guard.Limits(allow_binary=True))
    assert [patch.subject for patch in applied.series.patches] == expected["subjects"]
    assert [patch.author for patch in applied.series.patches] == expected["authors"]
    assert applied.tree == meant(base, expected, tmp_path)
    assert list(mails.notes) == expected.get("notes", [])
    assert mails.version == expected.get("version", 1)
    assert mails.base_commit == expected.get("base")
    assert list(mails.prerequisites) == expected.get("prerequisites", [])
    more = f" (and {len(expected['subjects']) - 1} more)" if len(expected["subjects"]) > 1 else ""
    assert applied.series.title == expected.get("title", expected["subjects"][0] + more)
    assert mails.patches[0].body.decode().startswith(expected.get("body", ""))
    touched = {*expected["changes"], *expected.get("added", {}), *expected.get("modes", {})}
    touched |= {*expected.get("renamed", {}), *expected.get("renamed", {}).values()}
    assert {file for patch in applied.series.patches for file in patch.files} == touched


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "error" in expected])
def test_a_shape_that_is_no_whole_series_is_refused_with_words(name: str) -> None:
    with pytest.raises(UserError) as caught:
        mail.read(SHAPES / name)
    assert EXPECTED[name]["error"] in caught.value.message


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "apply_error" in expected])
def test_a_shape_that_is_damaged_does_not_apply_and_says_so(name: str, origin: Source) -> None:
    with pytest.raises(UserError, match="does not apply") as caught:
        series.apply(mail.read(SHAPES / name).mails, origin)
    assert EXPECTED[name]["apply_error"] in caught.value.message


def test_reading_the_base_again_finds_it_untouched(base: Path) -> None:
    status = subprocess.run(["git", "status", "--porcelain"], cwd=base, check=True, capture_output=True).stdout
    assert status == b""
    assert git(base, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
