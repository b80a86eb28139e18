"""Runs kdelta as a process forked where all modules are loaded: loading them costs more than most commands."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["orchestrator.cli", "orchestrator.history.flaky", "orchestrator.history.write"])


def run(
    args: list[str], *, cwd: Path | None, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run kdelta with these arguments, this directory and this environment; stdin is empty."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        fds = tuple(DupFd(file.fileno()) for file in (stdout, stderr))
        process = SERVER.Process(target=_become_kdelta, args=(args, cwd or Path.cwd(), dict(env), fds))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(args, timeout, _read(stdout), _read(stderr))
        return subprocess.CompletedProcess(args, process.exitcode, _read(stdout), _read(stderr))


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _become_kdelta(args: list[str], cwd: Path, env: dict[str, str], fds: tuple[DupFd, DupFd]) -> None:
    for here, fd in enumerate(fds, start=1):
        os.dup2(fd.detach(), here)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["kdelta", *args]
    from kvm import proc
    from orchestrator.cli import entry

    proc.stop.renew()
    entry()
