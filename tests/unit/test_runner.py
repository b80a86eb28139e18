"""One guest that follows a script, one suite of each kind: results, metrics, and how the program ended."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kvm import proc
from kvm.arch import get
from kvm.errors import GuestLost, RefusedError, UserError
from kvm.guest import Guest
from kvm.qemu import Machine
from kvm.snapshot import Kept, Take
from kvm.vm import Limits
from orchestrator.model import Cell, GuestOutcome, GuestRun, Outcome, Side
from orchestrator.places import Places
from orchestrator.trial import durations
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.runner import run
from orchestrator.trial.seen import Seen
from orchestrator.trial.suites import payload, stage
from orchestrator.trial.suites.payload import Payload, Place
from orchestrator.trial.suites.run import Run, Unrun
from orchestrator.trial.suites.stage import Stage
from orchestrator.trial.suites.suite import Isolation, Suite
from orchestrator.trial.trial import Trial, Yard
from tests import scripted

RUNS = "stress-ng: info:  [1] dispatching hogs: 1 cpu"
RATE = "stress-ng: metrc: [1] cpu 10 1.00 1.00 0.00 5.0 6.0"
OVER = "stress-ng: info:  [1] successful run completed in 1 s"


def ran(tmp_path: Path, kind: SuiteKind, *script: str, **keep: bool) -> GuestRun:
    image = tmp_path / "image"
    image.write_text("program:\n" + "".join(f"{line}\n" for line in script))
    (tmp_path / "suite").write_bytes(b"\x7fELF")
    machine = Machine(get("arm64"), image, tmp_path / "initrd", "tcg")
    payload = scripted.payload(Suite(tmp_path, "suite", kind), tmp_path / "suite", tmp_path / "cache")
    trial = Trial(Cell(Side.BASE, "arm64", "fast"), machine, Limits(), (payload,), 1, tmp_path, **keep)
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


def test_what_kunit_said_on_the_console_of_a_kernel_that_dies_as_it_boots_is_kept(tmp_path: Path) -> None:
    said = """
        KTAP version 1
        1..1
            KTAP version 1
            # Subtest: example
            1..3
            ok 1 fine
            # dies: oh
    """
    lines = [f"boot-kmsg: [    1.000000] {line[8:]}" for line in said.strip("\n").splitlines()]
    (tmp_path / "image").write_text("\n".join([*lines, "boot: panic", ""]))
    suite = Suite(tmp_path, "kunit", SuiteKind.KUNIT)
    made = payload.make(suite, Place(get("arm64"), Side.PATCHED, tmp_path / "cache"))
    machine = Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")
    trial = Trial(Cell(Side.PATCHED, "arm64", "fast"), machine, Limits(), (made,), 1, tmp_path)
    found = run(trial, scripted.take, Yard(Places(2, lambda: 4096), durations.of(tmp_path, "arm64")))
    assert (found.guest.outcome, found.guest.boot_seconds) == ("panic", None)
    assert {result.name: result.outcome.value for result in found.results if "(" not in result.name} == {
        **{"example": "crash", "example/fine": "pass", "example/dies": "crash"}
    }
    assert [(end.outcome.value, end.detail) for end in found.ends] == [("lost", "panic: scripted boot")]


def on_kmsg(words: str) -> list[str]:
    """The words of a script that has the kernel say these lines."""
    return [f"kmsg [    1.000000] {line[8:]}" for line in words.strip("\n").splitlines()]


def loaded(tmp_path: Path, *script: str) -> GuestRun:
    """What a suite of modules gives, whose loading is a script."""
    (tmp_path / "image").write_text("")
    (tmp_path / "suite").write_text(scripted.program(*script))
    machine = Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")
    suite = Suite(tmp_path, "suite", SuiteKind.KUNIT, modules=("example",))
    payload = scripted.payload(suite, tmp_path / "suite", tmp_path / "cache")
    trial = Trial(Cell(Side.PATCHED, "arm64", "fast"), machine, Limits(), (payload,), 1, tmp_path)
    return run(trial, scripted.take, Yard(Places(2, lambda: 4096), durations.of(tmp_path, "arm64")))


def outcomes(found: GuestRun) -> dict[str, str]:
    return {result.name: result.outcome.value for result in found.results}


DIES = """
        KTAP version 1
        1..1
            # Subtest: example
            1..3
            ok 1 - fine
            # dies: oh
"""
PLANLESS = """
            # Subtest: example
            1..3
            ok 1 - one
            # two: EXPECTATION FAILED at lib/example.c:3
            not ok 2 - two
            ok 3 - three
        not ok 1 - example
