"""What a person sees while it runs, on stderr, and the plain tables of the small commands."""

import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kvm.probe import Fact
from orchestrator import actions
from orchestrator.doctor import Finding
from orchestrator.model import BuildRecord, Cell, Run
from orchestrator.publish import digest, text
from orchestrator.publish.clean import line, printable


class Log(logging.StreamHandler[TextIO]):
    """Log lines on what stderr is at that moment: the live table takes it over while it is shown."""

    @property
    def stream(self) -> TextIO:
        """Where the next line goes."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Nothing: the handler sets what it was made with."""

    def format(self, record: logging.LogRecord) -> str:
        """What it says, which may quote a guest, without anything that moves a cursor."""
        return actions.harmless(printable(super().format(record)))


def log(verbose: bool) -> None:
    """Send what the modules log to stderr; with `verbose` every process that is started."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", handlers=[Log()], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


class Board:
    """Progress: a live table with a line per cell on a terminal, a plain line per event in a pipe."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True)  # a command that is logged stays one line, to be copied
        self._stages: dict[Cell, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)

    def tell(self, cell: Cell, stage: str) -> None:
        """Say what a cell does now."""
        now = time.monotonic()
        with self._lock:
            self._stages[cell] = (stage, now)
            if not self._console.is_terminal:
                sys.stderr.write(f"[{now - self._started:7.1f}s] {cell}: {stage}\n")
                sys.stderr.flush()

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        with self._lock:
            for cell, (stage, since) in sorted(self._stages.items()):
                table.add_row(Text(str(cell)), Text(stage), Text(f"{now - since:.0f} s", justify="right"))
        return table


def plan(facts: Mapping[str, Any]) -> str:
    """Lay out what `kdelta plan` found."""
    lines = [f"series  {line(facts['series'])}", *(f"        {line(subject)}" for subject in facts["patches"])]
    base = facts["base"]
    lines += [f"kernel  {facts['kernel']}", f"base    {base['commit'][:12]} by {base['rule']}: {line(base['sure'])}"]
    lines += ["        the tree without the series, which it holds"] if base["reverted"] else []
    lines += [*(f"note    {line(note)}" for note in facts["notes"]), f"suites  {', '.join(facts['suites'])}"]
    if facts["noop"]:
        lines.append("noop    the series changes no file: nothing will be built or booted")
    else:
        lines += [f"{row['cell']:28} {row['build']}" for row in facts["cells"]]
    return "\n".join(lines)


def builds(run: Run, directory: Path) -> str:
    """Lay out the builds of a run."""
    rows = [
        f"{f'{build.side}/{build.arch}-{build.flavour}':28} "
        + (line(build.error or "") or f"{_cost(build)}{', noop' if build.noop else ''}")
        for build in run.builds
    ]
    said = [f"{binary.arch}-{binary.flavour}: {line(binary.summary)}" for binary in run.binaries]
    notes = [f"note    {line(note)}" for note in run.notes]
    return "\n".join([*rows, *said, *text.findings(run), *notes, str(directory)])


def _cost(build: BuildRecord) -> str:
    """What a build took, and what ccache did for it, if it was made now."""
    if build.cached:
        return "cached"
    saved = f", {digest.saved(build)} of processor saved" if digest.saved(build) else ""
    answered = f", ccache {build.ccache_hits} of {build.ccache_asked}{saved}" if build.ccache_asked else ""
    return f"{build.seconds:.0f} s{answered}"


def guests(run: Run) -> str:
    """Lay out the guests of a run."""
    return "\n".join(
        f"{f'{guest.side}/{guest.arch}-{guest.flavour}':28} {guest.outcome} under {guest.accel}"
        + (f", booted in {guest.boot_seconds:.1f} s" if guest.boot_seconds else "")
        + (f": {line(guest.detail)}" if guest.detail else "")
        for guest in run.guests
    )


def findings(found: Sequence[Finding]) -> str:
    """Lay out what the doctor found; a line that fails says what to do."""
    lines = []
    for finding in found:
        mark = "ok  " if not finding.remedy else ("FAIL" if finding.fatal else "note")
        lines.append(f"{mark}  {finding.subject:22} {line(finding.state)}")
        if finding.remedy:
            lines.append(f"      {'':22} -> {finding.remedy}")
    return "\n".join(lines)


def fact(found: Fact) -> str:
    """Lay out one line about KVM; kernels and QEMU have a say in it."""
    return f"{'!' if found.fault else ' '} {found.subject:44} {line(found.state)}"


def sizes(root: Path, whole: Mapping[str, int], less: Mapping[str, int], *, removed: bool) -> str:
    """Lay out the cache: bytes in each part, and bytes that can go or went."""
    word = "freed" if removed else "can go"
    rows = [*sorted(whole), "in all"]
    whole, less = ({**sizes, "in all": sum(sizes.values())} for sizes in (whole, less))
    lines = [f"{part:13} {_mib(whole[part]):>12}   {word} {_mib(less.get(part, 0))}" for part in rows]
    return "\n".join([str(root), *lines])


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
