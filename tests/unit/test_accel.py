"""How an accelerator is chosen and measured, and what is said of one that misbehaves; nothing boots here."""

from pathlib import Path

import pytest

from kvm import accel, probe
from kvm.accel import Boot, Choice
from kvm.arch import ACCELS, ARCHES, DEFAULT
from kvm.proc import Completed
from orchestrator import show
from orchestrator.publish import clean


def seen(console: str = "", complaints: tuple[str, ...] = (), *, code: int = 0, timed_out: bool = False) -> Boot:
    return Boot(console, complaints, Completed((), code, "", 5.0, 1.0, timed_out))


@pytest.mark.parametrize("name", DEFAULT)
def test_what_is_no_kernel_is_not_given_to_qemu_and_nothing_is_remembered_of_it(name: str, tmp_path: Path) -> None:
    fake = tmp_path / "image"
    fake.write_text("a text of a fake tree")
    choice = accel.choose(ARCHES[name], lambda: fake, tmp_path)
    assert (choice.used, choice.scale, choice.measured) == ("tcg", ACCELS["tcg"].scale, False)
    assert choice.words.endswith("; limits in seconds are times 4 (not measured)")
    assert not (tmp_path / "accel").exists()


def test_the_work_takes_the_host_a_moment() -> None:
    took = accel.native_seconds()
    assert took
    assert 0 < took < 1


@pytest.mark.parametrize(
    ("used", "slower", "scale"),
    [("tcg", 6.64, 6.6), ("tcg", 999, 12), ("tcg", 0.1, 2), ("kvm", 0.9, 1), ("kvm", 50, 4)],
)
def test_limits_are_scaled_by_what_was_measured_within_bounds(used: str, slower: float, scale: float) -> None:
    assert accel.scale(used, slower) == scale


def test_a_guest_that_did_its_work_is_measured_and_one_that_did_not_has_the_default() -> None:
    assert accel._scaled("tcg", "why", seen("kdelta: speed 9.9\r\n")) == Choice("tcg", "why", 12.0, measured=True)
    assert accel._scaled("kvm", "why", seen("Linux version 6.1")) == Choice("kvm", "why", 1.0)


@pytest.mark.parametrize("console", ["", "kdelta: speed 0.000000\n", "kdelta: speed fast\n", "x kdelta: speed 1.0\n"])
def test_work_that_did_not_end_as_it_should_measures_nothing(console: str) -> None:
    assert seen(console).speed is None


def test_a_kernel_that_printed_nothing_is_explained_by_the_clock_or_by_qemus_first_words() -> None:
    assert seen(timed_out=True).fault == "a kernel printed nothing under it in 5 s"
    words = ("error: failed to set MSR 0x10a", "Assertion failed.")
    assert seen("", words, code=-6).fault == "QEMU does not run a kernel: error: failed to set MSR 0x10a"
    assert seen("", code=1).fault == "QEMU does not run a kernel: exit status 1"
    assert probe._told(seen("", words, code=-6)) == (
        "printed nothing; did not end its work; signal 6 after 5.0 s (1.0 s processor); "
        "QEMU: error: failed to set MSR 0x10a | Assertion failed."
    )


def test_a_device_that_is_not_there_or_is_no_kvm_is_named_as_such(tmp_path: Path) -> None:
    [missing] = probe.device(tmp_path / "kvm")
    assert (missing.state, missing.fault) == ("No such file or directory", True)
    *_, last = probe.device(Path("/dev/null"))
    assert (last.subject, last.fault) == ("API version", True)
    assert "this is no KVM" in last.state


def test_what_is_said_of_the_host_is_printable_and_names_no_home() -> None:
    told = [show.fact(fact) for fact in probe.host()]
    assert [line.split()[0] for line in told] == ["host", "processor", "hypervisor", "module", "kernel"]
    assert not any("\n" in line or str(Path.home()) + "/" in line for line in told)
    assert show.fact(probe.Fact("kernel", "\x1b[2Jhidden\nline")) == f"  {'kernel':44} {clean.line('hidden^Jline')}"