"""


@pytest.mark.parametrize(
    ("last", "guest", "end"), [("panic", "panic", "lost"), ("die", "reboot", "lost"), ("nap 9999", "ok", "timeout")]
)
def test_what_a_module_of_kunit_said_before_its_kernel_died_or_hung_is_kept(
    tmp_path: Path, last: str, guest: str, end: str
) -> None:
    found = loaded(tmp_path, *on_kmsg(DIES), last)
    assert (found.guest.outcome, [one.outcome.value for one in found.ends]) == (guest, [end])
    assert outcomes(found) == {"example": "crash", "example/fine": "pass", "example/dies": "crash"}
    assert "# dies: oh" in (tmp_path / "tests" / "suite.ktap").read_text()


def test_a_case_of_a_module_fails_though_the_kernels_ring_has_lost_it(tmp_path: Path) -> None:
    left = [line.replace("kmsg", "say", 1) for line in on_kmsg(PLANLESS)[5:]]
    found = loaded(tmp_path, *on_kmsg(PLANLESS), *left)
    assert outcomes(found) == {"example": "fail", "example/one": "pass", "example/two": "fail", "example/three": "pass"}
    assert [(one.outcome.value, one.detail) for one in found.ends] == [("pass", "")]  # older kernels give no plan


@pytest.mark.parametrize("lost", ["kmsg ** 14 printk messages dropped **", "hush"])
def test_modules_without_a_plan_do_not_pass_when_words_of_theirs_may_be_lost(tmp_path: Path, lost: str) -> None:
    found = loaded(tmp_path, *on_kmsg(PLANLESS)[:3], "kmsg [    1.000000] ok 1 - example", lost)
    assert [one.outcome.value for one in found.ends] == ["fail"]
    assert "it gave no plan" in found.ends[0].detail


def test_modules_are_read_off_the_kernels_ring_where_the_console_is_silent(tmp_path: Path) -> None:
    found = loaded(tmp_path, "hush", *(line.replace("kmsg", "say", 1) for line in on_kmsg(DIES)), "exit 0")
    assert outcomes(found)["example/fine"] == "pass"


def built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, *debugfs: str) -> GuestRun:
    """What a suite gives that KUnit ran at boot, by the words of the console then and those of debugfs."""
    (tmp_path / "image").write_text("".join(f"boot-kmsg: {line[5:]}\n" for line in on_kmsg(boot)))
    (tmp_path / "suite").write_text(scripted.program(*(f"say {line}" for line in debugfs)))
    machine = Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")
    made = scripted.payload(Suite(tmp_path, "suite", SuiteKind.KUNIT), tmp_path / "suite", tmp_path / "cache")
    monkeypatch.setattr(payload, "_KUNIT", made.runs[0].command)
    trial = Trial(Cell(Side.PATCHED, "arm64", "fast"), machine, Limits(), (made,), 1, tmp_path)
    return run(trial, scripted.take, Yard(Places(2, lambda: 4096), durations.of(tmp_path, "arm64")))


# Linux 5.10 keeps 512 bytes of each case: this one's result is not among them.
CUT = ["KTAP version 1", "1..1", "    # Subtest: example", "    1..2", "    # example_fail: EXPECTATION FAILED at"]


def test_what_kunit_said_as_the_kernel_booted_goes_before_what_debugfs_keeps_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = """
        TAP version 14
        1..1
            # Subtest: example
            1..2
            # example_fail: EXPECTATION FAILED at lib/example.c:3
            not ok 1 - example_fail
            ok 2 - example_two
        not ok 1 - example
