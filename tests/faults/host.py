"""Plays what goes wrong around a run: with its directories, its cache, its clock, or with kdelta itself."""

import contextlib
import fcntl
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvm import disk
from orchestrator import cache, places, sides, store
from orchestrator.model import Side
from orchestrator.places import Need, Places
from tests import suites
from tests.conftest import ROOT, kdelta_argv, processes

_SECONDS = 600
_FILES = 48  # guests are at work before they are too few
_NO_FILES = "Too many open files"
_HOST = f"faults-{os.getpid()}"  # whose places are no other run's
_PLACES = cache.default_root() / "locks" / f"guests-{_HOST}"


@dataclass(frozen=True)
class Told:
    """What a run came to: its exit status, and its word on the fault."""

    name: str
    status: int
    said: str
    wrong: str = ""


@dataclass(frozen=True)
class Scene:
    """Where a run has its files; `out` is its directory, `more` are words of its command, `within` those before it."""

    top: Path
    more: tuple[object, ...] = ()
    within: tuple[str, ...] = ()

    @property
    def out(self) -> Path:
        """The run's directory."""
        return self.top / "there" / "out"

    @property
    def words(self) -> list[str]:
        """Both architectures, one small suite."""
        suite = self.top / "three"
        return self.kdelta("run", "madv-dontneed-locked", "--suite", suite, "--out", self.out, *self.more)

    def kdelta(self, *words: object) -> list[str]:
        """A command of kdelta's where this run is."""
        return [*self.within, *kdelta_argv(*words)]

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

    return lambda scene: _within(scene, f'{mount} && exec "$@"')


def _within(scene: Scene, script: str) -> Done:
    """Run a script in a mount namespace of its own; $0 is the directory with the run's, $@ the run."""
    enter = ["unshare", "--map-root-user", "--mount", "--", "sh", "-c", script]
    return scene.run([*enter, str(scene.out.parent), *scene.words])


# What is mounted in a user's namespace has uid= among its options, which a remount refuses.
_FILLED = """
mount -t tmpfs -o size=24m none "$0" || exit
"$@" && exit
there=$(find "$0" -name guest.json)
sum() { [ -z "$there" ] || cksum $there; }
kept=$(sum)
mount --options-mode ignore -o remount,size=2g "$0"
%s && [ "$kept" = "$(sum)" ]
"""


def _filled(scene: Scene) -> Done:
    """The disk is full; once it has room, the run goes on, and what guests gave stays as it is."""
    resume = shlex.join(scene.kdelta("resume", scene.out))
    return _within(scene, _FILLED % resume)


def _few_files(scene: Scene) -> Done:
    """There are too few file descriptors; once there are enough, the run goes on."""
    done = scene.run(["prlimit", f"--nofile={_FILES}:{_FILES}", "--", *scene.words])
    return _gone_on(scene, _given(scene)) if _NO_FILES in done.stderr else done


