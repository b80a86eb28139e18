"""What all tests share."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kvm import proc
from orchestrator import cache
from tests import forked

os.environ["KDELTA_HISTORY"] = "off"  # of this checkout; tests of the history name one of their own
os.environ.pop("MAKEFLAGS", None)  # of the make that runs the tests, which is none of those that they are about

# no test is about how fast this machine is now
settings.register_profile("kdelta", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kdelta")

ROOT = Path(__file__).resolve().parent.parent

Kdelta = Callable[..., subprocess.CompletedProcess[str]]


def kdelta_argv(*args: object) -> list[str]:
    """The command as a user has it, from this checkout."""
    return [sys.executable, "-c", "from orchestrator.cli import entry; entry()", *(str(arg) for arg in args)]


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """The cache that holds kernels between sessions; the user's own, unless KDELTA_CACHE names another."""
    return cache.default_root()


def run_kdelta(*args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run kdelta as a process of its own."""
    return forked.run([str(arg) for arg in args], cwd=cwd, env={**os.environ, **env}, timeout=3000)


def processes(word: str, *, environment: bool = False) -> list[str]:
    """The processes, as an id and a command line, that run now and hold `word` in it, or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or its environment is not ours to see
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").rstrip()
            more = (process / "environ").read_bytes() if environment else b""
            if os.fsencode(word) in line + more:
                found.append(f"{process.name} {os.fsdecode(line)}")
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of the bundled series, of which the kernels are built."""
    directory = tmp_path_factory.mktemp("built") / "run"
    done = run_kdelta("build", "madv-dontneed-locked", "--out", directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="session")
def images(shared_cache: Path, built: Path) -> dict[str, Path]:
    """The base kernels of the bundled series, built on first use."""
    from kvm.arch import DEFAULT
    from orchestrator.build import kbuild

    return {name: image for name in DEFAULT if (image := kbuild.newest_image(name, shared_cache))}


@pytest.fixture
def kdelta(tmp_path: Path) -> Kdelta:
    """Run kdelta as a process of its own in an empty directory."""

    def call(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
        return run_kdelta(*args, cwd=tmp_path, **env)

    return call


@pytest.fixture(autouse=True)
def _no_stop() -> Iterator[None]:
    """A test that stops the process must not stop the next one."""
    yield
    proc.stop.clear()


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    """What a test used of its cache is not held in the next one."""
    yield
    cache.let_go()
