"""What somebody else changed in the cache is noticed before it can get into an image or an answer."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import rootfs
from kvm.arch import get as get_arch
from orchestrator import cache
from orchestrator.build import kbuild
from orchestrator.intake import source, tree
from orchestrator.trial.suites import compiled, suite
from tests.flow.conftest import git
from tests.flow.test_intake_and_build import EDITED, LINES, order

pytestmark = pytest.mark.long

MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1

tinyconfig:
\t@printf 'CONFIG_TINY=y\\n' >$(O)/.config
olddefconfig:
\t@true
bzImage: $(O)/mm/madvise.o $(O)/mm/other.o
\t@mkdir -p $(O)/arch/x86/boot; cat $^ >$(O)/arch/x86/boot/bzImage
$(O)/mm/%.o: mm/%.c
\t@mkdir -p $(O)/mm; echo "  CC      mm/$*.o"; echo "mm/$*.c:1:1: warning: it is here [-Wthere]"; cat $< >$@
"""
OTHER = "other\n"

Build = Callable[[str], kbuild.KernelBuild]


@pytest.fixture
def trees(fakelinux: Path) -> tuple[str, str]:
    """Two trees of two objects each: base, and one in which one object's source differs."""
    (fakelinux / "Makefile").write_text(MAKEFILE)
    (fakelinux / "mm" / "other.c").write_text(OTHER)
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "two objects")
    git(fakelinux, "checkout", "-q", "-b", "topic")
    (fakelinux / "mm" / "madvise.c").write_text(EDITED)
    git(fakelinux, "commit", "-q", "-a", "-m", "edited")
    git(fakelinux, "checkout", "-q", "main")
    return git(fakelinux, "rev-parse", "main^{tree}"), git(fakelinux, "rev-parse", "topic^{tree}")


@pytest.fixture
def build(fakelinux: Path, trees: tuple[str, str], tmp_path: Path) -> Build:
    """Build one of the trees, patched on top of base."""

    def make(files: str) -> kbuild.KernelBuild:
        origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
        base = order(origin.tree, origin)
        wanted = base if files == origin.tree else replace(base, files=files, start=base)
        return kbuild.build(wanted, tmp_path / "cache", tmp_path / "log")

    return make


def image(text: str) -> str:
    return text + OTHER


def spoil(path: Path, harm: str) -> None:
    """Do what disks, editors and people do."""
    match harm:
        case "appended":
            with path.open("a") as file:
                file.write("x")
        case "cut":
            os.truncate(path, 5)
        case "gone":
            path.unlink()
        case "replaced":
            time = path.stat().st_mtime_ns
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content[::-1])
            os.utime(path, ns=(time, time))


