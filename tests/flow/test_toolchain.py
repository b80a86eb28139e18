"""The tools that a build will find, whatever the caller's PATH leads to; and what of them names a build."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
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
