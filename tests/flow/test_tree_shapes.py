"""A checkout is its git tree, whatever a series makes of files, directories and links; the tree that it is linked from
stays as it is.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator.intake import source, tree
from tests.conftest import Kdelta
from tests.flow.conftest import git


def to_file(top: Path) -> None:
    shutil.rmtree(top / "directory")
    (top / "directory").write_text("a file\n")


def to_link(top: Path) -> None:
    shutil.rmtree(top / "directory")
    (top / "directory").symlink_to("mm")


def to_directory(top: Path) -> None:
    (top / "file").unlink()
    (top / "file" / "deeper").mkdir(parents=True)
    (top / "file" / "deeper" / "x.c").write_text("x\n")


def link_to_directory(top: Path) -> None:
    (top / "link").unlink()
    (top / "link").mkdir()
    (top / "link" / "madvise.c").write_text("another\n")


def to_nothing(top: Path) -> None:
    shutil.rmtree(top / "directory")


def to_program(top: Path) -> None:
    (top / "file").chmod(0o755)


SHAPES = [to_file, to_link, to_directory, link_to_directory, to_nothing, to_program]


def listing(top: Path) -> dict[str, object]:
    """What stands below a directory: contents, targets and modes."""
    return {
        str(path.relative_to(top)): path.readlink()
        if path.is_symlink()
        else path.is_dir() or (path.read_bytes(), path.stat().st_mode)
        for path in top.rglob("*")
        if ".git" not in path.relative_to(top).parts
    }


@pytest.fixture
def changed(fakelinux: Path) -> Callable[[Callable[[Path], None]], None]:
    """Commit a tree with all kinds of things in it on main, and a change of it on topic."""

    def change(how: Callable[[Path], None]) -> None:
        (fakelinux / "directory" / "below").mkdir(parents=True)
        for name in ("directory/a.c", "directory/below/b.c", "file"):
            (fakelinux / name).write_text(f"{name}\n")
        (fakelinux / "link").symlink_to("mm")
        git(fakelinux, "add", ".")
        git(fakelinux, "commit", "-q", "-m", "all kinds")
        git(fakelinux, "checkout", "-q", "-b", "topic")
        how(fakelinux)
        git(fakelinux, "add", "--all", ".")
        git(fakelinux, "commit", "-q", "-m", "mm: another shape")

    return change


@pytest.mark.parametrize("how", SHAPES)
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_a_checkout_is_its_git_tree_whatever_changes_its_kind(
    fakelinux: Path, changed: Callable[..., None], tmp_path: Path, how: Callable[[Path], None], back: bool
) -> None:
    changed(how)
    names = ("topic", "main") if back else ("main", "topic")
    origin = source.resolve(f"git:{fakelinux}", names[0], tmp_path / "cache")
    for name in (*names, names[0]):
        git(fakelinux, "checkout", "-q", name)
        files = git(fakelinux, "rev-parse", f"{name}^{{tree}}")
        assert listing(tree.checkout(origin, files, tmp_path / "cache")) == listing(fakelinux)


def test_a_series_that_makes_a_file_of_a_directory_is_built(
    kdelta: Kdelta, fakelinux: Path, changed: Callable[..., None], tmp_path: Path
) -> None:
    changed(to_file)
    git(fakelinux, "format-patch", "-q", "-o", str(tmp_path / "series"), "main..topic")
    git(fakelinux, "checkout", "-q", "main")
    args = ["--kernel", f"git:{fakelinux}", "--arch", "x86_64", "--out", tmp_path / "out"]
    done = kdelta("build", tmp_path / "series", *args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr


def test_a_tarball_of_a_clone_gives_the_tree_without_what_git_keeps(fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "mm" / "nested" / ".git").mkdir(parents=True)
    (fakelinux / "mm" / "nested" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (fakelinux / ".gitignore").write_text("*.o\n")
    (fakelinux / "mm" / "ignored.o").write_text("in the tarball all the same\n")
    (fakelinux / "mm" / "nested" / "x.c").write_text("x\n")
    (fakelinux / "empty").mkdir()
    os.mkfifo(fakelinux / "pipe")
    subprocess.run(["tar", "-cf", tmp_path / "clone.tar", "fakelinux"], cwd=tmp_path, check=True)
    origin = source.resolve(f"tar:{tmp_path}/clone.tar", None, tmp_path / "cache")
    found = {
        name
        for name, what in listing(tree.checkout(origin, origin.tree, tmp_path / "cache")).items()
        if what is not True
    }
    assert found == {
        ".gitignore",
        "Kconfig.off",
        "Makefile",
        "drivers/foo.c",
        "mm/ignored.o",
        "mm/madvise.c",
        "mm/nested/x.c",
    }


def test_a_tarball_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    subprocess.run(["tar", "-cf", "x.tar", "x"], cwd=tmp_path, check=True)
    with pytest.raises(UserError, match="not a Linux tree"):
        source.resolve(f"tar:{tmp_path}/x.tar", None, tmp_path / "cache")
