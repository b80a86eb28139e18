"""`make faults`: plays every fault, prints what came of it as a table, and keeps that in docs/faults.md."""

import argparse
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from kvm import proc
from kvm.arch import get
from orchestrator import cache
from tests.conftest import ROOT
from tests.faults import guests, host, kernel
from tests.faults.row import Row, Seen

ARCHES = ("x86_64", "arm64")
DOC = ROOT / "docs" / "faults.md"
MARK = "<!-- from here on written by `make faults` -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", choices=ARCHES, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", metavar="WORDS", help="only faults whose name holds them; docs/faults.md stays")
    asked = parser.parse_args()
    seen = play(asked.arch or ARCHES, asked.only or "")
    told = host.play(asked.only or "")
    table = f"{in_guests(seen)}\n{on_host(told)}"
    sys.stdout.write(table)
    if not asked.only and not asked.arch:
        DOC.write_text(f"{DOC.read_text(encoding='utf-8').partition(MARK)[0]}{MARK}\n{table}", encoding="utf-8")
    wrong = [*filter(None, map(_fault, seen)), *(f"{each.name}: {each.wrong}" for each in told if each.wrong)]
    sys.stdout.writelines(f"{line}\n" for line in wrong)  # last, where one who reads a log begins
    return 1 if wrong else 0


def play(arches: Iterable[str], only: str) -> list[Seen]:
    """Both architectures at once, each in a process: what one leaves open is not another's."""
    with workers() as pool:
        return [seen for each in pool.map(_on, arches, itertools.repeat(only)) for seen in each]


def workers() -> ProcessPoolExecutor:
    """Two processes that end when this one does, killed or not, and with them their guests."""
    return ProcessPoolExecutor(2, initializer=proc.end_with, initargs=(os.getpid(), signal.SIGKILL))


def _on(name: str, only: str) -> list[Seen]:
    wanted = [row for row in guests.rows() if name in row.arches and (only in row.name or row.name == "nothing")]
    with tempfile.TemporaryDirectory(prefix="kdelta-faults-") as scratch:
        where, root = Path(scratch), cache.default_root()
        tempfile.tempdir = tempfile.mkdtemp(dir=scratch)  # of this process: what a row leaves there is seen
        image = kernel.build(name, root, where / "build.log").image
        with guests.stage(get(name), image, root, where) as stage:
            return [_heard(stage.play(row)) for row in wanted]


def _heard(seen: Seen) -> Seen:
    sys.stderr.write(f"{_fault(seen) or f'{seen.arch} {seen.row.name}: ok'} {seen.seconds:.1f} s\n")
    return seen


def _fault(seen: Seen) -> str:
    wrong = "; ".join(seen.wrong())
    return wrong and f"{seen.arch} {seen.row.name}: {wrong}"


def in_guests(seen: list[Seen]) -> str:
    """The table of what went wrong in a guest, with its counts."""
    head = ("fault", "arch", "guest", "fault / after", "reports", "verdict", "")
    good = sum(not any(each.wrong()) for each in seen)
    counted = f"\n{len(seen)} rows played, {good} as they must be.\n"
    return "".join([*_lines(head, map(_cells, seen)), counted, *_latest(seen)])


def _latest(seen: list[Seen]) -> Iterator[str]:
    heard = [each for each in seen if each.late is not None and each.row.within == Row.within]
    quiet = [each.late for each in seen if each.late is not None and each.row.within > Row.within]
    if heard:
        soon = sum(not each.is_late for each in heard)
        yield f"The console tells of {len(heard)}; {soon} of them were told within {Row.within:g} s of that line.\n"
    if quiet:
        yield f"The silence tells of {len(quiet)}; the first word came {max(quiet):.1f} s after the fault at most.\n"


def _cells(each: Seen) -> tuple[str, ...]:
    row = each.row
    return (
        f"{row.name} (by wording)" if row.wording else row.name,
        each.arch,
        str(each.run.guest.outcome),
        f"{each.of('fault')} / {each.of('after')}",
        ", ".join(each.reports) or "none",
        str(each.verdict),
        "; ".join(each.wrong()) or "as it must be",
    )


def on_host(told: list[host.Told]) -> str:
    """The table of what went wrong around a run, with its counts."""
    lines = _lines(
        ("fault", "exit", "what kdelta says", ""),
        ((each.name, str(each.status), each.said, each.wrong or "as it must be") for each in told),
    )
    good = sum(not each.wrong for each in told)
    return "".join([*lines, f"\n{len(told)} rows played, {good} as they must be.\n"])


def _lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
