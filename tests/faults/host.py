"""Plays what goes wrong around a run: with its directories, its cache, its clock, or with kdelta itself."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import cache
from tests.conftest import ROOT, kdelta_argv, processes

SUITE = "three"
_SECONDS = 600


@dataclass(frozen=True)
class Told:
    """What a run came to: its exit status, and its word on the fault."""

    name: str
    status: int
    said: str
    wrong: str = ""


@dataclass(frozen=True)
class Scene:
    """Where a run has its files; `out` is its directory."""

    top: Path

    @property
    def out(self) -> Path:
        """The run's directory."""
        return self.top / "there" / "out"

    @property
    def words(self) -> list[str]:
        """Both architectures, one small suite."""
        return kdelta_argv("run", "madv-dontneed-locked", "--suite", self.top / SUITE, "--out", self.out)

    @property
    def env(self) -> dict[str, str]:
        """What a run has of an environment; what it leaves in its temporary directory is seen."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.top / "tmp")}

    def run(self, words: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            words,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Row:
    """One fault: what does it, the exit status of the run, and a pattern of what it says."""

    name: str
    deed: Callable[[Scene], Done]
    status: int
    says: str


def _under(mount: str) -> Callable[[Scene], Done]:
    """Run where `mount`, a line of shell, was done to the directory $0, in a mount namespace of its own."""

    def deed(scene: Scene) -> Done:
        enter = ["unshare", "--map-root-user", "--mount", "--", "sh", "-c", f'{mount} && exec "$@"']
        return scene.run([*enter, str(scene.out.parent), *scene.words])

    return deed


def _few_files(scene: Scene) -> Done:
    return scene.run(["prlimit", "--nofile=30:30", "--", *scene.words])


def _clock(scene: Scene) -> Done:
    """The host's clock goes 400 days ahead when the first guest boots."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    clock = scene.top / "clock"
    clock.write_text("+0")
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    return _when(scene, ": boot", lambda _: clock.write_text("+400d"), **faked, FAKETIME_DONT_FAKE_MONOTONIC="1")


def _damaged(scene: Scene) -> Done:
    """Every initramfs of the cache, and every program that was compiled for a guest, has another byte in its middle."""
    root = cache.default_root()
    for path in [*(root / "rootfs").glob("*.cpio"), *(root / "suites").rglob("*")]:
        if path.is_file() and (size := path.stat().st_size):
            with path.open("r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes([byte[0] ^ 0xFF]))
    return scene.run(scene.words)


def _killed(stage: str) -> Callable[[Scene], Done]:
    """SIGKILL when the first cell comes to `stage`, and `kdelta resume`."""

    def deed(scene: Scene) -> Done:
        _when(scene, f": {stage}", subprocess.Popen.kill)
        for path in (scene.top / "tmp").iterdir():
            os.utime(path, (0, 0))  # as if it were a while ago: what is young may be somebody's who only just starts
        kept = {path: path.read_bytes() for path in scene.out.glob("*/*/guest.json")}
        if left := _left(scene.out):
            return Done([], 0, "", f"still runs: {left[0]}")
        done = scene.run(kdelta_argv("resume", scene.out))
        lost = [path for path, text in kept.items() if path.read_bytes() != text]
        return Done([], 0, "", f"was done again: {lost[0]}") if lost else done

    return deed


def _left(top: Path) -> list[str]:
    """Processes that have to do with `top` and do not end: a signal takes its time on a busy machine."""
    deadline = time.monotonic() + 10
    while (left := processes(str(top))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _when(scene: Scene, words: str, deed: Callable[[subprocess.Popen[str]], object], **env: str) -> Done:
    """Run, and do something when kdelta first says `words`."""
    said, done = [], False
    with subprocess.Popen(
        scene.words,
        env={**scene.env, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr and process.stdout
        for line in process.stderr:
            said.append(line)
            if not done and words in line:
                done = True
                deed(process)
        answer = process.stdout.read()
    return Done([], process.returncode, answer, "".join(said) if done else f"it never said {words!r}")


ROWS = (
    Row("no fault", lambda scene: scene.run(scene.words), 0, r"CLEAN .*"),
    Row(
        "the disk fills",
        _under('mount -t tmpfs -o size=24m none "$0"'),
        125,
        r"Error: .*run.json: No space left on device",
    ),
    Row(
        "results are read-only",
        _under('mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'),
        2,
        r"Error: .*Read-only file system",
    ),
    Row("out of file descriptors", _few_files, 125, r"Error: .*Too many open files"),
    Row("the host's clock jumps", _clock, 0, r"CLEAN .*"),
    Row("what the cache holds is damaged", _damaged, 0, r"CLEAN .*"),
    Row("killed where it builds, resumed", _killed("build"), 0, r"CLEAN .*"),
    Row("killed where it boots, resumed", _killed("boot"), 0, r"CLEAN .*"),
    Row("killed where it tests, resumed", _killed(SUITE), 0, r"CLEAN .*"),
    Row("killed where a guest is done, resumed", _killed("done"), 0, r"CLEAN .*"),
)


def play(only: str) -> list[Told]:
    """Play the rows whose name holds `only`."""
    return [_play(row) for row in ROWS if only in row.name]


def _play(row: Row) -> Told:
    with tempfile.TemporaryDirectory(prefix="kdelta-faults-") as scratch:
        scene = Scene(Path(scratch))
        for path in (scene.top / "tmp", scene.out.parent, scene.top / SUITE):
            path.mkdir()
        program = "echo 1..3; for test in one two three; do echo ok $test; done\n"
        (scene.top / SUITE / SUITE).write_text(f"#!/bin/sh\n{program}")
        wants = f"name: {SUITE}\nkind: ktap\nbinaries: [{SUITE}]\ncommand: sh ./{SUITE}\n"
        (scene.top / SUITE / "suite.yaml").write_text(wants)
        done = row.deed(scene)
        told = Told(row.name, done.returncode, _said(row, done), "; ".join(_wrong(row, done, scene)))
    sys.stderr.write(f"{row.name}: {told.wrong or 'ok'}\n")
    return told


def _said(row: Row, done: Done) -> str:
    found = re.search(row.says, done.stdout + done.stderr)
    return re.sub(r"/\S*/|tmp\w{8}", "", found[0]) if found else ""


def _wrong(row: Row, done: Done, scene: Scene) -> Iterator[str]:
    words = (done.stdout + done.stderr).strip()
    if done.returncode != row.status or not re.search(row.says, words):
        yield f"exit {done.returncode}: {words[-300:]}"
    if "Traceback" in words:
        yield "a traceback"
    yield from (f"still runs: {line}" for line in _left(scene.top))
    yield from (f"left behind: {path.name}" for path in (scene.top / "tmp").iterdir())
