"""Plays what goes wrong around a run: with its directories, its cache, its clock, or with kdelta itself."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import cache, sides, store
from tests import suites
from tests.conftest import ROOT, kdelta_argv, processes

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
    """Where a run has its files; `out` is its directory, `more` are words of its command."""

    top: Path
    more: tuple[object, ...] = ()

    @property
    def out(self) -> Path:
        """The run's directory."""
        return self.top / "there" / "out"

    @property
    def words(self) -> list[str]:
        """Both architectures, one small suite."""
        suite = self.top / "three"
        return kdelta_argv("run", "madv-dontneed-locked", "--suite", suite, "--out", self.out, *self.more)

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


def _killed(words: str) -> Callable[[Scene], Done]:
    """SIGKILL when the first cell comes to the stage that is told in `words`, and `kdelta resume`."""
    return lambda scene: _resumed(scene, _when(scene, words, subprocess.Popen.kill))


def _planning(words: str) -> Callable[[Scene], Done]:
    """SIGKILL before there is anything to go on with, and the same again."""

    def deed(scene: Scene) -> Done:
        killed = _when(replace(scene, more=("--verbose",)), words, subprocess.Popen.kill)
        return _broken(scene, killed) or scene.run(scene.words)

    return deed


def _measuring(scene: Scene) -> Done:
    """SIGKILL where a benchmark has boots of its own."""
    asked = scene.top / "boots.yaml"
    asked.write_text("boots: 2\n")
    suite = suites.measured(scene.top)
    return _killed(": boot 2 of")(replace(scene, more=("--suite", suite, "--pipeline", asked, "--arch", "x86_64")))


def _regressing(words: str, *more: str) -> Callable[[Scene], Done]:
    """SIGKILL at a stage that only what regresses comes to."""

    def deed(scene: Scene) -> Done:
        asked = ("--suite", suites.refuses(scene.top), "--arch", "x86_64", *more)
        return _killed(words)(replace(scene, more=asked))

    return deed


def _judged(scene: Scene) -> Done:
    """SIGKILL when the verdict is on record, and no report is written yet."""
    record = scene.out / store.RECORD
    with subprocess.Popen(
        scene.words,
        env=scene.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not (record.exists() and json.loads(record.read_text())["verdict"]):
            time.sleep(0.002)
        process.kill()
    if (scene.out / "report.html").exists():
        return Done([], 0, "", "the report was there already")
    return _resumed(scene, Done([], process.returncode))


def _resumed(scene: Scene, killed: Done) -> Done:
    """Go on with what was killed: what is on record stays, and nothing is missing in the end."""
    kept = {path: path.read_bytes() for path in scene.out.glob("*/*/guest.json")}
    if broken := _broken(scene, killed):
        return broken
    done = scene.run(kdelta_argv("resume", scene.out))
    if lost := [path for path, text in kept.items() if path.read_bytes() != text]:
        return Done([], 0, "", f"was done again: {lost[0]}")
    record = json.loads((scene.out / store.RECORD).read_text())
    cells = len(list(scene.out.glob("*/*/guest.json")))
    found = {key: len(record[key]) for key in ("builds", "guests", "binaries")}
    whole = {"builds": cells, "guests": cells, "binaries": cells // 2}
    if not (scene.out / "report.html").exists():
        return Done([], 0, "", "no report")
    return done if found == whole else Done([], 0, "", f"{cells} cells, and on record are {found}")


def _broken(scene: Scene, killed: Done) -> Done | None:
    """What is wrong once it is killed; what that leaves is made old, for the next kdelta to remove."""
    for path in (scene.top / "tmp").iterdir():
        os.utime(path, (0, 0))  # as if it were a while ago: what is young may be somebody's who only just starts
    if killed.returncode != -signal.SIGKILL:
        return killed
    left = _left(scene.out)
    return Done([], 0, "", f"still runs: {left[0]}") if left else None


def _left(top: Path) -> list[str]:
    """Processes that have to do with `top` and do not end: a signal takes its time on a busy machine."""
    deadline = time.monotonic() + 10
    while (left := processes(str(top))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _when(scene: Scene, words: str, deed: Callable[[subprocess.Popen[str]], object], **env: str) -> Done:
    """Run, and do something when kdelta first says `words`, a pattern."""
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
            if not done and re.search(words, line):
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
    Row("killed where it plans, run again", _planning("start: gcc --version"), 0, r"CLEAN .*"),
    Row("killed where it keeps its plan, run again", _planning("start: git .*format-patch"), 0, r"CLEAN .*"),
    Row("killed where it builds, resumed", _killed(": build"), 0, r"CLEAN .*"),
    Row(
        "killed where it compares kernels, resumed",
        _killed(rf"patched/\S+: ({'|'.join(sides.THERE)})$"),
        0,
        r"CLEAN .*",
    ),
    Row("killed where it boots, resumed", _killed(": boot"), 0, r"CLEAN .*"),
    Row("killed where it tests, resumed", _killed(": three"), 0, r"CLEAN .*"),
    Row("killed where a guest is done, resumed", _killed(": done"), 0, r"CLEAN .*"),
    Row("killed where it measures, resumed", _measuring, 0, r"CLEAN .*"),
    Row("killed where it runs pairs, resumed", _regressing(": pair 2", "--no-bisect"), 1, r"REGRESSED .*"),
    Row("killed where it bisects, resumed", _regressing(": bisect", "--no-rerun"), 1, r"culprit: .*"),
    Row("killed where it reports, resumed", _judged, 0, r"CLEAN .*"),
)


def play(only: str) -> list[Told]:
    """Play the rows whose name holds `only`."""
    return [_play(row) for row in ROWS if only in row.name]


def _play(row: Row) -> Told:
    with tempfile.TemporaryDirectory(prefix="kdelta-faults-") as scratch:
        scene = Scene(Path(scratch))
        for path in (scene.top / "tmp", scene.out.parent):
            path.mkdir()
        suites.three(scene.top)
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
