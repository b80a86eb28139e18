"""What a series leaves behind decides about no later build: not of another series, nor of its own next version."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.errors import BuildError
from orchestrator import config, plan
from orchestrator.build import kbuild, objdir, stock
from orchestrator.config import Pipeline
from orchestrator.intake import source
from orchestrator.request import Request
from tests.flow.conftest import git
from tests.flow.test_intake_and_build import EDITED, LINES, order

pytestmark = pytest.mark.long

# what a Makefile of a series does to objects, to make's clock and to ccache
FORGE = "echo FORGED >$(O)/built; touch -d 2099-01-01 $(O)/built"
CCACHE = "echo prefix_command=/build/evil >/ccache/ccache.conf; touch /ccache/forged; touch /build/done"
HONEST = EDITED.upper()

Commit = Callable[..., str]


@pytest.fixture
def commit(fakelinux: Path) -> Commit:
    """Make a tree of the repository: mm/madvise.c, and what `make tinyconfig` does first; returns its id."""

    def make(text: str = "".join(LINES), deed: str = "") -> str:
        git(fakelinux, "checkout", "-q", "-B", "topic", "main")
        makefile = fakelinux / "Makefile"
        if deed:
            makefile.write_text(makefile.read_text().replace("tinyconfig:\n", f"tinyconfig:\n\t@{deed}\n"))
        (fakelinux / "mm" / "madvise.c").write_text(text)
        git(fakelinux, "commit", "-q", "-a", "--allow-empty", "-m", "a change")
        tree = git(fakelinux, "rev-parse", "HEAD^{tree}")
        git(fakelinux, "tag", "-f", f"t-{tree}")
        git(fakelinux, "checkout", "-q", "-f", "main")
        return tree

    return make


@pytest.fixture
def build(fakelinux: Path, tmp_path: Path) -> Callable[..., str]:
    """Build a tree of the repository in the shared cache, and return its image."""
    cache = tmp_path / "cache"

    def make(files: str | None = None, **more: object) -> str:
        origin = source.resolve(f"git:{fakelinux}", None, cache)
        wanted = replace(order(files or origin.tree, origin), **more)  # type: ignore[arg-type]
        return kbuild.build(wanted, cache, tmp_path / "log").image.read_text()

    return make


def test_objects_that_one_version_forged_are_not_the_next_ones(commit: Commit, build: Callable[..., str]) -> None:
    build()
    assert build(commit(EDITED, FORGE)) == "FORGED\n"
    assert build(commit(HONEST)) == HONEST


def test_a_series_does_not_reach_the_objects_of_base(commit: Commit, build: Callable[..., str], tmp_path: Path) -> None:
    build()
    [objects] = (tmp_path / "cache" / "objects").glob("?" * 81)
    before = {path: path.read_bytes() for path in objects.rglob("*") if path.is_file()}
    build(commit(EDITED, FORGE))
    assert {path: path.read_bytes() for path in objects.rglob("*") if path.is_file()} == before
    shutil.rmtree(tmp_path / "cache" / "builds")
    assert build() == "".join(LINES)


def test_objects_in_which_a_build_took_permissions_away_are_not_the_next_ones(
    commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    build()
    lock = "mkdir -p $(O)/locked/deeper; touch $(O)/locked/deeper/left; chmod 0 $(O)/locked/deeper $(O)/locked"
    with contextlib.suppress(BuildError):  # root can read all of it
        build(commit(EDITED, lock))
    assert build(commit(HONEST)) == HONEST
    assert not list((tmp_path / "cache" / "objects").rglob("left"))


def test_ccache_is_read_by_a_series_and_written_by_base(
    commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    build()
    build(commit(EDITED, CCACHE))
    left = {path.name for path in (tmp_path / "cache" / "ccache").rglob("*")}
    assert not {"ccache.conf", "forged"} & left
    [copy] = (tmp_path / "cache" / "objects").glob("*-series")
    assert (copy / "done").is_file()


def test_a_step_that_forges_is_in_no_image_but_those_of_steps_behind_it(
    commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    evil, mended = commit(EDITED, FORGE), commit(HONEST)
    build()
    build(evil)
    assert build(mended, after=(evil,)) == "FORGED\n"  # its own author's, and kept under a name of its own
    assert build(mended) == HONEST


def test_steps_are_built_on_top_of_each_other(commit: Commit, build: Callable[..., str], tmp_path: Path) -> None:
    first, second, third = commit("one\n"), commit("two\n", "echo $$$$ >>/build/makes"), commit("three\n")
    build()
    assert build(first) == "one\n"
    [copy] = (tmp_path / "cache" / "objects").glob("*-series")
    mark(copy)
    assert build(second, after=(first,)) == "two\n"
    assert build(third, after=(first, second)) == "three\n"
    assert (copy / "mark").is_file()
    assert build(third) == "three\n"
    assert not (copy / "mark").exists()


def test_a_step_compiles_what_it_changes_and_not_what_a_step_before_it_did(
    fakelinux: Path, commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    first = commit(EDITED)
    git(fakelinux, "checkout", "-q", "topic")
    (fakelinux / "README").write_text("more\n")
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "more")
    second = git(fakelinux, "rev-parse", "HEAD^{tree}")
    git(fakelinux, "checkout", "-q", "main")
    build()
    build(first)
    assert "COMPILED" in (tmp_path / "log").read_text()
    assert build(second, after=(first,)) == EDITED
    assert "COMPILED" not in (tmp_path / "log").read_text()
    assert build(second) == EDITED  # in a new copy of base's objects
    assert "COMPILED" in (tmp_path / "log").read_text()


def test_the_same_build_again_goes_on_with_its_own_objects(
    commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    tree = commit(EDITED)
    build()
    build(tree)
    shutil.rmtree(tmp_path / "cache" / "builds")
    build(tree)
    assert "COMPILED" not in (tmp_path / "log").read_text()


def test_a_series_whose_base_has_lost_its_objects_makes_them_anew_and_once(
    commit: Commit, build: Callable[..., str], tmp_path: Path
) -> None:
    build()
    shutil.rmtree(tmp_path / "cache" / "objects")
    assert build(commit(EDITED)) == EDITED
    [objects] = (tmp_path / "cache" / "objects").glob("?" * 81)
    mark(objects)
    assert build(commit(HONEST)) == HONEST
    assert (objects / "mark").is_file()


def test_a_series_on_a_base_that_does_not_build_is_built_all_the_same(
    fakelinux: Path, commit: Commit, build: Callable[..., str]
) -> None:
    fixed = commit(EDITED)
    (fakelinux / "mm" / "madvise.c").write_text("SYNTAX\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "broken")
    with pytest.raises(BuildError):
        build()
    assert build(fixed) == EDITED


def test_nobody_else_reaches_what_a_build_leaves(build: Callable[..., str], commit: Commit, tmp_path: Path) -> None:
    build()
    build(commit(EDITED, "cp /bin/true $(O)/mine; chmod 4755 $(O)/mine"))
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache" / "objects").iterdir() if path.is_dir()}
    assert modes == {0o700}


@pytest.mark.parametrize("revert", [False, True])
def test_the_users_own_tree_is_the_one_that_others_start_from(
    fakelinux: Path, make_series, tmp_path: Path, revert: bool
) -> None:
    made = plan.make(_request(fakelinux, make_series(EDITED, HONEST), tmp_path, revert=revert))
    base, patched = made.orders.values()
    own, other = (patched, base) if revert else (base, patched)
    assert own.start is None
    assert own.files == git(fakelinux, "rev-parse", "HEAD^{tree}")
    assert other.start == own
    images = [kbuild.build(one, tmp_path / "cache", tmp_path / "log").image.read_text() for one in (base, patched)]
    assert images == ["".join(LINES), HONEST]
    assert objdir.is_usable(own, tmp_path / "cache")


def test_steps_name_all_trees_before_them(fakelinux: Path, make_series, tmp_path: Path) -> None:
    made = plan.make(_request(fakelinux, make_series("1\n", "2\n", "3\n"), tmp_path, each_patch=True))
    [lane] = made.lanes
    [first, second] = [one for _, _, one in made.steps(lane)]
    assert (first.after, second.after) == ((), (first.files,))
    keys: set[str] = {one.key for one in (first, second, replace(second, after=()), *made.orders.values())}
    assert len(keys) == 5


def mark(objects: Path) -> None:
    """Put a file among objects as if make had left it there."""
    (objects / "mark").touch()
    stock.take(objects, objdir.findings(objects))


def _request(fakelinux: Path, series: Path, tmp_path: Path, **more: bool) -> Request:
    if more.get("revert"):
        git(fakelinux, "merge", "-q", "--ff-only", "topic")
    pipeline = Pipeline(kernel=f"git:{fakelinux}", series=str(series), arches=["x86_64"], **more)
    return Request(pipeline=pipeline, near=str(config.__file__), cache=str(tmp_path / "cache"), jobs=2)
