"""The plain answer for a terminal or a mail: 25 lines of 80 columns at most, the same for the same run."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from orchestrator import listing
from orchestrator.model import (
    Change,
    ChangeKind,
    ConsoleLine,
    Culprit,
    Fate,
    FindingRecord,
    Lane,
    MetricPair,
    Run,
    Samples,
)
from orchestrator.publish import digest, effects, figures
from orchestrator.publish.clean import line

WIDTH, HEIGHT = 80, 25
REASON_LINES, LANES, CHANGES, FINDINGS, CONSOLE_LINES, NOTES, SURVIVORS = 5, 4, 8, 3, 2, 2, 3
CULPRIT_LINES = 4


def summary(run: Run, report: Path | None) -> str:
    """The verdict and why, the counts of each arch, the changes worst first, the metrics, where the report is."""
    names = digest.lanes(run)
    pairs = sorted(effects.metrics(run), key=lambda pair: pair.alone is not None)  # what can be compared first
    parts = [
        (_wrapped(f"  {line(digest.strength(run))}", "  "), 2),
        (_reasons(run), REASON_LINES),
        ([text for culprit in run.culprits for text in _culprit(run, culprit)], CULPRIT_LINES),
        ([_fit(f"note: {line(note)}") for note in run.notes], NOTES),
        ([_fit(line(digest.counts(tally))) for tally in digest.tallies(run)], LANES),
        (_binaries(run, names), LANES),
        (findings(run), FINDINGS),
        (_lines(run, names), CONSOLE_LINES),
        (_survivors(run), SURVIVORS),
        (_changes(run, names), CHANGES),
    ]
    title = _fit(f"{digest.headword(run)}  {line(run.series.title)}")
    lines = [title, *_fill(parts, HEIGHT - 2 - bool(pairs))]
    metrics = [_metric(pair, names[digest.lane_of(pair)]) for pair in pairs]
    where = [f"report: {line(str(report))}"] if report else []  # never cut: it is there to be copied
    return "\n".join([*lines, *_some(metrics, HEIGHT - 1 - len(lines)), *where]) + "\n"


def _fill(parts: list[tuple[list[str], int]], room: int) -> list[str]:
    """So much of each part as it may have, less of the longest while they do not fit."""
    shares = [min(len(lines), most) for lines, most in parts]
    while sum(shares) > room:
        longest = max(range(len(shares)), key=lambda number: (shares[number], number))
        shares[longest] -= 1
    return [text for (lines, _), share in zip(parts, shares, strict=True) for text in _some(lines, share)]


def _some(lines: Iterable[str], most: int) -> list[str]:
    """The first of them, and a word about the rest."""
    every = list(lines)
    return every if len(every) <= most else [*every[: most - 1], f"  ... and {len(every) - most + 1} more"]


def _fit(text: str) -> str:
    """The text cut to the width, and seen to be cut."""
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _reasons(run: Run) -> list[str]:
    return [text for reason in digest.reasons(run) for text in _wrapped(f"  - {line(reason)}", "    ")]


def _culprit(run: Run, culprit: Culprit) -> list[str]:
    """Which patch it was and what it brought, in four lines at most."""
    brought = f"{listing.first(culprit.symptoms, 1)} on {', '.join(culprit.lanes)}"
    return [
        *_wrapped(f"culprit: {line(digest.blame(run, culprit))}", "  "),
        *_wrapped(f"  brought {line(brought)}", "    "),
    ]


def _wrapped(text: str, indent: str) -> list[str]:
    """The text in two lines at most."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, max_lines=2, placeholder=" …")


def _binaries(run: Run, names: dict[Lane, str]) -> list[str]:
    said = (f"{names[digest.lane_of(found)]}: {line(found.summary)}" for found in digest.binaries(run))
    return [text for words in said for text in _wrapped(words, "  ")]


def findings(run: Run) -> list[str]:
    """What the builds and checkers newly say, a line each."""
    return [_fit(f"new {line(_place(some[0]))}: {line(some[0].message)}") for some in digest.new_findings(run)]


def _lines(run: Run, names: dict[Lane, str]) -> list[str]:
    """What the kernel newly says, or says no more, or far more often, in every boot; a line each."""
    merged = digest.merged(digest.constant_lines(run), lambda one: (digest.said(one), one.words))
    return [_fit(f"{digest.said(some[0])} {line(_where(some, names))}: {line(some[0].words)}") for some in merged]


def _where(some: Iterable[ConsoleLine], names: dict[Lane, str]) -> str:
    return " ".join(names[digest.lane_of(one)] for one in some)


def _survivors(run: Run) -> list[str]:
    """What no test noticed, a line each."""
    return [
        _fit(f"survived   {line(one.file)}:{one.line} {one.kind}: {line(one.words)}")
        for one in digest.mutants(run)
        if one.fate is Fate.SURVIVED
    ]


def _place(found: FindingRecord) -> str:
    return f"{found.tool} {found.file}{f':{found.line}' if found.line else ''}"


def _changes(run: Run, names: dict[Lane, str]) -> list[str]:
    groups = digest.merged(
        digest.noteworthy(run),
        lambda test: (test.suite, test.name, test.change, test.unmet, test.expected, _rates(test)),
    )
    return [
        text
        for tests in groups
        for text in (
            _change(tests, [names[digest.lane_of(test)] for test in tests]),
            *_wrapped(f"  {line(_rates(tests[0]))}", "    "),
        )
    ]


def _rates(test: Change) -> str:
    """How often it failed: of what is bad, or nobody knows. Good news needs no second line."""
    telling = test.change is ChangeKind.REGRESSED or test.change.unsure or test.change.flaky
    return digest.rates(test) if telling else ""


def _change(tests: list[Change], where: list[str]) -> str:
    """`fixed      madvise_locked/foo x86_64 arm64`; a long name gives way to its lanes."""
    test = tests[0]
    word = "unmet" if test.unmet and test.change.unchanged else test.change
    before = f"{word:<10} {line(test.suite)}/"
    after = f" {line(' '.join(where))}{f' ({test.expected} declared)' if test.unmet else ''}"
    room = max(12, WIDTH - len(before) - len(after))
    name = line(test.name)
    return _fit(before + (name if len(name) <= room else f"{name[: room - 1]}…") + after)


def _metric(pair: MetricPair, lane: str) -> str:
    base, patched = map(_median, (pair.base, pair.patched))
    return _fit(f"metric     {line(pair.name)} {line(lane)}: {base} → {patched} {line(pair.unit)} ({_against(pair)})")


def _against(pair: MetricPair) -> str:
    """What patched is to base, between what, and from which change on it would have been seen."""
    effect, said = pair.effect, effects.against(pair)
    if effect is None:
        return effects.sure(pair) or said
    if effect.low is None:
        return f"{said}, sees none"
    low, high = (effects.amount(effect, value).lstrip("x") for value in (effect.low, effect.high))
    return f"{said} in {low}..{high}, sees {line(effects.visible(pair, effect))}"


def _median(side: Samples) -> str:
    spread = effects.spread(side)
    return figures.number(spread.median if spread else None)
