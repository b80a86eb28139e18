"""Which lines count and what they counted, of objects by the real compilers and by their own gcov."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kvm.arch import DEFAULT, get
from orchestrator.build import dissect, toolchain
from orchestrator.build.anatomy import gcov
from orchestrator.build.anatomy.errand import NoAnswer, Place
from orchestrator.build.sandbox import Sandbox
from orchestrator.build.toolchain import Toolchain
from tests.flow.conftest import QUOTA

SOURCE = """\
#include "thing.h"
#ifdef CONFIG_NEVER
int never(void) { return 1; }
#endif
int sign(int value)
{
	if (value < 0 &&
		value != -7)
		return helped(value);
	return 1;
}
"""
HEADER = "static inline int helped(int value)\n{\n\treturn value * 3;\n}\n"
MAIN = "int sign(int value); int main(void) { return sign(-5) + sign(4) + sign(5) + 13; }"
FLAGS = "-O2 -fprofile-arcs -ftest-coverage -frandom-seed=kdelta"


class Bench:
    """A tree, what stands for its build directory, and what counts in it."""

    def __init__(self, top: Path, arch: str, kind: str = "gcc") -> None:
        self.toolchain = toolchain.find(arch, kind)
        self.objects = top / "build"
        sources, kept = top / "src", top / "kept"
        for directory in (sources / "mm", self.objects / "mm", kept):
            directory.mkdir(parents=True)
        (sources / "mm/a.c").write_text(SOURCE)
        (sources / "mm/thing.h").write_text(HEADER)
        (top / "main.c").write_text(MAIN)
        command = f"{self.toolchain.cc} {FLAGS} -c -o mm/a.o /src/mm/a.c"
        done = Sandbox(sources, self.objects, top / "ccache", QUOTA).run(command.split())  # a .gcno names its places
        assert done.returncode == 0, done.output
        recipe = f"savedcmd_mm/a.o := {command} ; ./objtool mm/a.o\n\ndeps_mm/a.o := \\\n  /src/mm/thing.h \\\n"
        (self.objects / "mm/.a.o.cmd").write_text(recipe)
        dissect.keep(self.objects, kept)
        self.place = Place(kept, sources, top / "ccache", QUOTA)

    def counts(self, top: Path) -> bytes:
        """What the object counts in a program of this machine."""
        subprocess.run(
            [self.toolchain.cc, "--coverage", top / "main.c", "mm/a.o", "-o", "main"], cwd=self.objects, check=True
        )
        here = {"PATH": os.environ["PATH"], "GCOV_PREFIX": str(self.objects), "GCOV_PREFIX_STRIP": "1"}
        subprocess.run(["./main"], cwd=self.objects, env=here, check=True)
        return (self.objects / "mm/a.gcda").read_bytes()


FILES = ("mm/a.c", "mm/thing.h")


def gccs(*arches: str) -> list[tuple[str, str]]:
    """Each architecture with every gcc that is installed for it."""
    kinds = [(arch, kind) for arch in arches for kind in toolchain.kinds(arch) if kind.startswith("gcc")]
    return [(arch, kind) for arch, kind in kinds if shutil.which(Toolchain(kind, get(arch).prefix).cc)]


@pytest.mark.parametrize(("arch", "kind"), gccs(*DEFAULT))
def test_lines_with_counters_and_lines_that_if_took_away_are_told_apart(arch: str, kind: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, arch, kind)
    told = gcov.look(bench.place, FILES, gcov.program(bench.toolchain))
    assert told.notes == ()
    [compiled] = told.objects.values()
    assert set(compiled.counters["mm/a.c"]) == {5, 7, 8, 9}  # a constant has none of its own
    assert set(compiled.counters["mm/thing.h"]) == {3}
    assert 3 not in compiled.left["mm/a.c"]
    assert {5, 6, 7, 8, 9, 10, 11} <= set(compiled.left["mm/a.c"])


@pytest.mark.parametrize(("arch", "kind"), gccs("x86_64"))
def test_what_a_program_counted_is_read_line_by_line(arch: str, kind: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, arch, kind)
    program = gcov.program(bench.toolchain)
    lines, notes = gcov.read(bench.place, FILES, program, {"one": ("mm/a.o", bench.counts(tmp_path))})
    assert notes == ()
    assert {line: lines["one"]["mm/a.c"][line].times for line in (5, 7, 9)} == {5: 3, 7: 3, 9: 1}
    assert sorted(lines["one"]["mm/a.c"][7].branches + lines["one"]["mm/a.c"][8].branches) == [1, 2]
    assert lines["one"]["mm/thing.h"][3].times == 1


def test_what_a_guest_made_up_is_not_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "x86_64")
    counts = {"bad": ("mm/a.o", b"nothing of the kind"), "none": ("mm/b.o", b"")}
    lines, notes = gcov.read(bench.place, FILES, gcov.program(bench.toolchain), counts)
    assert lines == {}
    assert len(notes) == 2


def test_a_compiler_without_its_gcov_is_named_with_the_package_that_has_it() -> None:
    with pytest.raises(NoAnswer, match=r"no gcov of riscv64-.*gcc 4\.9\.2 .*apt install gcc-4-riscv64-linux-gnu"):
        gcov.program(Toolchain("gcc", "riscv64-linux-gnu-", "riscv64-linux-gnu-gcc (Debian 4.9.2-1) 4.9.2"))
    with pytest.raises(NoAnswer, match="build with gcc"):
        gcov.program(Toolchain("clang", "", "Debian clang version 14.0.6"))
