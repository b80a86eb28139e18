"""Plays the rows of table.yaml on real guests: each costs one restore, and must leave nothing behind."""

import contextlib
import functools
import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from kvm import rootfs, snapshot
from kvm.arch import Arch
from kvm.qemu import Machine
from kvm.snapshot import Kept, Take
from kvm.vm import Limits
from orchestrator import consoles, places, splats
from orchestrator.judge import diff, ending, verdict
from orchestrator.model import Cell, Change, GuestRun, Side
from orchestrator.places import Places
from orchestrator.trial import durations, prepare, runner
from orchestrator.trial.suites import payload, suite
from orchestrator.trial.suites.payload import Payload, Place
from orchestrator.trial.trial import Trial, Yard
from tests.faults.row import Row, Seen

TABLE = Path(__file__).with_name("table.yaml")
SILENCE = 8.0  # seconds, where a boot takes no longer than BOOT
BOOT = 3.0
FLOOD_BYTES = 1_000_000  # an emulated serial port takes a quarter of an hour for the 100 MB that are the limit
_DUE = "kdelta: now the fault"


def rows() -> list[Row]:
    """Read the table."""
    return [Row(**row) for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))]


@dataclass
class Stage:
    """One architecture's guests: booted once, with the program of every row in it."""

    machine: Machine
    payloads: dict[str, Payload]
    where: Path
    kept: Kept
    base: GuestRun | None = None  # what a guest without a fault gave, which is played first

    def play(self, row: Row) -> Seen:
        """Do to a guest what the row says, and judge what is seen."""
        before, began = self._open_files(), time.monotonic()
        where = self.where / row.program
        slow = max(1.0, self.kept.boot_seconds / BOOT)  # a machine that others use, too
        trial = self._trial(row, where, slow)
        with _watched(row, where) as told:
            yard = Yard(Places(1, places.free_mib), durations.of(self.where, self.machine.arch.name))
            run = runner.run(trial, snapshot.take if row.boots else _lend(self.kept), yard)
        found = consoles.read(where / "console.log", splats.rules())
        run = replace(run, guest=ending.name(replace(run.guest, splats=found.splats, more_splats=found.more)))
        base = self.base = self.base or replace(run, guest=replace(run.guest, side=Side.BASE))
        left = [f"process {pid}" for pid in _writers(where)]
        left += [f"file {path.name}" for path in Path(tempfile.gettempdir()).iterdir()]
        left += [f"open files: {now}, not {before}"] if (now := self._open_files(before)) > before else []
        answer = verdict.decide((), (base.guest, run.guest), _changes(row, base, run), declared=False).value
        return Seen(row, self.machine.arch.name, run, answer, told.late, slow, time.monotonic() - began, tuple(left))

    def _open_files(self, most: int = 1 << 20) -> int:
        """How many there are once a QEMU waits for the next guest, whose are among them: `most`, if waiting helps.

        A busy host takes its time to start one, with files of the start's own.
        """
        seen, now = -1, 0
        for _ in range(200):
            seen, now = now, len(list(Path("/proc/self/fd").iterdir()))
            if seen == now <= most and any(self.where.glob("boot/.waiting-*/console.log")):
                break
            time.sleep(0.3)
        return now

    def _trial(self, row: Row, where: Path, slow: float) -> Trial:
        seconds = SILENCE * slow
        limits = Limits(10 * seconds, seconds, seconds, slow, FLOOD_BYTES)
        cell = Cell(Side.PATCHED, self.machine.arch.name, "faults")
        return Trial(cell, row.machine(self.machine), limits, (self.payloads[row.program],), 1, where)


@contextlib.contextmanager
def stage(arch: Arch, image: Path, cache_dir: Path, where: Path) -> Iterator[Stage]:
    """Boot once; what the rows do happens in guests that are restored from that."""
    machine = Machine(arch, image, rootfs.build(arch, cache_dir), "tcg", memory_mib=192)
    payloads = {row.program: _payload(row, arch, where) for row in rows()}
    limits = Limits(boot_seconds=240, silence_seconds=60, command_seconds=60)
    whole = Trial(Cell(Side.BASE, arch.name, "faults"), machine, limits, tuple(payloads.values()), 1, where / "boot")
    take = snapshot.take(
        machine, workdir=whole.directory, limits=limits, prepare=functools.partial(prepare.guest, whole)
    )
    with take as kept:
        yield Stage(machine, payloads, where, kept)


def _payload(row: Row, arch: Arch, where: Path) -> Payload:
    directory = where / "suites" / row.program
    directory.mkdir(parents=True)
    (directory / row.program).write_text(row.script(f"echo '<5>{_DUE}' >/dev/kmsg"))
    wants = {"name": row.program, "kind": "ktap", "binaries": [row.program], "timeout": row.seconds}
    (directory / suite.FILE).write_text(yaml.safe_dump({**wants, "command": f"sh {row.program}"}))
    return payload.make(suite.load(directory), Place(arch, Side.PATCHED, where / "cache"))


def _changes(row: Row, base: GuestRun, run: GuestRun) -> list[Change]:
    """Against the guest without a fault, as if it had run this row's suite."""
    results = tuple(replace(result, suite=row.program) for result in base.results)
    ends = tuple(replace(end, suite=row.program) for end in base.ends)
    return diff.compare(replace(base, results=results, ends=ends), run, [row.program], [])


def _lend(kept: Kept) -> Take:
    @contextlib.contextmanager
    def take(*_: object, **__: object) -> Iterator[Kept]:
        yield kept

    return take


@dataclass
class _Told:
    """When the kernel said it, and when kdelta did."""

    line: float | None = None
    alarm: float | None = None
    ended: float = 0.0

    @property
    def late(self) -> float | None:
        return None if self.line is None else max(0.0, (self.alarm or self.ended) - self.line)


@contextlib.contextmanager
def _watched(row: Row, where: Path) -> Iterator[_Told]:
    """Follow the guest's console beside kdelta; give QEMU the row's signal when the fault is due."""
    told, over = _Told(), threading.Event()
    log = where / "guests" / row.program / "console.log"

    def follow() -> None:
        sent, last = not row.signal, False
        while not last:
            last = over.wait(0.02)  # then a last look: kdelta may be faster than this
            text = log.read_bytes() if log.exists() else b""
            if not sent and _DUE.encode() in text:
                sent = True
                for pid in _writers(log.parent):
                    os.kill(pid, getattr(signal, f"SIG{row.signal}"))
                if row.signal == "KILL":  # of one that is stopped the silence tells
                    told.line = time.monotonic()
            if row.line and told.line is None and re.search(row.line.encode(), text):
                told.line = time.monotonic()

    def heard(_: logging.LogRecord) -> bool:
        told.alarm = told.alarm or time.monotonic()
        return True

    follower, log_of_console = threading.Thread(target=follow), logging.getLogger("kvm.console")
    follower.start()
    log_of_console.addFilter(heard)
    try:
        yield told
    finally:
        told.ended = time.monotonic()
        log_of_console.removeFilter(heard)
        over.set()
        follower.join()


def _writers(where: Path) -> list[int]:
    """Who has a console below `where` open as stdout: a QEMU that runs."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "fd" / "1").readlink().is_relative_to(where):
                found.append(int(entry.name))
    return found
