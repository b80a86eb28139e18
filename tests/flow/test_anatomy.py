"""Objects of both architectures, by the real compilers, as a kernel's build directory holds them."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.arch import DEFAULT
from orchestrator.build import dissect, toolchain
from orchestrator.build.anatomy import elf, kernel, kit, trace
from orchestrator.build.anatomy.errand import Place
from orchestrator.judge import binary
from orchestrator.model import BinaryDiff, Call
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


@pytest.fixture(params=list(DEFAULT))
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


TRACED = """\
static inline __attribute__((always_inline)) int inner(int *p)
{
	return *p + 1;
}

__attribute__((noipa)) static int middle(int *p)
{
	volatile int room = 3;
	return inner(p) * room;
}

int outer(int *p)
{
	return middle(p) + 1;
}
"""


def call(bench: Bench, symbol: str, within: int = 1, more: int = 0) -> Call:
    """An instruction of the object: `within` bytes into a function, `more` bytes added to its size."""
    [found] = [s for s in elf.Elf((bench.top / "base/build/mm/a.o").read_bytes()).symbols if s.name == symbol]
    return Call(symbol, within, found.size + more, exact=True)


def addr2line(bench: Bench) -> str:
    return f"{toolchain.find(bench.arch).prefix}addr2line"


def lines(bench: Bench, place: Place, symbol: str) -> set[tuple[str, ...]]:
    """What is said of every byte of a function."""
    size = call(bench, symbol).size or 0
    calls = [call(bench, symbol, at) for at in range(size)]
    return set(trace.symbolise(calls, place, addr2line(bench)))


def test_a_frame_gets_its_line_and_what_was_inlined_there(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    found = lines(bench, place, "middle")
    assert ("inner mm/a.c:3 [inline]", "middle mm/a.c:9") in found
    assert ("middle mm/a.c:8",) in found
    assert ("outer mm/a.c:14",) in lines(bench, place, "outer")


def test_the_line_of_a_call_is_that_of_the_call_and_not_of_what_it_returns_to(bench: Bench) -> None:
    source = "void gone(int) __attribute__((noreturn));\nvoid last(void)\n{\n\tgone(1);\n}\nvoid next(void)\n{\n}\n"
    place = bench.place("base", source)
    size = call(bench, "last").size or 0
    returns_to = replace(call(bench, "last", size), exact=False)
    [found] = trace.symbolise([returns_to], place, addr2line(bench))
    assert found == ("last mm/a.c:4",)


def test_a_function_of_another_size_than_traced_or_built_has_no_line(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    padded, larger, smaller = (call(bench, "outer", 0, more) for more in (15, 64, -1))
    found = trace.symbolise([padded, larger, smaller], place, addr2line(bench))
    assert found[0] == ("outer mm/a.c:13",)
    assert found[1:] == [("outer (line not sure)",)] * 2
    (place.sources / "mm/a.c").write_text(TRACED.replace("+ 1;\n}\n", "+ (p == 0 ? 7 : p[1]);\n}\n"))
    assert trace.symbolise([call(bench, "outer", 2)], place, addr2line(bench)) == [("outer (line not sure)",)]


def test_what_no_object_holds_or_no_build_kept_is_left_as_it_is(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    here = call(bench, "outer")
    unknown = replace(here, symbol="nowhere"), replace(here, offset=None, size=None)
    assert trace.symbolise(unknown, place, addr2line(bench)) == [(), ()]
    assert trace.symbolise([here], place, "no-such-addr2line") == [()]
    (place.build / "kit.json.gz").unlink()
    assert trace.symbolise([here], place, addr2line(bench)) == [()]


def another(bench: Bench, place: Place, source: str) -> None:
    """Add the object mm/b.o to the build."""
    objects = bench.top / "base/build"
    (place.sources / "mm/b.c").write_text(source)
    argv = f"{toolchain.find(bench.arch).cc} -Os -c -o mm/b.o {place.sources}/mm/b.c".split()
    subprocess.run(argv, cwd=objects, check=True)
    recipe = (objects / "mm/.a.o.cmd").read_text().replace("a.o", "b.o").replace("a.c", "b.c")
    (objects / "mm/.b.o.cmd").write_text(recipe)
    dissect.keep(objects, place.build)


def test_of_functions_with_one_name_the_one_of_the_traced_size_is_meant(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    another(bench, place, "int outer(int *p)\n{\n\treturn 0;\n}\n")
    [found] = trace.symbolise([call(bench, "outer", 0)], place, addr2line(bench))
    assert found == ("outer mm/a.c:13",)


def test_functions_with_one_name_and_one_size_are_not_told_apart(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    another(bench, place, f"\n{TRACED}")
    [found] = trace.symbolise([call(bench, "outer", 0)], place, addr2line(bench))
    assert found == ("outer (line not sure)",)


def test_call_traces_are_looked_up_once(bench: Bench) -> None:
    place = bench.place("base", TRACED)
    first = trace.symbolise([call(bench, "outer")], place, addr2line(bench))
    shutil.rmtree(place.sources / "mm")
    assert trace.symbolise([call(bench, "outer")], place, addr2line(bench)) == first
