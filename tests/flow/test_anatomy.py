"""Objects of both architectures, by the real compilers, as a kernel's build directory holds them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kvm.arch import ARCHES
from orchestrator.build import dissect, toolchain
from orchestrator.build.anatomy import kernel, kit
from orchestrator.build.anatomy.errand import Place
from orchestrator.judge import binary
from orchestrator.model import BinaryDiff
from tests.flow.conftest import QUOTA

SOURCE = """\
#include "thing.h"
static int count;
__attribute__((noinline)) static int first(struct thing *t) { return t->a + count; }
__attribute__((noinline)) int second(struct thing *t) { return t->a * 3 - count++; }
int third(struct thing *t) { return first(t) + second(t); }
"""
HEADER = "struct thing { int a; };\n"
FAT = SOURCE.replace("return first", "volatile char room[400]; room[t->a] = 1; return room[3] + first")


class Bench:
    """Two trees and what stands for their build directories."""

    def __init__(self, top: Path, arch: str) -> None:
        self.top = top
        self.arch = arch

    def place(self, side: str, source: str, header: str = HEADER) -> Place:
        sources, objects, kept = (self.top / side / name for name in ("src", "build", "kept"))
        for directory in (sources / "mm", objects / "mm", kept):
            directory.mkdir(parents=True)
        (sources / "mm/a.c").write_text(source)
        (sources / "mm/thing.h").write_text(header)
        command = f"{toolchain.find(self.arch).cc} -Os -c -o mm/a.o /src/mm/a.c"
        words = command.replace("/src/", f"{sources}/").split()
        subprocess.run(words, cwd=objects, check=True)
        recipe = f"savedcmd_mm/a.o := {command} ; ./objtool mm/a.o\n\ndeps_mm/a.o := \\\n  /src/mm/thing.h \\\n"
        (objects / "mm/.a.o.cmd").write_text(recipe)
        dissect.keep(objects, kept)
        return Place(kept, sources, self.top / "ccache", QUOTA)

    def compare(self, base: Place, patched: Place, touched: list[str]) -> BinaryDiff:
        two = dissect.dissect(
            (base, patched), self.arch, touched, lambda *both: [c.name for c in binary.objects_that_differ(*both)]
        )
        return binary.diff(*two, arch=self.arch, flavour="fast")


@pytest.fixture(params=list(ARCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


def test_the_same_source_in_another_directory_is_the_same_object(bench: Bench) -> None:
    found = bench.compare(bench.place("base", SOURCE), bench.place("patched", SOURCE), [])
    assert found.objects == ()
    assert found.summary == "no object differs"


def test_a_larger_frame_and_the_function_that_has_it_are_named(bench: Bench) -> None:
    found = bench.compare(bench.place("base", SOURCE), bench.place("patched", FAT), ["mm/a.c"])
    [change] = found.objects
    assert change.name == "mm/a.o"
    assert [function.name for function in found.functions] == ["third"]
    [frame] = found.frames
    assert frame.name == "third"
    assert frame.patched is not None and frame.base is not None and frame.patched - frame.base >= 384
    assert found.summary.startswith("only mm/a.o differs: third grew by ")


def test_a_function_that_another_moved_is_the_same_and_one_with_another_constant_is_not(bench: Bench) -> None:
    patched = SOURCE.replace("* 3", "* 5")
    found = bench.compare(bench.place("base", SOURCE), bench.place("patched", patched), ["mm/a.c"])
    assert [function.name for function in found.functions] == ["second"]


def test_a_layout_is_shown_on_both_sides(bench: Bench) -> None:
    wider = "struct thing { long more; int a; };\n"
    found = bench.compare(bench.place("base", SOURCE), bench.place("patched", SOURCE, wider), ["mm/thing.h"])
    [change] = found.structs
    assert change.name == "struct thing"
    assert change.base and "size: 4," in change.base
    assert change.patched and "size: 16," in change.patched and "more;" in change.patched
    assert "struct thing 4 -> 16 bytes" in found.summary


def test_an_object_that_no_longer_compiles_is_a_note(bench: Bench) -> None:
    base, patched = bench.place("base", SOURCE), bench.place("patched", FAT)
    (patched.sources / "mm/thing.h").unlink()
    found = bench.compare(base, patched, ["mm/a.c"])
    assert any("mm/a.o did not compile again" in note for note in found.notes)
    assert found.functions != ()


def test_a_closer_look_is_taken_once(bench: Bench) -> None:
    base, patched = bench.place("base", SOURCE), bench.place("patched", FAT)
    first = bench.compare(base, patched, ["mm/a.c"])
    shutil.rmtree(base.sources / "mm")
    (base.sources / "mm").mkdir()
    assert bench.compare(base, patched, ["mm/a.c"]) == first


def test_links_that_a_makefile_laid_are_not_followed(bench: Bench) -> None:
    place = bench.place("base", SOURCE)
    objects = bench.top / "base/build"
    secret = bench.top / "secret"
    secret.write_text("0x1\tkey\tvmlinux\tEXPORT_SYMBOL\t\n")
    for name in ("mm/b.o", "mm/b.h", "Module.symvers"):
        (objects / name).symlink_to(secret)
    found = kernel.take(objects)
    assert list(found.objects) == ["mm/a.o"]
    assert found.exports == {}
    kit.save(objects, place.build)
    kit.unpack(place.build, bench.top / "out")
    assert not (bench.top / "out/mm/b.h").exists()
