"""`make accuracy`: runs kdelta on seeded changes whose answers are known, and prints how often it was right."""

import argparse
import datetime
import sys
from pathlib import Path

from benchmarks.accuracy import compare, ledger, play, table
from benchmarks.accuracy.compare import Mark, Marked
from benchmarks.accuracy.entry import all_entries
from benchmarks.accuracy.ledger import Row
from kvm.arch import ARCHES
from orchestrator import config

OUT = config.share() / "results" / "accuracy"
DOC = config.share() / "docs" / "accuracy.md"
MARK = "<!-- from here on written by `make accuracy` -->\n"


def main() -> int:
    asked = _arguments()
    entries, kdelta = all_entries(asked.only), play.version()
    rows: list[Row] = []
    for number, entry in enumerate(entries, 1):
        arches = [arch for arch in entry.answer.arches if arch in (asked.arch or entry.answer.arches)]
        found = play.kept(entry, arches, asked.out, kdelta)
        if not arches or (asked.kept and found is None):
            continue
        record = found if found is not None else play.run(entry, arches, asked.out, kdelta)
        marked = compare.mark(entry, arches, record, play.boots(entry, arches, asked.out))
        rows.append(Row(marked, kdelta, datetime.date.today()))
        sys.stderr.write(f"{number} of {len(entries)}: {_line(rows[-1].marked)}\n")
    if asked.write:
        known = all_entries()
        whole = ledger.newest([*ledger.read(known), *rows])
        ledger.write(whole)
        page = table.render(whole, known)
        DOC.write_text(f"{DOC.read_text(encoding='utf-8').partition(MARK)[0]}{MARK}\n{page}", encoding="utf-8")
    else:
        sys.stdout.write(table.render(rows, entries))
    return 1 if any(row.marked.mark in (Mark.ALARM, Mark.NO_ANSWER) for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="accuracy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORDS", help="only entries whose name holds them")
    parser.add_argument("--arch", action="append", choices=list(ARCHES), help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=OUT, help="where runs are kept, and not repeated for this kdelta")
    parser.add_argument("--kept", action="store_true", help="run nothing: the table of what is kept")
    parser.add_argument(
        "--write", action="store_true", help="put what was run into the ledger, and all of that into docs/accuracy.md"
    )
    return parser.parse_args()


def _line(one: Marked) -> str:
    lacks = f" ({'; '.join(one.lacks)})" if one.lacks else ""
    return f"{one.entry.name}: {one.said}: {one.mark}{lacks}, {one.boots} boots, {one.seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
