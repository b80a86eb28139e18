"""What came of all entries, as Markdown: rates with exact intervals, then a line for each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scipy.stats import binomtest

from benchmarks.accuracy.compare import Mark, Marked
from benchmarks.accuracy.entry import Entry
from benchmarks.accuracy.ledger import Row
from kvm.arch import DEFAULT

_BROKEN = (Mark.FOUND, Mark.TOLD, Mark.HALF, Mark.MISSED, Mark.UNDECIDED)
_HARMLESS = (Mark.QUIET, Mark.ALARM, Mark.UNDECIDED)


def render(rows: Sequence[Row], entries: Sequence[Entry]) -> str:
    """The whole table; `entries` are all that might have been run."""
    marked = [row.marked for row in rows]
    parts = [
        _of_what(rows),
        _confusion(marked),
        _rates(marked),
        _not_kept(marked),
        _culprits(marked),
        _costs(marked),
        _entries(rows),
        _not_run(rows, entries),
    ]
    return "\n".join(line for part in parts for line in [*part, ""])


def interval(part: int, whole: int) -> str:
    """A rate with its exact (Clopper-Pearson) interval of 95 %."""
    if not whole:
        return "nothing to count"
    low, high = binomtest(part, whole).proportion_ci(method="exact")
    return f"{part} of {whole} = {part / whole:.3f} ({low:.3f} to {high:.3f})"


def _of_what(rows: Sequence[Row]) -> Iterator[str]:
    for (kdelta, day), count in sorted(
        Counter((row.kdelta, row.day) for row in rows).items(), key=lambda one: one[0][1]
    ):
        yield f"- {day}, kdelta {kdelta}: {count} entries"


def _confusion(marked: Sequence[Marked]) -> Iterator[str]:
    broken, harmless = (Counter(one.mark for one in _counted(marked, effect)) for effect in ("breaks", "nothing"))
    yield from _table(("", *_BROKEN), [("breaks something", *(str(broken[mark]) for mark in _BROKEN))])
    yield ""
    yield from _table(("", *_HARMLESS), [("changes nothing", *(str(harmless[mark]) for mark in _HARMLESS))])


def _rates(marked: Sequence[Marked]) -> Iterator[str]:
    """Of all entries, then of those that ran on an architecture, alone or with others."""
    scopes = [marked, *([one for one in marked if arch in one.arches] for arch in DEFAULT)]
    seen = [_seen(scope) for scope in scopes]
    head = ("rate (95 %)", "seen", *(f"on {arch}" for arch in DEFAULT))
    yield from _table(head, ((name, *(interval(*rates[name]) for rates in seen)) for name in seen[0]))


def _seen(marked: Sequence[Marked]) -> dict[str, tuple[int, int]]:
    """Each rate's part and whole."""
    broken, harmless = _counted(marked, "breaks"), _counted(marked, "nothing")
    marks = Counter(one.mark for one in broken)
    alarms, told = marks[Mark.FOUND] + marks[Mark.HALF], marks[Mark.TOLD]
    searched = [one.culprit for one in broken if one.culprit is not None]
    return {
        "an alarm was raised": (alarms, len(broken)),
        "told, and left to the reader": (told, len(broken)),
        "either of them": (alarms + told, len(broken)),
        "either, with all that the answer wants": (marks[Mark.FOUND] + told, len(broken)),
        "false alarms": (sum(one.mark is Mark.ALARM for one in harmless), len(harmless)),
        **_called_regressed("in null runs", [one for one in harmless if one.entry.null]),
        **_called_regressed("under harmless patches", [one for one in harmless if not one.entry.null]),
        "culprit right": (sum(searched), len(searched)),
    }


def _called_regressed(where: str, harmless: Sequence[Marked]) -> dict[str, tuple[int, int]]:
    """Of the tests that were compared, and of the flaky ones among them."""
    flaky = [one for one in harmless if one.entry.by_chance]
    return {
        f"tests called regressed {where}": _wrong(harmless),
        f"flaky ones among them, {where}": _wrong(flaky),
    }


