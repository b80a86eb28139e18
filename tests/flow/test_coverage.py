"""From a guest's counters to the run's record: a real tree, a real object of it and its real counters."""

import base64
import functools
import os
import subprocess
from pathlib import Path
from typing import cast

from kvm.guest import CommandResult, Guest
from kvm.vm import Limits
from orchestrator import coverage, job, plan, store
from orchestrator.build import dissect
from orchestrator.build.kbuild import KernelBuild
from orchestrator.intake import git
from orchestrator.model import Cell, LineState, Side
from orchestrator.plan import Plan
from orchestrator.trial import counters
from tests import scripted
from tests.flow.conftest import git as run_git
from tests.flow.test_gcov import FLAGS
from tests.flow.test_scripted import request_for, suite  # noqa: F401  (fixtures)

BASE = "int f(int x)\n{\n\treturn x;\n}\n"
PATCHED = """\
int f(int x)
{
	if (x > 3)
		x = *(volatile int *)&x - 6;
	return x;
}
int g(int x)
{
	return f(x);
}
"""
MAIN = "int f(int); int main(void) { return f(9) + f(1) - 4; }"
CELL = Cell(Side.PATCHED, "x86_64", "coverage")


def built(todo: Plan, top: Path) -> tuple[KernelBuild, bytes]:
    """The patched source as an object that counts, and what it counts in a program of this machine."""
    objects, kept, sources = top / "build", top / "kept", todo.sources(Side.PATCHED)
    (objects / "mm").mkdir(parents=True)
    kept.mkdir()
    command = f"gcc {FLAGS} -c -o mm/madvise.o /src/mm/madvise.c"
    there = [*command.replace("/src/", f"{sources}/").split(), f"-ffile-prefix-map={sources}=/src"]
    subprocess.run(there, cwd=objects, check=True)
    (objects / "mm/.madvise.o.cmd").write_text(f"savedcmd_mm/madvise.o := {command}\n")
    dissect.keep(objects, kept)
    (objects / "main.c").write_text(MAIN)
    subprocess.run(["gcc", "--coverage", "main.c", "mm/madvise.o", "-o", "main"], cwd=objects, check=True)
    subprocess.run(["./main"], cwd=objects, env={"PATH": os.environ["PATH"]}, check=False)
    return KernelBuild(CELL, kept, "", "", 0.0, 0.0, cached=True), (objects / "mm/madvise.gcda").read_bytes()


class Says:
    """A guest with these counters."""

    def __init__(self, content: bytes) -> None:
        self.said = f"./build/mm/madvise.gcda {base64.b64encode(content).decode()}\n".encode() if content else b""

    def run(self, command: str, *, timeout: float, output_limit: int) -> CommandResult:
        return CommandResult(0, self.said, b"", False, False, 0.1)


def test_what_guests_counted_is_on_record_line_by_line(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    todo = plan.make(request_for(BASE, PATCHED, arches=["x86_64"], flavours=["coverage"]))
    kernel, content = built(todo, tmp_path / "made")
    with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, scripted.take) as started:
        where = store.cell_directory(started.directory, CELL)
        counters.begin(where)
        counters.read("example/one", cast(Guest, Says(content)), Limits(), where)
        coverage.measure(started, CELL, kernel)
        told = {line.line: line for line in started.run.coverage}
        assert {number: line.state for number, line in told.items() if line.state.code} == {
            3: LineState.RAN,
            4: LineState.RAN,
            7: LineState.IDLE,
            9: LineState.IDLE,
        }
        assert (told[3].by, told[3].taken, told[3].branches) == ({"example/one": told[3].times}, 2, 2)
        assert started.run.notes == todo.notes

        counters.read("example/two", cast(Guest, Says(b"")), Limits(), where)  # it died
        coverage.measure(started, CELL, kernel)
        assert {line.line for line in started.run.coverage if line.state is LineState.IDLE} == set()
        assert "nobody knows of example/two" in started.run.notes[-1]


def test_sources_that_include_a_header_are_found_where_it_is_for(fakelinux: Path) -> None:
    for name, words in {
        "mm/a.c": '#include "x.h"',
        "mm/sub/b.c": '#  include "../x.h"',
        "mm/c.c": "// x.h\n#include <linux/xx.h>",
        "kernel/d.c": "#include <linux/y.h>",
        "kernel/e.c": "#include <net/y.h>",
        "fs/f.c": '#include "x.h"',
    }.items():
        (fakelinux / name).parent.mkdir(parents=True, exist_ok=True)
        (fakelinux / name).write_text(f"{words}\n")
    run_git(fakelinux, "add", ".")
    run_git(fakelinux, "commit", "-q", "-m", "sources")
    users = functools.partial(git.Repository(fakelinux / ".git").users, "HEAD")
    assert users("mm/x.h") == ["mm/a.c", "mm/sub/b.c"]
    assert users("include/linux/y.h") == ["kernel/d.c"]
    assert users("include/linux/none.h") == users("odd (name).h") == []
