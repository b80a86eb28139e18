"""What came of all entries, as Markdown: rates with exact intervals, then a line for each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scipy.stats import binomtest

from benchmarks.accuracy.compare import Mark, Marked
from benchmarks.accuracy.entry import Entry

_BROKEN = (Mark.FOUND, Mark.HALF, Mark.MISSED, Mark.UNDECIDED)
_HARMLESS = (Mark.QUIET, Mark.ALARM, Mark.UNDECIDED)


def render(marked: Sequence[Marked], left: Sequence[Entry]) -> str:
    """The whole table; `left` are the entries that were not run."""
    return "\n".join([*_rates(marked, left), "", *_entries(marked), "", *_not_run(left), ""])


def interval(part: int, whole: int) -> str:
    """A rate with its exact (Clopper-Pearson) interval of 95 %."""
    if not whole:
        return "nothing to count"
    low, high = binomtest(part, whole).proportion_ci(method="exact")
    return f"{part} of {whole} = {part / whole:.3f} ({low:.3f} to {high:.3f})"


def _rates(marked: Sequence[Marked], left: Sequence[Entry]) -> Iterator[str]:
    broken, harmless = ([one for one in marked if _counts(one, effect)] for effect in ("breaks", "nothing"))
    of_broken, of_harmless = (Counter(one.mark for one in part) for part in (broken, harmless))
    yield from _table(("", *_BROKEN), [("breaks something", *(str(of_broken[mark]) for mark in _BROKEN))])
    yield ""
    yield from _table(("", *_HARMLESS), [("changes nothing", *(str(of_harmless[mark]) for mark in _HARMLESS))])
    yield ""
    beside = Counter(one.mark for one in marked)
    tests = [one for one in harmless if one.compared]
    searched = [one for one in broken if one.culprit is not None]
    yield from _table(
        ("rate", "seen (95 %)"),
        [
            ("detected, as the answer says", interval(of_broken[Mark.FOUND], len(broken))),
            ("detected at all", interval(of_broken[Mark.FOUND] + of_broken[Mark.HALF], len(broken))),
            ("false alarms", interval(of_harmless[Mark.ALARM], len(harmless))),
            (
                "tests called regressed where nothing changed",
                interval(sum(one.wrong for one in tests), sum(one.compared for one in tests)),
            ),
            ("culprit right", interval(sum(bool(one.culprit) for one in searched), len(searched))),
        ],
    )
    yield ""
    yield (
        f"{len(marked)} entries run, {sum(one.boots for one in marked)} guests booted, "
        f"{sum(one.seconds for one in marked):.0f} s; {beside[Mark.UNREACHED]} that no shipped suite reaches, "
        f"{beside[Mark.NO_ANSWER]} without an answer, {len(left)} not run."
    )


def _counts(one: Marked, effect: str) -> bool:
    return one.entry.answer.effect == effect and not one.entry.answer.unreached and one.mark is not Mark.NO_ANSWER


def _entries(marked: Sequence[Marked]) -> Iterator[str]:
    head = ("entry", "what it does", "on", "kdelta says", "", "culprit", "boots", "s")
    yield from _table(head, map(_row, marked))


def _row(one: Marked) -> tuple[str, ...]:
    answer = one.entry.answer
    detail = "; ".join(one.lacks) or (answer.unreached if one.mark is Mark.UNREACHED else "")
    return (
        one.entry.name,
        answer.what,
        ", ".join(f"{arch}-{flavour}" for arch in one.arches for flavour in answer.run.flavours),
        one.said,
        f"{one.mark}{f': {detail}' if detail else ''}",
        f"{one.named} of {len(one.entry.patches)}, it is {answer.culprit}" if one.named else "",
        str(one.boots),
        f"{one.seconds:.0f}",
    )


def _not_run(left: Sequence[Entry]) -> Iterator[str]:
    if left:
        yield f"Not run: {', '.join(entry.name for entry in left)}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in row)} |" for row in rows)