def _wrong(harmless: Sequence[Marked]) -> tuple[int, int]:
    return sum(one.wrong for one in harmless), sum(one.compared for one in harmless)


def _not_kept(marked: Sequence[Marked]) -> Iterator[str]:
    """Runs that booted guests and have no test: of these it was not kept how many were compared."""
    harmless = _counted(marked, "nothing")
    lost = Counter(one.entry.null for one in harmless if one.boots and not one.compared)
    whole = Counter(one.entry.null for one in harmless)
    yield (
        f"How many tests were compared was not kept of {lost[True]} of {whole[True]} null runs, "
        f"{lost[False]} of {whole[False]} harmless patches."
    )


def _culprits(marked: Sequence[Marked]) -> Iterator[str]:
    """Were they right, and in how many builds, by the number of patches."""
    searched: dict[int, list[Marked]] = {}
    for one in _counted(marked, "breaks"):
        if one.culprit is not None:
            searched.setdefault(len(one.entry.patches), []).append(one)
    head = ("culprit, in a series of", "right (95 %)", "most builds of a search", "builds known of")
    yield from _table(head, (_of_length(length, searched[length]) for length in sorted(searched)))


def _of_length(length: int, searched: Sequence[Marked]) -> tuple[str, ...]:
    builds = [one.builds for one in searched if one.builds is not None]
    right = interval(sum(bool(one.culprit) for one in searched), len(searched))
    most = str(max(builds)) if builds else "not kept"
    return f"{length} patches", right, most, f"{len(builds)} of {len(searched)}"


def _counted(marked: Sequence[Marked], effect: str) -> list[Marked]:
    """Those of an effect that are in the rates."""
    return [one for one in marked if one.entry.answer.effect == effect and not _beside(one)]


def _beside(one: Marked) -> bool:
    return bool(one.entry.answer.unreached) or one.mark is Mark.NO_ANSWER


def _costs(marked: Sequence[Marked]) -> Iterator[str]:
    beside = Counter(one.mark for one in marked)
    some = "" if all(one.all_boots for one in marked) else "at least "
    yield (
        f"{len(marked)} entries run, {some}{sum(one.boots for one in marked)} kernels booted, "
        f"{sum(one.seconds for one in marked):.0f} s; {beside[Mark.UNREACHED]} that no shipped suite can show, "
        f"{beside[Mark.NO_ANSWER]} without an answer."
    )


def _entries(rows: Sequence[Row]) -> Iterator[str]:
    head = ("entry", "what it does", "on", "kdelta says", "", "culprit", "boots", "s", "of")
    yield from _table(head, map(_row, rows))


def _row(row: Row) -> tuple[str, ...]:
    one = row.marked
    answer = one.entry.answer
    detail = "; ".join(one.lacks) or (answer.unreached if one.mark is Mark.UNREACHED else "")
    return (
        one.entry.name,
        answer.what,
        ", ".join(f"{arch}-{flavour}" for arch in one.arches for flavour in answer.run.flavours),
        one.said,
        f"{one.mark}{f': {detail}' if detail else ''}",
        f"{one.named} of {len(one.entry.patches)}, it is {answer.culprit}" if one.named else "",
        f"{one.boots}{'' if one.all_boots or not one.boots else '+'}",
        f"{one.seconds:.0f}",
        row.day.isoformat(),
    )


def _not_run(rows: Sequence[Row], entries: Sequence[Entry]) -> Iterator[str]:
    done = {(row.marked.entry.name, arch) for row in rows for arch in row.marked.arches}
    for arch in DEFAULT:
        left = [one.name for one in entries if arch in one.answer.arches and (one.name, arch) not in done]
        if left:
            yield f"Not run on {arch} ({len(left)}): {', '.join(left)}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in row)} |" for row in rows)
