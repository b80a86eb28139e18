"""Tests in a root file system of the user's: a directory, an image, a Debian, the host's own; none is ever written."""

import hashlib
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvm import disk, packages
from kvm.arch import DEFAULT, get
from orchestrator.config import GuestSize, Pipeline
from orchestrator.model import GuestRun
from tests.conftest import run_kdelta
from tests.kernel.conftest import BUNDLED, on_base

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
# Each is refused, also once the mount says that it can be written: by QEMU, for the files are the host's own.
REFUSED = {
    "data": "echo x >>$there",
    "mode": "chmod 777 $there",
    "time": "touch $there",
    "name": "mv $there $there.mine",
    "removal": "rm $there",
    "file": ": >${there%/*}/mine",
    "directory": "mkdir ${there%/*}/mine",
}

Tried = Callable[..., dict[str, str]]


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
def inside(tmp_path: Path) -> Path:
    """A suite of a program that looks around."""
    suite = tmp_path / "suites" / "inside"
    suite.mkdir(parents=True)
    (suite / "main.c").write_text(PROGRAM)
    (suite / "suite.yaml").write_text("name: inside\nkind: ktap\nsources: [main.c]\nneeds: {swap_mib: 16}\n")
    return suite


def scripts(suite: Path, **texts: str) -> Path:
    """Make a suite of scripts, each of which is a test."""
    suite.mkdir(parents=True)
    for name, text in texts.items():
        (suite / name).write_text(text)
        (suite / name).chmod(0o755)
    return suite


@pytest.fixture
def tried(tmp_path: Path, shared_cache: Path) -> Tried:
    """What a suite gives on base in a root file system."""

    def call(suite: Path, root: object, arch: str = ARCH) -> dict[str, str]:
        asked = Pipeline(series=str(BUNDLED), arches=[arch], suites=[str(suite)], guest=GuestSize(root=str(root)))
        return outcomes(on_base(asked, tmp_path, shared_cache))

    return call


def outcomes(ran: GuestRun) -> dict[str, str]:
    assert ran.guest.outcome == "ok", ran.guest.detail
    return {result.name: result.outcome for result in ran.results}


def test_a_directory_is_the_root_of_tests_and_cannot_be_written(tried: Tried, inside: Path, files: Path) -> None:
    assert tried(inside, files) == {"root": "pass", "system": "pass", "scratch": "pass", "own": "fail"}
    assert not list(files.rglob("mine"))


def test_a_disk_image_is_the_root_of_tests_and_what_they_write_is_thrown_away(
    tried: Tried, inside: Path, files: Path
) -> None:
    image = files.with_name("image")
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", files, image, "16M"], check=True)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    assert tried(inside, image) == {"root": "pass", "system": "pass", "scratch": "pass", "own": "pass"}
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(("arch", "end"), [*zip(DEFAULT, ("", ".img"), strict=True)])
def test_a_debian_that_kdelta_makes_is_the_root_of_tests_with_the_packages_that_were_asked_for(
    arch: str, end: str, tried: Tried, tmp_path: Path
) -> None:
    target = tmp_path / f"debian{end}"
    made = run_kdelta("rootfs", "debian", "--arch", arch, "--include", "hello", target)
    assert (made.returncode, made.stdout) == (0, f"{target}\n"), made.stderr
    suite = scripts(
        tmp_path / "debians",
        bash="#!/bin/bash\nwords=(one two)\n[[ ${words[1]} == two && $(id -u) == 0 ]]\n",
        included="#!/bin/sh\n[ \"$(hello)\" = 'Hello, world!' ]\n",
        release=f"#!/bin/bash\n[[ $(cat /etc/os-release) == *VERSION_CODENAME={get(arch).suite}* ]]\n",
    )
    assert tried(suite, target, arch) == dict.fromkeys(("bash", "included", "release"), "pass")


@pytest.fixture
def there() -> Iterator[Path]:
    """A file of the host's that its user may write, where a guest has not a directory of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="kdelta-there-") as directory:
        path = Path(directory) / "there"
        path.write_text("the host's\n")
        path.chmod(0o666)
        yield path


def test_the_hosts_own_root_runs_its_programs_and_refuses_each_write(tried: Tried, there: Path, tmp_path: Path) -> None:
    version = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.strip()
    head = f"#!/bin/bash -e\nexport LC_ALL=C there={there}\n"
    anew = "mount -o remount,rw /\ngrep -q ' / 9p rw' /proc/mounts\n"
    refused = {name: f"{{ ! {deed}; }} 2>&1 | grep 'Read-only file system'\n" for name, deed in REFUSED.items()}
    suite = scripts(
        tmp_path / "hosts",
        program=f"{head}[ \"$(git version)\" = '{version}' ]\n",
        reads=f'{head}[ "$(cat $there)" = "the host\'s" ]\n',
        **{name: f"{head}{deed}" for name, deed in refused.items()},
        **{f"{name}-anew": f"{head}{anew}{deed}" for name, deed in refused.items()},
    )
    before = there.stat()
    found = tried(suite, "host", platform.machine())
    assert found == dict.fromkeys(("program", "reads", *refused, *(f"{name}-anew" for name in refused)), "pass")
    after = there.stat()
    assert (there.read_text(), after.st_mode, after.st_mtime_ns) == ("the host's\n", before.st_mode, before.st_mtime_ns)
    assert [path.name for path in there.parent.iterdir()] == ["there"]
