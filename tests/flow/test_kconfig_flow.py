"""What Kconfig makes of what was asked for: real make on the fake tree, real kconfiglib in the sandbox."""

import tarfile
from pathlib import Path

import pytest

from orchestrator import job, plan, sides, store
from orchestrator.build import kconfig_ask
from orchestrator.build.kconfig import Wish
from orchestrator.build.order import Order
from orchestrator.build.sandbox import Sandbox
from orchestrator.config import Pipeline
from orchestrator.intake import source
from orchestrator.model import Cell, Run, Side
from orchestrator.request import Request
from tests import scripted
from tests.flow.conftest import QUOTA, git

KCONFIG = """\
config MODULES
\tbool "modules"
\tmodules

config DEEP
\tbool "deep"

config HIDDEN
\tbool

config SELECTS
\tbool "selects" if DEEP
\tdepends on DEEP
\tselect HIDDEN

config NEVER
\tbool "never"
\tdepends on !DEEP && 0=1

config WANTED
\ttristate "wanted"
\tdepends on (NEVER || SELECTS) && HIDDEN && EQUAL=y

config EQUAL
\tbool "equal"
"""


@pytest.fixture
def build(fakelinux: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Commit edits of the fake tree on a branch, and build both sides of one lane."""

    def run(edits: dict[str, str], **keys: object) -> tuple[Run, sides.Built]:
        git(fakelinux, "checkout", "-q", "-B", "topic", "main")
        for name, text in edits.items():
            (fakelinux / name).write_text(text)
        git(fakelinux, "add", ".")
        git(fakelinux, "commit", "-q", "-m", "an edit")
        git(fakelinux, "checkout", "-q", "main")
        asked = Pipeline(kernel=f"git:{fakelinux}", series="main..topic", arches=["x86_64"], suites=["example"], **keys)
        request = Request(pipeline=asked, near=str(tmp_path), cache=str(tmp_path / "cache"), jobs=2)
        todo = plan.make(request)
        with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, scripted.take) as started:
            built = sides.build(started, todo.lanes[0])
            return started.run, built

    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "main.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "example" / "suite.yaml").write_text("name: example\nkind: ktap\nsources: [main.c]\n")
    return run


def fragment(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "own.config").write_text(text)
    return [str(tmp_path / "own.config")]


def test_modules_are_built_where_there_are_any(build, tmp_path: Path) -> None:
    run, built = build({"drivers/foo.c": "BAD\n"}, fragments=fragment(tmp_path, "CONFIG_FOO=m\n"))
    assert [(record.side, bool(record.error)) for record in run.builds] == [("base", False), ("patched", True)]
    assert "BUILT MODULES" in (next(iter(built.values())).log).read_text()


@pytest.mark.parametrize(
    ("deed", "kept"),
    [
        ("printf 'kernel/a/x.ko\\na/y.o\\na/x.o\\n'", ["a/x.ko", "a/y.ko"]),
        ("printf '. / .. ../a/x.o /etc/passwd.o a/../../a/x.o b/x.o a/gone.o\\n'", []),
    ],
)
def test_modules_are_kept_that_are_files_of_the_build(  # type: ignore[no-untyped-def]
    build, fakelinux: Path, tmp_path: Path, deed: str, kept: list[str]
) -> None:
    lay = "mkdir -p $(O)/a; echo X >$(O)/a/x.ko; echo Y >$(O)/a/y.ko; ln -sfn /src $(O)/b;"
    makefile = (fakelinux / "Makefile").read_text()
    edited = makefile.replace("@echo BUILT MODULES;", f"@{lay} {deed} >$(O)/modules.order;")
    run, built = build({"Makefile": edited}, fragments=fragment(tmp_path, "CONFIG_FOO=m\n"))
    assert [record.error for record in run.builds] == [None, None]
    archive = next(kernel.modules for cell, kernel in built.items() if cell.side == "patched")
    with tarfile.open(archive) as members:
        assert sorted(members.getnames()) == kept


def test_a_module_that_is_a_link_is_no_module_of_this_build(build, fakelinux: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    deed = "@echo X >$(O)/y.ko; ln -sf y.ko $(O)/x.ko; echo x.o >$(O)/modules.order;"
    edited = (fakelinux / "Makefile").read_text().replace("@echo BUILT MODULES;", deed)
    run, _ = build({"Makefile": edited}, fragments=fragment(tmp_path, "CONFIG_FOO=m\n"))
    assert "make left modules that cannot be read" in (run.builds[1].error or "")


def test_an_option_that_the_series_takes_out_is_said_and_no_fault_of_the_request(build, tmp_path: Path) -> None:
    run, _ = build({"Kconfig.off": "BROKEN\nCONFIG_SMP\n"}, fragments=fragment(tmp_path, "CONFIG_SMP=y\n"))
    assert [record.error for record in run.builds] == [None, None]
    assert "with the series, olddefconfig drops CONFIG_SMP, which was asked for" in " ".join(run.notes)
    assert ("SMP", "y", "n") in [(change.option, change.base, change.patched) for change in run.configs]


def test_an_option_that_the_series_brings_can_be_asked_for(build, fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "Kconfig").write_text("config OLD\n")
    (fakelinux / "Kconfig.off").write_text("BROKEN\nNEWOPT\n")
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "no such option yet")
    edits = {"Kconfig": "config OLD\n\nconfig NEWOPT\n", "Kconfig.off": "BROKEN\n"}
    run, _ = build(edits, fragments=fragment(tmp_path, "CONFIG_NEWOPT=y\n"))
    assert [record.error for record in run.builds] == [None, None]
    assert ("NEWOPT", "n", "y") in [(change.option, change.base, change.patched) for change in run.configs]


def test_what_olddefconfig_makes_of_a_config_of_ones_own_is_said(build, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("CONFIG_BROKEN=y\nCONFIG_KEPT=y\n")
    run, _ = build({"mm/madvise.c": "x\n"}, config=str(tmp_path / "mine"))
    assert "x86_64-fast: of --config's file, olddefconfig changed CONFIG_BROKEN" in run.notes


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    for name in ("src", "obj", "ccache"):
        (tmp_path / name).mkdir()
    (tmp_path / "src" / "Kconfig").write_text(KCONFIG)
    (tmp_path / "obj" / ".config").write_text("")
    return Sandbox(tmp_path / "src", tmp_path / "obj", tmp_path / "ccache", QUOTA)


@pytest.fixture
def order(fakelinux: Path, tmp_path: Path) -> Order:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    return Order(Cell(Side.BASE, "x86_64", "fast"), origin, origin.tree, Wish("tinyconfig", ""), 1, 60, QUOTA)


def test_kconfig_says_what_an_option_waits_for(box: Sandbox, order: Order) -> None:
    assert kconfig_ask.why(box, order, ["WANTED", "DEEP", "NO_SUCH"]) == {
        "WANTED": "depends on NEVER || SELECTS && HIDDEN && EQUAL = y",
        "DEEP": "",
        "NO_SUCH": "this tree has no such option",
    }


def test_enabling_an_option_brings_what_it_depends_on_and_nothing_that_cannot_be_had(
    box: Sandbox, order: Order
) -> None:
    found = kconfig_ask.enable(box, order, ["WANTED", "NEVER"])
    assert sorted(found.splitlines()) == ["CONFIG_DEEP=y", "CONFIG_EQUAL=y", "CONFIG_SELECTS=y", "CONFIG_WANTED=y"]