def _clock(scene: Scene) -> Done:
    """The host's clock goes 400 days ahead when the first guest boots."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    clock = scene.top / "clock"
    clock.write_text("+0")
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    return _when(scene, ": boot", lambda _: clock.write_text("+400d"), **faked, FAKETIME_DONT_FAKE_MONOTONIC="1")


def _damaged(scene: Scene) -> Done:
    """Every initramfs of a cache, and every program that was compiled for a guest, has another byte in its middle; what
    else there is in it is the usual one's, which others use meanwhile.
    """
    mine = scene.top / "cache"
    mine.mkdir()
    for path in cache.default_root().iterdir():
        if path.name in ("rootfs", "suites"):
            shutil.copytree(path, mine / path.name)
        else:
            (mine / path.name).symlink_to(path)
    for path in [*(mine / "rootfs").glob("*.cpio"), *(mine / "suites").rglob("*")]:
        if path.is_file() and (size := path.stat().st_size):
            with path.open("r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes([byte[0] ^ 0xFF]))
    return scene.run(scene.words, KDELTA_CACHE=str(mine))


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


def _trying(suite: Callable[[Path], Path], words: str, *more: str) -> Callable[[Scene], Done]:
    """SIGKILL at a stage that only a run of this suite comes to."""
    return lambda scene: _killed(words)(_asked(scene, suite, *more))


def _asked(scene: Scene, suite: Callable[[Path], Path], *more: str) -> Scene:
    return replace(scene, more=("--suite", suite(scene.top), "--arch", "x86_64", *more))


def _between(scene: Scene) -> Done:
    """SIGKILL where make is at work on the tree after the first patch."""
    scene = replace(scene, more=("--each-patch", "--arch", "x86_64"))
    log = scene.out / "patched" / "x86_64-fast" / "patch-1.log"
    done = _resumed(scene, _when(scene, ": build patch 1", _at_work(lambda: log)))
    steps = _record(scene)["steps"]
    return done if [step["error"] for step in steps] == [None] else _fault(f"of each patch is on record: {steps}")


def _tracing(scene: Scene) -> Done:
    """SIGKILL where one kernel's call traces have their lines, and the other's have none."""
    done = _trying(suites.reports, r"patched/\S+: looks up call traces")(scene)
    frames = [splat["frames"] for guest in _record(scene)["guests"] for splat in guest["splats"]]
    known = [one for one in frames if "do_madvise mm/madvise.c:" in " ".join(one)]
    return done if len(known) == len(frames) == 2 else _fault(f"call traces are {frames}")


_COUNTING = ("--flavour", "coverage")


def _reading(scene: Scene) -> Done:
    """SIGKILL of a guest whose counters were read for one program: they are not read on top of that."""
    read = "*/*/coverage/readings.jsonl"
    scene = _asked(scene, suites.empties, *_COUNTING)
    killed = _once(scene, lambda: any('"three"' in path.read_text() for path in scene.out.glob(read)))
    done = _resumed(scene, killed)
    lines = {path: path.read_text().splitlines() for path in scene.out.glob(read)}
    twice = [path for path, some in lines.items() if len(some) != len(set(some))]
    return _fault(f"was read twice: {twice[0]}") if twice else done


_MUTANT = r"(?s)mutant \d.*: empties.*mutant \d"  # one was tested, and the next one is at work


def _making(scene: Scene) -> Done:
    """SIGKILL where make is at work on a mutant, and another one has been tested."""
    scene = _asked(scene, suites.empties, *_COUNTING, "--mutate", "2")
    last = functools.partial(max, key=lambda path: int(path.name))
    kill = _at_work(lambda: last(scene.out.glob("mutants/*")) / "build.log")
    return _resumed(scene, _when(scene, _MUTANT, kill))


def _at_work(log: Callable[[], Path]) -> Callable[[subprocess.Popen[str]], None]:
    """SIGKILL once make has said something."""

    def kill(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not (log().exists() and log().stat().st_size):
            time.sleep(0.002)
        process.kill()

    return kill


def _mutating(scene: Scene) -> Done:
    """SIGKILL where a mutant is tested, and another one has been; `kdelta mutate` goes on."""
    scene = _asked(scene, suites.empties, *_COUNTING, "--mutate", "2")
    return _resumed(scene, _when(scene, f"{_MUTANT}.*: empties", subprocess.Popen.kill), "mutate", "--mutants", "2")


def _placed(scene: Scene) -> Done:
    """SIGKILL of a run that has the only place there is: the next one takes it."""
    scene = _elsewhere(scene, 1)
    killed = _when(scene, ": three", subprocess.Popen.kill)
    return _resumed(scene, killed) if any(_locks()) else _fault("it had no place")


def _waiting(scene: Scene) -> Done:
    """SIGKILL of a run that waits to be alone, and lets nobody in meanwhile: nothing of that is left."""
    scene = _elsewhere(scene, 2, "--suite", suites.measured(scene.top))
    with Places(2, places.free_mib, _PLACES).hold(Need(1)):
        ours = _held()
        killed = _once(scene, lambda: _is_shut(_PLACES.with_name(f"{_PLACES.name}-gate")))
        if broken := _broken(scene, killed):
            return broken
        if (held := _held()) != ours:
            return _fault(f"is still held: {held}")
    return _resumed(scene, killed)


def _elsewhere(scene: Scene, guests: int, *more: object) -> Scene:
    """On a host of another name, whose places no other run has: so many."""
    asked = scene.top / "places.yaml"
    asked.write_text(f"limits: {{guests: {guests}}}\n")
    apart = ("unshare", "--map-root-user", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', _HOST)
    return replace(scene, more=("--pipeline", asked, "--arch", "x86_64", *more), within=apart)


def _locks() -> list[Path]:
    return sorted(_PLACES.parent.glob(f"{_PLACES.name}-*"))


def _held() -> list[Path]:
    """The locks of our places that somebody has."""
    with contextlib.ExitStack() as stack:
        return [path for path in _locks() if not stack.enter_context(disk.try_lock(path))]


def _is_shut(gate: Path) -> bool:
    """Does somebody wait there to be alone? Who only looks has it for a moment."""
    for _ in range(10):
        with disk.try_lock(gate, fcntl.LOCK_SH) as is_open:
            if is_open:
                return False
        time.sleep(0.02)
    return True


def _judged(scene: Scene) -> Done:
    """SIGKILL when the verdict is on record, and no report is written yet."""
    there = scene.out / store.RECORD
    killed = _once(scene, lambda: there.exists() and _record(scene)["verdict"])
    if (scene.out / "report.html").exists():
        return _fault("the report was there already")
    return _resumed(scene, killed)


def _resumed(scene: Scene, killed: Done, command: str = "resume", *more: str) -> Done:
    """Go on with what was killed: what is on record stays, and nothing is missing in the end."""
    kept = _given(scene)
    return _broken(scene, killed) or _gone_on(scene, kept, command, *more)


def _gone_on(scene: Scene, kept: dict[Path, Any], command: str = "resume", *more: str) -> Done:
    """Go on with what has ended before its time; `kept` is what its guests had given."""
    done = scene.run(scene.kdelta(command, scene.out, *more))
    now = _given(scene)
    if lost := [path for path, gave in kept.items() if now[path] != gave]:
        return _fault(f"was done again: {lost[0]}")
    record = _record(scene)
    cells = sum(len(list((scene.out / side).glob("*/guest.json"))) for side in Side)
    found = {key: len(record[key]) for key in ("builds", "guests", "binaries")}
    whole = {"builds": cells, "guests": cells, "binaries": cells // 2}
    if not (scene.out / "report.html").exists():
        return _fault("no report")
    return done if found == whole else _fault(f"{cells} cells, and on record are {found}")


def _record(scene: Scene) -> dict[str, Any]:
    """The run's record as it stands."""
    return dict(json.loads((scene.out / store.RECORD).read_bytes()))


