"""What a build leaves is read by kdelta outside of the sandbox: no file of it may take the memory, or the time."""

import resource
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import BuildError, Interrupted
from orchestrator.build import kbuild
from orchestrator.build.anatomy import kernel
from orchestrator.build.findings import units
from orchestrator.build.quota import Quota
from orchestrator.intake import source
from tests.flow.conftest import git
from tests.flow.test_intake_and_build import LINES, misbehave, order

HUGE = "7G"  # on the disk it is nothing


def build(fakelinux: Path, tmp_path: Path, **more: object) -> kbuild.KernelBuild:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    wanted = replace(order(origin.tree, origin), **more)  # type: ignore[arg-type]
    return kbuild.build(wanted, tmp_path / "cache", tmp_path / "log")


@pytest.mark.parametrize(
    "name",
    [
        *(".ccache-stats", ".cpu-seconds", "vmlinux", "Module.symvers", "vmlinux.symvers", "mm/x.o", "mm/.x.o.cmd"),
        *("include/generated/x.h", "mm/.madvise.o.cmd"),
    ],
)
def test_a_huge_file_in_the_place_of_one_that_is_read_harms_nobody(fakelinux: Path, tmp_path: Path, name: str) -> None:
    misbehave(fakelinux, f"mkdir -p $(O)/mm $(O)/include/generated; truncate -s {HUGE} $(O)/{name}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    assert build(fakelinux, tmp_path).image.read_text() == "".join(LINES)
    assert time.monotonic() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".config", "make left .config unreadable: larger than 16 MiB"),
        ("arch/x86/boot/bzImage", "make left no image: arch/x86/boot/bzImage: larger than 1024 MiB"),
    ],
)
def test_a_huge_file_in_the_place_of_a_result_is_a_build_that_failed(
    fakelinux: Path, tmp_path: Path, name: str, words: str
) -> None:
    makefile = fakelinux / "Makefile"
    spoil = f"rm -f $(O)/{name}; truncate -s {HUGE} $(O)/{name}"
    last = "cp $(O)/built $(O)/arch/arm64/boot/Image" if "boot" in name else "mv $(O)/.new $(O)/.config"
    makefile.write_text(makefile.read_text().replace(last, spoil))
    git(fakelinux, "commit", "-q", "-a", "-m", "spoil")
    with pytest.raises(BuildError, match=words):
        build(fakelinux, tmp_path)


def test_a_make_that_takes_its_results_away_failed(fakelinux: Path, tmp_path: Path) -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("mv $(O)/.new $(O)/.config", "rm $(O)/.new $(O)/.config"))
    git(fakelinux, "commit", "-q", "-a", "-m", "spoil")
    with pytest.raises(BuildError, match=r"make left \.config unreadable: No such file"):
        build(fakelinux, tmp_path)


def test_a_file_of_a_terabyte_cannot_be_made(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "truncate -s 1T $(O)/x")
    with pytest.raises(BuildError, match="make tinyconfig failed"):
        build(fakelinux, tmp_path)


def test_a_make_that_talks_without_end_is_ended_and_says_so(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "yes 'mm/madvise.c:1:1: warning: again [-Wagain]'")
    with pytest.raises(BuildError, match=r"base/x86_64-fast: the build said more than 1 MiB, and was ended"):
        build(fakelinux, tmp_path, quota=Quota(50, 1 << 28, said_bytes=1 << 20))
    assert (tmp_path / "log").stat().st_size == 1 << 20


def test_a_link_that_leads_to_itself_is_no_fault_of_ours(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "ln -s loop $(O)/loop")
    assert build(fakelinux, tmp_path).image.is_file()


@pytest.mark.parametrize("name", ["d", "d" * 200])
def test_directories_without_end_are_found_and_removed(fakelinux: Path, tmp_path: Path, name: str) -> None:
    dig = f"import os; [(os.mkdir('{name}'), os.chdir('{name}')) for _ in range(1200)]"  # a shell takes seconds
    misbehave(fakelinux, f'cd $(O); python3 -c "{dig}"')
    with pytest.raises(BuildError, match=r"the build left (directories 100 deep|d{200}, which cannot be read)"):
        build(fakelinux, tmp_path)
    assert not [path for path in (tmp_path / "cache" / "objects").iterdir() if path.is_dir()]


def test_what_a_build_says_of_its_own_time_is_a_number(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "rm $(O)/.cpu-seconds; echo 1e999 nan >$(O)/.cpu-seconds")
    assert 0 <= build(fakelinux, tmp_path).cpu_seconds < 60


def test_a_stop_request_ends_the_reading_of_a_long_log() -> None:
    log = "mm/a.c:1:1: warning: again [-Wagain]\n" * 300_000
    threading.Timer(0.2, proc.stop.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        units.update({}, log)
    assert time.monotonic() - started < 5


def test_a_stop_request_ends_the_reading_of_objects(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.o").write_bytes(b"\x7fELF")
    assert len(kernel.take(tmp_path).objects) == 3
    proc.stop.set()
    with pytest.raises(Interrupted):
        kernel.take(tmp_path)


def test_a_makefile_that_speaks_like_the_sandbox_is_a_build_that_failed(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "echo bwrap: Creating new namespace failed; exit 1")
    with pytest.raises(BuildError, match=r"make tinyconfig failed: make.*\*\*\* .*tinyconfig.* Error 1"):
        build(fakelinux, tmp_path)


def test_the_line_that_says_why_is_cut(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "head -c 1000000 /dev/zero | tr '\\0' x; echo ' error: x'; exit 1")
    with pytest.raises(BuildError) as caught:
        build(fakelinux, tmp_path)
    assert len(caught.value.message) < 1000
