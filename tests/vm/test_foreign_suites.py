"""A directory of programs and scripts that nobody wrote for kdelta, on real guests of both architectures."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import snapshot
from kvm.qemu import Machine
from orchestrator import places
from orchestrator.model import Cell, Side
from orchestrator.places import Places
from orchestrator.trial import durations
from orchestrator.trial.runner import run
from orchestrator.trial.suites import found, payload
from orchestrator.trial.suites.payload import Place
from orchestrator.trial.trial import Trial, Yard
from tests.vm.conftest import LIMITS

pytestmark = pytest.mark.vm

OWN = "int own(void) { return 42; }\n"
CPP = """\
#include <cstdio>
#include <string>
#include <thread>
extern "C" int own();
int main(int, char **argv) {
  int seen = 0;
  std::thread([&] { seen = own(); }).join();
  bool here = std::string(argv[0]).find("/bin/") != std::string::npos;
  std::printf("TAP version 13\\n1..2\\nok 1 own\\n%s 2 at its place\\n", here ? "ok" : "not ok");
  return seen != 42;
}
"""
BASH = """\
#!/usr/bin/env bash
words=(one two three)
[[ ${words[2]} == three ]] && grep -q data "$(dirname "$0")/../data file"
"""

DISK = """\
#!/bin/sh -ex
[ "$(cat /sys/class/block/"$(readlink /dev/scratch)"/size)" = 16384 ]
grep '^/dev/vda .*[^0-9]16380' /proc/swaps
echo data >/dev/scratch
[ "$(head -c 4 /dev/scratch)" = data ]
"""


def fill(top: Path, compiler: str) -> None:
    """Lay out a library near a C++ program that needs it, scripts, and one that takes the guest down."""

    def compiled(source: str, *words: object) -> None:
        subprocess.run([compiler, *map(str, words)], input=source.encode(), check=True)

    scripts = {"a b's.sh": "#!/bin/sh\nexit 4\n", "dies": "#!/bin/sh\necho c >/proc/sysrq-trigger\nsleep 60\n"}
    for name, text in {**scripts, "t/arrays": BASH, "t/disk": DISK, "data file": "data\n"}.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    (top / "bin").mkdir()
    (top / "lib").mkdir()
    compiled(OWN, "-xc", "-", "-shared", "-fPIC", "-o", top / "lib" / "libown.so")
    compiled(CPP, "-xc++", "-", "-xnone", "-pthread", f"-L{top / 'lib'}", "-lown", "-o", top / "bin" / "uses")


def test_foreign_programs_run_with_their_libraries_and_one_that_kills_its_guest_takes_no_other_along(
    machine: Machine, shared_cache: Path, tmp_path: Path
) -> None:
    machine = replace(machine, more_mib=8)
    fill(tmp_path / "foreign", f"{machine.arch.prefix}g++")
    suite = found.suite(tmp_path / "foreign")
    given = payload.make(suite, Place(machine.arch, Side.BASE, shared_cache))
    trial = Trial(Cell(Side.BASE, machine.arch.name, "fast"), machine, LIMITS, (given,), 1, tmp_path / "cell")
    seen = run(trial, snapshot.take, Yard(Places(2, places.free_mib), durations.of(tmp_path, machine.arch.name)))
    assert {result.name: result.outcome.value for result in seen.results} == {
        "a b's.sh": "skip",
        "bin/uses": "pass",
        "bin/uses/own": "pass",
        "bin/uses/at its place": "pass",
        "dies": "crash",
        "t/arrays": "pass",
        "t/disk": "pass",
    }, [(result.name, result.output) for result in seen.results]
    assert seen.guest.outcome == "panic"
    assert [end.outcome for end in seen.ends] == ["pass"]
