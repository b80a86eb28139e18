"""The summary of one nightly run, as text."""

from collections.abc import Iterator

from orchestrator.model import ItemEnd, ItemReport, NightReport
from orchestrator.publish import clean
from orchestrator.publish.figures import duration

_SHOWN = 5  # of what became worse


def summary(report: NightReport) -> str:
    """Every item, the worst first, and what is still open from nights before."""
    lines = [f"kdelta nightly {report.began}, took {duration(report.seconds)}: {_counts(report)}"]
    for one in sorted(report.items, key=_rank):
        lines += _of_item(one)
    if report.open:
        named = ((item, directory) for item, some in sorted(report.open.items()) for directory in some)
        lines += ["open regressions:", *(f"  {item}  {directory}" for item, directory in named)]
    lines += [f"removed {len(report.pruned)} old run directories"] if report.pruned else []
    return "".join(f"{clean.line(line)}\n" for line in lines)


def _word(one: ItemReport) -> str:
    return one.verdict if one.end is ItemEnd.RAN else one.end.value


_ORDER = ("regressed", "unmet", "failed", "inconclusive", "unjudged", "left", "gone", "validated", "clean", "known")


def _rank(one: ItemReport) -> tuple[int, str]:
    return _ORDER.index(_word(one)), one.item


def _counts(report: NightReport) -> str:
    words = [_word(one) for one in report.items]
    return ", ".join(f"{words.count(word)} {word}" for word in _ORDER if word in words) or "nothing to do"


_MARKS = {"regressed": "!", "unmet": "!", "failed": "?", "inconclusive": "?", "unjudged": "?"}


def _of_item(one: ItemReport) -> Iterator[str]:
    mark = _MARKS.get(_word(one), " ")
    known = f" ({one.verdict})" if one.end in (ItemEnd.KNOWN, ItemEnd.GONE) else ""
    yield f"{mark} {_word(one):12} {one.item}{known}"
    if one.end is ItemEnd.RAN:
        yield f"    {one.title}, {duration(one.seconds)}: {one.directory}"
    if one.strength:
        yield f"    {one.strength}"
    if one.words and (mark != " " or one.end in (ItemEnd.LEFT, ItemEnd.GONE)):
        yield f"    {one.words}"
    yield from (f"    worse than the last time: {name}" for name in one.worse[:_SHOWN])
    if len(one.worse) > _SHOWN:
        yield f"    worse than the last time: {len(one.worse) - _SHOWN} more"
    yield from (f"    brought by {who}" for who in one.culprits)
