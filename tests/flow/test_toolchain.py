"""The tools that a build will find, whatever the caller's PATH leads to; and what of them names a build."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import UserError
from orchestrator.build import toolchain
from orchestrator.build.order import Order
from orchestrator.build.toolchain import Toolchain
from orchestrator.intake import source
from tests.flow.test_intake_and_build import order


def test_the_compiler_is_asked_that_the_sandbox_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "gcc"
    other.write_text("#!/bin/sh\necho another compiler\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert proc.check(["gcc"]) == "another compiler\n"
    toolchain.find.cache_clear()
    found = toolchain.find("x86_64")
    assert "another" not in found.version
    assert found.linker.startswith("GNU ld ")


@pytest.mark.parametrize("part", ["version", "linker", "pahole"])
def test_another_version_of_any_tool_is_another_build(fakelinux: Path, tmp_path: Path, part: str) -> None:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    newer = replace(toolchain.find("x86_64"), **{part: "newer"})

    class Newer(Order):
        @property
        def toolchain(self) -> Toolchain:
            return newer

    here = order(origin.tree, origin)
    there = Newer(**{name: getattr(here, name) for name in here.__dataclass_fields__})
    assert here.key != there.key
    assert here.objects != there.objects


def test_a_version_names_every_program_of_it_and_its_packages() -> None:
    old, new = Toolchain("gcc-11", "aarch64-linux-gnu-"), Toolchain("clang-16", "aarch64-linux-gnu-")
    assert (old.cc, old.ld) == ("aarch64-linux-gnu-gcc-11", "aarch64-linux-gnu-ld")
    assert old.variables == (
        "CROSS_COMPILE=aarch64-linux-gnu-",
        "CC=ccache aarch64-linux-gnu-gcc-11",
        "HOSTCC=ccache gcc",
    )
    assert (new.cc, new.ld) == ("clang-16", "ld.lld-16")
    assert {"LLVM=1", "CC=ccache clang-16", "LD=ld.lld-16", "AR=llvm-ar-16"} <= {*new.variables}
    assert toolchain.packages(old) == "gcc-11-aarch64-linux-gnu"
    assert toolchain.packages(new) == "clang-16 lld-16 llvm-16"
    assert toolchain.packages(Toolchain("gcc-11", "")) == "gcc-11"


def test_the_versions_that_are_installed_are_known_and_a_missing_one_names_its_packages() -> None:
    major = toolchain.find("x86_64").version.rpartition(" ")[2].partition(".")[0]
    assert f"gcc-{major}" in toolchain.kinds("x86_64")
    with pytest.raises(UserError, match=r"aarch64-linux-gnu-gcc-3 not found, which a kernel of gcc-3 needs") as fault:
        toolchain.find("arm64", "gcc-3")
    assert fault.value.hint == "apt install gcc-3-aarch64-linux-gnu"