def _given(scene: Scene) -> dict[Path, Any]:
    """What each guest gave; where in the sources its reports come from is put there when it is over."""
    found = {path: json.loads(path.read_bytes()) for path in scene.out.rglob("guest.json")}
    for gave in found.values():
        for splat in gave["guest"]["splats"]:
            del splat["frames"]
    return found


def _fault(words: str) -> Done:
    """What a row comes to that does not get to its end."""
    return Done([], 0, "", words)


def _broken(scene: Scene, killed: Done) -> Done | None:
    """What is wrong once it is killed; what that leaves is made old, for the next kdelta to remove."""
    for path in (scene.top / "tmp").iterdir():
        os.utime(path, (0, 0))  # as if it were a while ago: what is young may be somebody's who only just starts
    if killed.returncode != -signal.SIGKILL:
        return killed
    left = _left(scene.top)
    return _fault(f"still runs: {left[0]}") if left else None


def _left(top: Path) -> list[str]:
    """Processes that have to do with `top` and do not end: a signal takes its time on a busy machine.

    A sandbox is told of nothing but objects: its environment says whose it is.
    """
    deadline = time.monotonic() + 10
    while (left := processes(str(top), environment=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _once(scene: Scene, due: Callable[[], object]) -> Done:
    """Run, and SIGKILL as soon as it is `due`, which is asked all the time."""
    with subprocess.Popen(
        scene.words,
        env=scene.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not due():
            time.sleep(0.002)
        process.kill()
    return Done([], process.returncode)


def _when(scene: Scene, words: str, deed: Callable[[subprocess.Popen[str]], object], **env: str) -> Done:
    """Run, and do something as soon as what kdelta has said holds `words`, a pattern."""
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
            if not done and re.search(words, "".join(said)):
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
    Row("the disk fills, and has room again", _filled, 0, r"CLEAN .*"),
    Row("out of file descriptors, and resumed", _few_files, 0, r"CLEAN .*"),
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
    Row("killed where it runs pairs, resumed", _trying(suites.refuses, ": pair 2", "--no-bisect"), 1, r"REGRESSED .*"),
    Row("killed where it bisects, resumed", _trying(suites.refuses, ": bisect", "--no-rerun"), 1, r"culprit: .*"),
    Row("killed where it reports, resumed", _judged, 0, r"CLEAN .*"),
    Row("killed where it builds a tree between, resumed", _between, 0, r"CLEAN .*"),
    Row("killed where it looks up call traces, resumed", _tracing, 0, r"CLEAN .*"),
    Row("killed where it reads counters, resumed", _reading, 0, r"\d of \d changed lines ran.*"),
    Row(
        "killed where it looks up what ran, resumed",
        _trying(suites.empties, r"patched/\S+: looks up what ran", *_COUNTING),
        0,
        r"\d of \d changed lines ran.*",
    ),
    Row("killed where it builds a mutant, resumed", _making, 0, r"\d of 2 mutants caught"),
    Row("killed where it tests a mutant, gone on with", _mutating, 0, r"\d of 2 mutants caught"),
    Row("killed where it has a place, resumed", _placed, 0, r"CLEAN .*"),
    Row("killed where it waits for a place, resumed", _waiting, 0, r"CLEAN .*"),
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
        began = time.monotonic()
        done = row.deed(scene)
        told = Told(row.name, done.returncode, _said(row, done), "; ".join(_wrong(row, done, scene)))
        seconds = time.monotonic() - began
    sys.stderr.write(f"{row.name}: {told.wrong or 'ok'} {seconds:.1f} s\n")
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
    yield from (f"left behind: {path.name}" for path in (*(scene.top / "tmp").iterdir(), *_locks()))
