"""What a run says of ccache: real gcc behind the real ccache, in a tree of a few files."""

from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator.build import ccache, kbuild
from orchestrator.build.kbuild import KernelBuild
from orchestrator.intake import source
from tests.flow.conftest import git
from tests.flow.test_intake_and_build import order

FILES = 5
COMPILE = "\t@for n in mm/*.n.c; do ccache gcc -O2 -c $$n -o $(O)/x.o || exit 1; done; cp $(O)/built"
SOURCE = "#include <stdio.h>\nvoid f{0}(void) {{ puts(__FILE__); }}\n"


def compiling(fakelinux: Path) -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("\t@cp $(O)/built", COMPILE, 1))
    for number in range(FILES):
        (fakelinux / "mm" / f"{number}.n.c").write_text(SOURCE.format(number))
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "sources")


def test_a_build_says_what_ccache_saved_as_soon_as_one_without_it_is_known(fakelinux: Path, tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    compiling(fakelinux)

    def build() -> KernelBuild:
        origin = source.resolve(f"git:{fakelinux}", None, cache)
        return kbuild.build(order(origin.tree, origin), cache, log)

    whole = build()
    assert (whole.ccache_hits, whole.ccache_asked, whole.ccache_saved_cpu_seconds) == (0, FILES, 0.0)
    (fakelinux / "drivers" / "foo.c").write_text("another tree\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "another tree")
    again = build()
    assert (again.ccache_hits, again.ccache_asked) == (FILES, FILES)
    assert again.ccache_saved_cpu_seconds == round(max(0.0, whole.cpu_seconds - again.cpu_seconds), 3)
    assert again.record(noop=False).ccache_saved_cpu_seconds == again.ccache_saved_cpu_seconds
    kbuild.shutil.rmtree(whole.directory)
    (fakelinux / "drivers" / "foo.c").write_text("a third one\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "a third one")
    assert build().ccache_saved_cpu_seconds is None


def test_what_a_series_cost_is_no_measure(fakelinux: Path, tmp_path: Path) -> None:
    compiling(fakelinux)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    (fakelinux / "mm" / "1.n.c").write_text("int x;\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "another tree")
    wanted = order(git(fakelinux, "rev-parse", "HEAD^{tree}"), origin)
    assert kbuild.build(wanted, tmp_path / "cache", tmp_path / "log").setting == ""


@pytest.mark.long
def test_a_machine_finds_what_another_one_compiled_and_a_series_leaves_nothing_there(
    fakelinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv(ccache.SHARED, str(shared))
    compiling(fakelinux)
    base = git(fakelinux, "rev-parse", "HEAD")
    (fakelinux / "mm" / "1.n.c").write_text("int x;\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "a series")
    patched = git(fakelinux, "rev-parse", "HEAD^{tree}")

    def build(machine: str, files: str = "") -> KernelBuild:
        origin = source.resolve(f"git:{fakelinux}", base, tmp_path / machine)
        return kbuild.build(order(files or origin.tree, origin), tmp_path / machine, tmp_path / "log")

    def held() -> set[Path]:
        return {path for path in shared.rglob("*") if path.is_file()}

    assert build("one").ccache_hits == 0
    ours = held()
    assert ours
    assert build("two").ccache_hits == FILES
    assert build("two", patched).ccache_hits == FILES - 1
    assert held() == ours


def test_a_shared_cache_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ccache.SHARED, str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"\$KDELTA_CCACHE_SHARED: .*gone is no directory"):
        ccache.shared()