@pytest.mark.parametrize("harm", ["appended", "cut", "gone"])
@pytest.mark.parametrize("name", ["image", "config", "findings.json", "anatomy.json", "kit.json.gz", "build.json"])
def test_a_build_of_which_any_file_was_damaged_is_made_again(
    build: Build, trees: tuple[str, str], name: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = build(trees[0])
    found, said = first.findings, (first.directory / "anatomy.json").read_bytes()
    spoil(first.directory / name, harm)
    again = build(trees[0])
    assert not again.cached
    assert again.image.read_text() == image("".join(LINES))
    assert (again.findings, (again.directory / "anatomy.json").read_bytes()) == (found, said)
    assert f"in the cache was damaged, and will be made again: {name}" in caplog.text
    assert build(trees[0]).cached


def test_damage_of_a_file_that_checkouts_share_is_in_none_of_their_images(
    build: Build, trees: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(trees[0])
    build(trees[1])
    shared, linked = (tmp_path / "cache" / "trees" / files / "mm" / "other.c" for files in trees)
    assert shared.stat().st_ino == linked.stat().st_ino
    spoil(shared, "appended")
    for part in ("builds", "objects"):
        shutil.rmtree(tmp_path / "cache" / part)
    assert build(trees[1]).image.read_text() == image(EDITED)
    assert build(trees[0]).image.read_text() == image("".join(LINES))
    assert "was damaged, and is mended: mm/other.c" in caplog.text


@pytest.mark.parametrize("harm", ["appended", "cut", "gone", "replaced"])
def test_a_damaged_checkout_is_mended_before_each_build(
    build: Build, trees: tuple[str, str], tmp_path: Path, harm: str
) -> None:
    build(trees[0])
    base = tmp_path / "cache" / "trees" / trees[0]
    spoil(base / "mm" / "other.c", harm)
    assert build(trees[1]).image.read_text() == image(EDITED)
    assert (base / "mm" / "other.c").read_text() == OTHER


def test_what_was_put_into_a_checkout_goes(
    build: Build, trees: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(trees[0])
    base = tmp_path / "cache" / "trees" / trees[0]
    before = sorted(base.rglob("*"))
    (base / "GNUmakefile").write_text("bzImage:\n\tfalse\n")
    (base / ".git").write_text("gitdir: /nowhere\n")
    (base / "more" / "below").mkdir(parents=True)
    (base / "more" / "below" / "file").touch()
    (base / "empty").mkdir()
    (base / "link").symlink_to("/")
    build(trees[1])
    assert sorted(base.rglob("*")) == before
    assert "was damaged, and is mended: GNUmakefile, empty/, link and 2 more" in caplog.text


@pytest.mark.parametrize("harm", ["cut", "gone", "of another tree", "empty", "locked"])
def test_a_checkout_is_compared_with_git_itself_where_its_index_cannot_be_used(
    build: Build, trees: tuple[str, str], tmp_path: Path, harm: str
) -> None:
    build(trees[0])
    build(trees[1])
    base, patched = (tmp_path / "cache" / "trees" / f"{files}.index" for files in trees)
    match harm:
        case "of another tree":
            shutil.copy(patched, base)
        case "empty":
            subprocess.run(
                ["git", "read-tree", "--empty"],
                env={**os.environ, "GIT_INDEX_FILE": str(base)},
                cwd=tmp_path / "fakelinux",
                check=True,
            )
        case "locked":
            base.with_name(f"{base.name}.lock").touch()
        case _:
            spoil(base, harm)
    spoil(base.with_suffix("") / "mm" / "other.c", "appended")
    shutil.rmtree(tmp_path / "cache" / "builds")
    shutil.rmtree(tmp_path / "cache" / "objects")
    assert build(trees[0]).image.read_text() == image("".join(LINES))


@pytest.mark.parametrize("harm", ["appended", "cut", "gone", "replaced", "more"])
@pytest.mark.parametrize("side", ["base", "patched"])
def test_objects_that_somebody_changed_are_in_no_image(
    build: Build, trees: tuple[str, str], tmp_path: Path, side: str, harm: str
) -> None:
    """make believes what is newer than its sources."""
    for files in trees if side == "patched" else trees[:1]:
        build(files)
    [objects] = (tmp_path / "cache" / "objects").glob("*-series" if side == "patched" else "?" * 81)
    if harm == "more":
        (objects / "x.o").touch()
    else:
        spoil(objects / "mm" / "other.o", harm)
    shutil.rmtree(tmp_path / "cache" / "builds")
    assert build(trees[1]).image.read_text() == image(EDITED)
    assert build(trees[0]).image.read_text() == image("".join(LINES))
    assert not (objects / "x.o").exists()


@pytest.mark.parametrize("harm", ["cut", "gone", "no words"])
def test_findings_that_somebody_changed_are_found_again(
    build: Build, trees: tuple[str, str], tmp_path: Path, harm: str
) -> None:
    found = build(trees[0]).findings
    assert {unit: len(said) for unit, said in found.items() if said} == {"mm/madvise.o": 1, "mm/other.o": 1}
    [kept] = (tmp_path / "cache" / "objects").glob("*.findings")
    if harm == "no words":
        kept.write_text("{}")
    else:
        spoil(kept, harm)
    assert build(trees[1]).findings.keys() == found.keys()
    assert len(build(trees[1]).findings["mm/other.o"]) == 1


def test_objects_that_nobody_changed_are_used_again(build: Build, trees: tuple[str, str], tmp_path: Path) -> None:
    build(trees[0])
    build(trees[1])
    assert "other.o" not in (tmp_path / "log").read_text()


def test_a_suites_program_that_was_damaged_is_compiled_again(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "main.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "one" / "suite.yaml").write_text("name: one\nkind: ktap\nsources: [main.c]\n")
    chosen = suite.load(tmp_path / "one")
    program = compiled.program(chosen, get_arch("x86_64").name, tmp_path / "cache")
    spoil(program, "cut")
    again = compiled.program(chosen, get_arch("x86_64").name, tmp_path / "cache")
    assert again == program
    assert subprocess.run([again], check=False).returncode == 0


def test_a_checkout_that_is_linked_again_is_not_read_again(
    build: Build, trees: tuple[str, str], fakelinux: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each link changes the ctime of a file; to read a gigabyte for that takes as long as to lay it out."""
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with caplog.at_level("INFO"):
        for files in (*trees, *trees):
            tree.checkout(origin, files, tmp_path / "cache")
    assert "file by file" not in caplog.text
    cache.let_go()


def test_an_initramfs_that_was_damaged_is_made_again(shared_cache: Path, tmp_path: Path) -> None:
    (shared_cache / "apt").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "apt").symlink_to(
        shared_cache / "apt"
    )  # what is downloaded once need not be downloaded again
    initramfs = rootfs.build(get_arch("x86_64"), tmp_path / "cache")
    good = initramfs.read_bytes()
    spoil(initramfs, "appended")
    assert rootfs.build(get_arch("x86_64"), tmp_path / "cache").read_bytes() == good
