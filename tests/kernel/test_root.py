"""Tests in a root file system of the user's: a directory, a disk image; neither is ever written."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kvm import disk, packages, rootfs, snapshot
from kvm.accel import Choice
from kvm.arch import get
from orchestrator import places, plan
from orchestrator.build import kbuild
from orchestrator.config import GuestSize, Pipeline
from orchestrator.model import Cell, GuestRun, Side
from orchestrator.places import Places
from orchestrator.request import Request
from orchestrator.trial import durations, layout, runner
from orchestrator.trial.runner import Yard
from orchestrator.trial.suites import payload
from orchestrator.trial.suites.payload import Place
from tests.kernel.conftest import BUNDLED

pytestmark = pytest.mark.kernel

ARCH = "arm64"
PROGRAM = """\
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>
static void say(int good, int number, const char *name)
{
	printf("%sok %d %s\\n", good ? "" : "not ", number, name);
}
static int writes(const char *path)
{
	FILE *file = fopen(path, "w");
	return file && fputs("x", file) > 0 && !fclose(file);
}
int main(void)
{
	printf("1..4\\n");
	say(!access("/etc/marker", R_OK) && access("/init", F_OK), 1, "root");
	say(!access("/proc/self/status", R_OK) && !access("/sys/kernel", R_OK) && writes("/dev/null"), 2, "system");
	say(writes("/tmp/mine") && writes("/run/mine"), 3, "scratch");
	/* a kernel takes its own word that a file system is read-only back */
	mount("", "/", "", MS_REMOUNT, "");
	say(writes("/etc/mine"), 4, "own");
	return 0;
}
"""


Tried = Callable[[Path], dict[str, str]]


@pytest.fixture
def files(tmp_path: Path, shared_cache: Path) -> Path:
    """The files of a root file system: a shell, and where the system's own are mounted."""
    arch, top = get(ARCH), tmp_path / "files, of mine"
    for name in ("etc", "proc", "sys", "dev", "tmp", "run"):
        (top / name).mkdir(parents=True)
    (top / "etc" / "marker").touch()
    with disk.hold(shared_cache / "apt" / arch.suite):
        [deb] = packages.fetch(["busybox-static"], suite=arch.suite, deb_arch=arch.deb, cache_dir=shared_cache)
        packages.unpack(deb, top)
    (top / "bin" / "sh").symlink_to("busybox")
    return top


@pytest.fixture
def tried(tmp_path: Path, shared_cache: Path) -> Tried:
    """What a suite gives on base in a root file system."""
    suite = tmp_path / "suites" / "inside"
    suite.mkdir(parents=True)
    (suite / "main.c").write_text(PROGRAM)
    (suite / "suite.yaml").write_text("name: inside\nkind: ktap\nsources: [main.c]\nneeds: {swap_mib: 16}\n")

    def call(root: Path) -> dict[str, str]:
        asked = Pipeline(series=str(BUNDLED), arches=[ARCH], suites=[str(suite)], guest=GuestSize(root=str(root)))
        jobs = os.cpu_count() or 1
        todo = plan.make(Request(pipeline=asked, near=str(tmp_path), cache=str(shared_cache), jobs=jobs))
        cell = tmp_path / "cell"
        cell.mkdir()
        with disk.hold(*todo.entries):
            kernel = kbuild.build(todo.orders[Cell(Side.BASE, ARCH, "fast")], shared_cache, tmp_path / "log")
            trial = layout.trial(
                kernel,
                (payload.make(todo.suites[0], Place(get(ARCH), Side.BASE, shared_cache, rooted=True)),),
                initrd=rootfs.build(get(ARCH), shared_cache),
                choice=Choice("tcg", "as everywhere", 8.0),
                pipeline=asked,
                directory=cell,
            )
        found = runner.run(trial, snapshot.take, Yard(Places(2, places.free_mib), durations.of(tmp_path, ARCH)))
        return outcomes(found)

    return call


def outcomes(ran: GuestRun) -> dict[str, str]:
    assert ran.guest.outcome == "ok", ran.guest.detail
    return {result.name: result.outcome for result in ran.results}


def test_a_directory_is_the_root_of_tests_and_cannot_be_written(tried: Tried, files: Path) -> None:
    assert tried(files) == {"root": "pass", "system": "pass", "scratch": "pass", "own": "fail"}
    assert not list(files.rglob("mine"))


def test_a_disk_image_is_the_root_of_tests_and_what_they_write_is_thrown_away(tried: Tried, files: Path) -> None:
    image = files.with_name("image")
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", files, image, "16M"], check=True)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    assert tried(image) == {"root": "pass", "system": "pass", "scratch": "pass", "own": "pass"}
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
