"""One guest that follows a script, one suite of each kind: results, metrics, and how the program ended."""

from pathlib import Path

import pytest

from kvm.arch import get
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator.model import Cell, GuestRun, Side
from orchestrator.places import Places
from orchestrator.trial import durations
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.runner import Program, Trial, Yard, run
from orchestrator.trial.suites.suite import Needs, Suite
from tests import scripted

RUNS = "stress-ng: info:  [1] dispatching hogs: 1 cpu"
RATE = "stress-ng: metrc: [1] cpu 10 1.00 1.00 0.00 5.0 6.0"
OVER = "stress-ng: info:  [1] successful run completed in 1 s"


def ran(tmp_path: Path, kind: SuiteKind, *script: str) -> GuestRun:
    image = tmp_path / "image"
    image.write_text("program:\n" + "".join(f"{line}\n" for line in script))
    (tmp_path / "suite").write_bytes(b"\x7fELF")
    machine = Machine(get("arm64"), image, tmp_path / "initrd", "tcg")
    suite = Suite(tmp_path, "suite", kind, (), 60, Needs())
    program = Program(suite, tmp_path / "suite")
    trial = Trial(Cell(Side.BASE, "arm64", "fast"), machine, Limits(), (program,), 1, tmp_path)
    return run(trial, scripted.take, Yard(Places(2, lambda: 4096), durations.of(tmp_path, "arm64")))


@pytest.mark.parametrize(
    ("kind", "script", "results", "end"),
    [
        ("ktap", ["say 1..1", "say ok 1 a"], {"a": "pass"}, ("pass", "")),
        ("ktap", ["say 1..1", "mutter ok 1 a"], {"a": "pass"}, ("pass", "")),
        ("ktap", ["say 1..1", "mutter ok 1 a", "exit 139"], {}, ("crash", "killed by SIGSEGV; ok 1 a")),
        ("ktap", ["say 1..1", "say # run a", "mutter ok 1 a", "die"], {"a": "crash"}, ("lost", "")),
        ("ktap", ["say 1..0 # SKIP no device", "exit 4"], {}, ("skip", "no device")),
        ("kselftest", ["say 1..1", "say # selftests: mm: a", "die"], {"selftests: mm: a": "crash"}, ("lost", "")),
        ("gtest", ["say [ RUN      ] A.a", "exit 139"], {"A.a": "crash"}, ("crash", "killed by SIGSEGV")),
        ("ltp", ["say a.c:1: TCONF: no bpf", "exit 32"], {"suite": "skip"}, ("skip", "exit status 32")),
        ("stress-ng", [f"say {RUNS}", f"say {RATE}", f"say {OVER}"], {"cpu": "pass"}, ("pass", "")),
        ("bench", ["say a 1 ns", "exit 1"], {}, ("crash", "exit status 1")),
        ("exit", ["say not here", "complain words", "exit 4"], {}, ("skip", "exit status 4; not here; words")),
        ("script", ["say all went well", "complain words"], {}, ("pass", "all went well")),
        ("script", ["say half of it", "complain words", "exit 2"], {}, ("fail", "exit status 2; half of it; words")),
    ],
)
def test_a_suite_is_read_and_its_exit_judged_by_its_kind(
    tmp_path: Path, kind: str, script: list[str], results: dict[str, str], end: tuple[str, str]
) -> None:
    found = ran(tmp_path, SuiteKind(kind), *script)
    assert {result.name: result.outcome.value for result in found.results} == results
    [ended] = found.ends
    assert ended.outcome.value == end[0]
    assert ended.outcome.value == "lost" or ended.detail == end[1]


def test_metrics_come_whatever_the_kind(tmp_path: Path) -> None:
    bench = ran(tmp_path, SuiteKind.BENCH, "say a 1 ns", "say a 2 ns")
    assert [(metric.name, metric.samples) for metric in bench.metrics] == [("a", (1.0, 2.0))]
    stress = ran(tmp_path, SuiteKind.STRESS_NG, f"say {RUNS}", f"say {RATE}", f"say {OVER}")
    assert [(metric.name, metric.samples) for metric in stress.metrics] == [("cpu.real", (5.0,)), ("cpu.cpu", (6.0,))]
