"""Selftests out of a fake tree, built in the sandbox."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import plan
from orchestrator.config import Pipeline
from orchestrator.intake import git
from orchestrator.model import Cell, Side
from orchestrator.plan import Plan
from orchestrator.request import Request
from orchestrator.trial.suites import selftests, suite
from orchestrator.trial.suites.selftests import Made
from tests.flow.conftest import git as run_git

HEADERS = "headers:\n\t@mkdir -p $(O)/usr/include; date +%s%N >$(O)/usr/include/made.h\n"
TARGET = """\
TEST_GEN_PROGS := prog
$(CURDIR)/prog:
\t@cp ../../../../usr/include/made.h $@
"""


@pytest.fixture
def todo(fakelinux: Path, make_series, tmp_path: Path) -> Plan:  # type: ignore[no-untyped-def]
    """A tree with three targets, whose programs are a header that says when it was made; the second knows no limit."""
    with (fakelinux / "Makefile").open("a") as makefile:
        makefile.write(HEADERS)
    for part in ("include", "scripts", "usr", "arch/arm64"):
        (fakelinux / part).mkdir(parents=True)
        (fakelinux / part / "Makefile").touch()
    for target, settings in (("one", ""), ("two", "timeout=0\n"), ("three", "# slow\ntimeout=70\n")):
        directory = fakelinux / selftests.TREE / target
        directory.mkdir(parents=True)
        (directory / "Makefile").write_text(TARGET)
        (directory / "settings").write_text(settings)
    (directory / "config").write_text("CONFIG_OF_THREE=y\n")
    run_git(fakelinux, "add", ".")
    run_git(fakelinux, "commit", "-q", "-m", "selftests")
    asked = Pipeline(kernel=f"git:{fakelinux}", series=str(make_series("line\n")), arches=["arm64"])
    return plan.make(Request(pipeline=asked, near=str(tmp_path), cache=str(tmp_path / "cache"), jobs=2))


def made(todo: Plan, directory: Path, target: str, more: str = "", **other: float) -> Made:
    directory.mkdir()
    (directory / "suite.yaml").write_text(f"name: {target}\nkind: kselftest\ntargets: [{target}]\n{more}")
    order = replace(todo.orders[Cell(Side.BASE, "arm64", "fast")], **other)  # type: ignore[arg-type]
    return selftests.make(suite.load(directory), order, todo.sources(Side.BASE), todo.cache_dir, None)


def test_a_program_that_is_named_twice_with_other_arguments_is_two_tests(todo: Plan, tmp_path: Path) -> None:
    found = made(todo, tmp_path / "one", "one", "programs: [one/prog -a, one/prog -u]\n")
    assert [(run.name, run.command) for run in found.runs] == [
        ("one/prog -a", "./prog -a"),
        ("one/prog -u", "./prog -u"),
    ]
    once = made(todo, tmp_path / "again", "one", "programs: [one/prog -a]\n")
    assert [(run.name, run.command) for run in once.runs] == [("one/prog", "./prog -a")]


def test_a_target_that_knows_no_limit_has_kdeltas_longest_unless_the_suite_says_one(todo: Plan, tmp_path: Path) -> None:
    asked = [("one", ""), ("two", ""), ("three", ""), ("two", "timeout: 7\n")]
    found = [made(todo, tmp_path / str(number), *one) for number, one in enumerate(asked)]
    assert [run.seconds for one in found for run in one.runs] == [45, 1800, 70, 7]


@pytest.mark.parametrize(
    ("copy", "base", "patched"),
    [("own", Side.BASE, Side.PATCHED), ("base", Side.BASE, Side.BASE), ("patched", Side.PATCHED, Side.PATCHED)],
)
def test_each_side_runs_its_own_copy_or_one_of_them_runs_on_both(
    copy: str, base: Side, patched: Side, tmp_path: Path
) -> None:
    (tmp_path / "suite.yaml").write_text(f"name: mine\nkind: kselftest\ntargets: [one]\ncopy: {copy}\n")
    asked = suite.load(tmp_path)
    assert (selftests.whose(asked, Side.BASE), selftests.whose(asked, Side.PATCHED)) == (base, patched)


def test_the_options_that_targets_ask_for_are_read_from_the_tree(todo: Plan, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("name: mine\nkind: kselftest\ntargets: [one, three]\n")
    order = todo.orders[Cell(Side.BASE, "arm64", "fast")]
    repository = git.Repository(order.source.git_dir)
    assert selftests.config(suite.load(tmp_path), order.files, repository) == "CONFIG_OF_THREE=y\n"


def test_selftests_that_take_too_long_to_build_say_which_limit_that_is(todo: Plan, tmp_path: Path) -> None:
    found = made(todo, tmp_path / "one", "one", limit_seconds=0.01)
    assert [one.why for one in found.unrun] == ["no end in 0 s (limits.build)"]


def test_the_headers_of_a_tree_are_made_once_for_all_suites_of_selftests(todo: Plan, tmp_path: Path) -> None:
    found = [made(todo, tmp_path / target, target) for target in ("one", "two")]
    assert [[run.name for run in one.runs] for one in found] == [["one/prog"], ["two/prog"]], found
    when = {path.read_text() for one in found for place, path in one.files.items() if place.endswith("/prog")}
    assert len(when) == 1 and when != {""}