"""
    found = built_in(tmp_path, monkeypatch, said, *CUT)
    assert outcomes(found) == {"example": "fail", "example/example_fail": "fail", "example/example_two": "pass"}
    assert [one.outcome.value for one in found.ends] == ["pass"]


def test_debugfs_is_read_where_the_console_of_the_boot_has_nothing_of_kunit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "KTAP version 1", "1..1", "    # Subtest: example", "    1..1", "    ok 1 - fine", "ok 1 - example"
    found = built_in(tmp_path, monkeypatch, "        Run /init as init process", *said)
    assert outcomes(found) == {"example": "pass", "example/fine": "pass"}


def several(
    tmp_path: Path,
    scripts: dict[str, list[str]],
    isolation: Isolation = Isolation.SUITE,
    kind: SuiteKind = SuiteKind.AUTO,
    *,
    take: Take = scripted.take,
    repeats: int = 2,
    side: Side = Side.BASE,
) -> GuestRun:
    (tmp_path / "image").write_text("")
    files = {}
    for name, lines in scripts.items():
        files[name] = tmp_path / f"script-{len(files)}"
        files[name].write_text(scripted.program(*lines))
    archive = stage.pack("suite", Stage(files), tmp_path / "cache")
    runs = tuple(Run(name, shlex.quote(f"/tmp/suites/suite/{name}"), name) for name in scripts)
    unrun = (Unrun("old", Outcome.FAIL, "does not compile: no"),)
    payload = Payload(Suite(tmp_path, "suite", kind, isolation=isolation, repeats=repeats), archive, runs, unrun)
    machine = Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")
    trial = Trial(Cell(side, "arm64", "fast"), machine, Limits(), (payload,), 1, tmp_path)
    return run(trial, take, Yard(Places(2, lambda: 4096), durations.of(tmp_path, "arm64")))


@pytest.mark.parametrize("isolation", list(Isolation))
def test_each_program_of_several_is_a_test_and_one_that_kills_its_guest_takes_no_other_along(
    tmp_path: Path, isolation: Isolation
) -> None:
    scripts = {
        "a b": ["say TAP version 13", "say 1..1", "say ok 1 case"],
        "sub/dies": ["say 1..2", "say ok 1 fine", "say # run second", "panic"],
        "slow": ["nap 9999"],
        "silent": ["exit 0"],
        "says no": ["say words", "exit 3"],
        "cannot": ["exit 4"],
        "fails": ["say TAP version 13", "say 1..1", "say not ok 1 case", "exit 1"],
    }
    found = several(tmp_path, scripts, isolation)
    first = {result.name: result.outcome.value for result in found.results if result.repeat == 0}
    assert first == {
        **{"a b": "pass", "a b/case": "pass", "sub/dies": "crash", "sub/dies/fine": "pass", "sub/dies/second": "crash"},
        **{"slow": "timeout", "silent": "pass", "says no": "fail", "cannot": "skip", "old": "fail"},
        **{"fails": "fail", "fails/case": "fail"},
    }
    assert len(found.results) == 2 * len(first)
    assert [(end.outcome.value, end.repeat) for end in found.ends] == [("pass", 0), ("pass", 1)]
    assert found.guest.outcome.value == "panic"
    outputs = {path.name for path in (tmp_path / "tests" / "suite").iterdir()}
    assert {"001-a_b.ktap", "002-sub_dies.ktap", "005-says_no@1.ktap"} <= outputs


@pytest.mark.parametrize(("losses", "outcome"), [(1, "pass"), (2, "missing")])
def test_a_guest_that_ends_before_any_program_costs_another_one_and_two_in_a_row_the_rest(
    tmp_path: Path, losses: int, outcome: str
) -> None:
    lost = iter([True] * losses)

    @contextlib.contextmanager
    def take(machine: Machine, **asked: object) -> Iterator[Kept]:
        with scripted.take(machine, **asked) as kept:  # type: ignore[arg-type]

            def restore(*, workdir: Path, limits: Limits) -> contextlib.AbstractContextManager[Guest]:
                if next(lost, False):
                    raise GuestLost("QEMU ended", kind="killed")
                return kept.restore(workdir=workdir, limits=limits)

            yield cast("Kept", SimpleNamespace(boot_seconds=kept.boot_seconds, restore=restore))

    found = several(tmp_path, {"a": ["exit 0"], "b": ["exit 0"]}, Isolation.SUITE, take=take, repeats=1)
    seen = {result.name: result.outcome.value for result in found.results}
    assert seen == {"a": outcome, "b": outcome, "old": "fail"}


@pytest.mark.parametrize("fault", [UserError("root file system /r: no"), RefusedError("no place")])
def test_what_a_restored_guest_of_a_patched_kernel_refuses_is_a_result(tmp_path: Path, fault: Exception) -> None:
    @contextlib.contextmanager
    def take(machine: Machine, **asked: object) -> Iterator[Kept]:
        def restore(*, workdir: Path, limits: Limits) -> contextlib.AbstractContextManager[Guest]:
            raise fault

        with scripted.take(machine, **asked) as kept:  # type: ignore[arg-type]
            yield cast("Kept", SimpleNamespace(boot_seconds=kept.boot_seconds, restore=restore))

    with pytest.raises(type(fault)):
        several(tmp_path, {"a": ["exit 0"]}, take=take)
    proc.stop.clear()
    found = several(tmp_path, {"a": ["exit 0"]}, take=take, side=Side.PATCHED)
    assert found.guest.outcome == "no-boot"


def test_a_program_of_ltp_is_one_test_with_its_own_words_and_its_cases_are_below_it(tmp_path: Path) -> None:
    done = [f"say {word}" for word in ("Summary:", "passed 1", "failed 0", "broken 0", "skipped 0", "warnings 0")]
    broken = "say a.c:1: TBROK: Failed to acquire device"
    scripts = {
        "passes": ["say a.c:1: TPASS: well", *done],
        "fails": ["say a.c:1: TFAIL: not well", *done, "exit 1"],
        "broken": [broken, "exit 2"],
        "slow": ["say a.c:1: TBROK: Test killed! (timeout?)", *done, "exit 2"],
        "cannot": ["say a.c:1: TCONF: no bpf", *done, "exit 32"],
        "killed": ["say a.c:1: TPASS: well", "exit 139"],
        "half": ["say a.c:1: TPASS: well"],
        "every": ["say a.c:1: TINFO: Testing on ext4", "say a.c:1: TPASS: well", *done],
        "mprotect02": ["say mprotect02 1 TPASS : well", "say mprotect02 2 TFAIL : not well", "exit 1"],
        "dies": ["say a.c:1: TPASS: well", "panic"],
    }
    found = several(tmp_path, scripts, kind=SuiteKind.LTP)
    seen = {result.name: (result.outcome.value, result.output) for result in found.results if result.repeat == 0}
    assert {name: outcome for name, (outcome, _) in seen.items()} == {
        **{"passes": "pass", "fails": "fail", "broken": "fail", "slow": "timeout", "cannot": "skip", "killed": "crash"},
        **{"half": "fail", "every": "pass", "every/ext4": "pass", "mprotect02": "fail", "mprotect02/1": "pass"},
        **{"mprotect02/2": "fail", "dies": "crash", "old": "fail"},
    }
    assert {result.suite for result in found.results} == {"suite"}
    assert seen["cannot"][1].startswith("exit status 32; a.c:1: TCONF: no bpf")
    assert "TFAIL: not well" in seen["fails"][1]
    assert "it gave no summary; a.c:1: TPASS: well" in seen["half"][1]
    assert "TPASS: well" in seen["dies"][1]


@pytest.mark.parametrize(
    ("words", "keep", "waits"), [("not ok", True, True), ("not ok", False, False), ("ok", True, False)]
)
def test_a_guest_in_which_a_test_fails_waits_for_a_person_if_that_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, words: str, keep: bool, waits: bool
) -> None:
    found = ran(tmp_path, SuiteKind.KTAP, "say 1..1", f"say {words} 1 one", keep_guest=keep)
    assert len(found.results) == 1
    own, joined = (tmp_path / at / "console.log" for at in ("guests/suite", "."))
    assert ("somebody ended it" in own.read_text()) == waits
    assert "somebody ended it" not in joined.read_text()  # what it says to a person counts for nobody
    assert (
        "base/arm64-fast: a test failed in suite, which stays until `poweroff -f` in it: ssh " in caplog.text
    ) == waits


@pytest.mark.parametrize(("words", "kept"), [("not ok", True), ("ok", False)])
def test_what_a_guest_was_when_a_test_had_failed_in_it_is_kept_if_that_was_asked_for(
    tmp_path: Path, words: str, kept: bool
) -> None:
    ran(tmp_path, SuiteKind.KTAP, "say 1..1", f"say {words} 1 one", keep_state=True)
    assert (tmp_path / "failed" / "suite" / "state").exists() == kept


def test_metrics_come_whatever_the_kind(tmp_path: Path) -> None:
    bench = ran(tmp_path, SuiteKind.BENCH, "say a 1 ns", "say a 2 ns")
    assert [(metric.name, metric.samples) for metric in bench.metrics] == [("a", (1.0, 2.0))]
    stress = ran(tmp_path, SuiteKind.STRESS_NG, f"say {RUNS}", f"say {RATE}", f"say {OVER}")
    assert [(metric.name, metric.samples) for metric in stress.metrics] == [("cpu.real", (5.0,)), ("cpu.cpu", (6.0,))]


def test_of_several_guests_the_kernels_fault_names_the_cell_and_nobodys_where_there_is_no_other() -> None:
    def named(*outcomes: GuestOutcome) -> GuestOutcome:
        seen = Seen()
        for outcome in outcomes:
            seen.add(Seen(outcome, went_on=outcome is GuestOutcome.CONSOLE_CUT))
        return seen.outcome

    ok, killed, panic, cut = GuestOutcome.OK, GuestOutcome.KILLED, GuestOutcome.PANIC, GuestOutcome.CONSOLE_CUT
    assert named(killed, panic) is named(panic, killed) is named(panic, GuestOutcome.HANG) is panic
    assert named(ok, killed, ok) is named(killed, cut) is named(cut, killed) is killed
