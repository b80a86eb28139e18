"""A console in, the kernel's reports out: kind, title, frames, text. Pure, and total: any text gives an answer.

Reports of several CPUs stand interleaved on a console. Lines are told apart by caller (CONFIG_PRINTK_CALLER), else by
time: each CPU's own clock never goes back. What interrupts a report is put aside, and the report goes on behind it.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.build.anatomy.objects import plain_name
from orchestrator.build.findings.words import in_tree
from orchestrator.judge import console, frames
from orchestrator.judge.console import Record
from orchestrator.model import RESTORED, Role, Splat, SplatRule, SplatRules, Until

MOST_SPLATS = 50  # different ones that are kept of one console
MOST_LINES = 500  # of one report that are kept
MOST_CHARACTERS = 64 << 10
FINGERPRINT_FRAMES = 5

_ENDLESS = 10 * MOST_LINES  # lines after which a report is over without its end
_MOST_OPEN = 8
_GAP = 10.0  # seconds of silence that end any report: its rest will not come
_SILENCE = 1.0  # seconds of silence that end a report that has no other end
_HEADER_LINES = 6  # lines that a header waits for its report
_TRACELESS_LINES = 16  # kept of a report whose call trace never came
_HEAD = 512  # characters of a message that start patterns see
_NEXT_GUEST = re.compile(re.escape(RESTORED).replace(re.escape("{}"), ".*"))
# Numbers that differ from boot to boot say nothing about which report it is.
_VOLATILE = (
    (re.compile(r"(\w)\+0x[0-9a-f]+/0x[0-9a-f]+"), r"\1"),
    (re.compile(r"\b(?:0x[0-9a-f]+|(?=[0-9a-f]*\d)[0-9a-f]{8,}|[0-9a-f]{16})\b"), "ADDR"),
    (re.compile(r"(?<![\w.-])\d+\b(?!-)|(?<=[/#:])\d+\b"), "NUM"),
)


@dataclass(frozen=True)
class Found:
    """The different reports on a console, in order, and how many more there are that are not kept."""

    splats: tuple[Splat, ...]
    more: int


def find(blocks: Iterable[str], rules: SplatRules) -> Found:
    """Cut the reports out of a console, which comes in blocks of any size; each report is kept once, and counted."""
    cutter = _Cutter(rules)
    for text in console.texts(blocks):
        cutter.read(f"\n{text}")
    return cutter.finish()


def fingerprint(kind: str, title: str, found: Sequence[str]) -> str:
    """Hash what makes a report the same report: its kind, its first frames, and its title.

    The title tells a shift from an overflow in one function: neither must hide the other.
    """
    words = "\n".join((kind, title, *found[:FINGERPRINT_FRAMES]))
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16]


def marks_guest(message: str) -> bool:
    """Is it the line that stands between what two guests said?"""
    return _NEXT_GUEST.match(message) is not None


@dataclass(eq=False)
class _Report:
    """A report that is being read."""

    number: int
    rule: SplatRule
    words: dict[str, str]
    callers: set[str | None]
    lines: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    room: int = MOST_CHARACTERS
    left_out: int = 0
    last: float | None = None
    traced: int = -1  # entries of its call trace; -1 before it begins
    after: bool = False  # is its call trace over?
    timeless: bool = False  # did it begin on a line without a time, where others have one?
    before: "_Report | None" = None  # what a panic cut before its call trace: the panic's is that one, too

    def add(self, record: Record, *, spoken: bool) -> None:
        """Take one message; `spoken` by the kernel, not by a program on the same console."""
        self.timeless = self.timeless or not (spoken or self.lines)
        spoken = spoken or self.timeless
        for row in record.rows:
            self.room -= len(row) + 1
            if len(self.lines) < MOST_LINES and self.room >= 0:
                self.lines.append(row)
            else:
                self.left_out += 1
        self.last = record.time if self.last is None else max(self.last, record.time or 0.0)
        frame = frames.is_frame(record.message)
        if spoken or (frame and self.traced >= 0):
            self._follow(record.message, frame)

    def _follow(self, message: str, frame: bool) -> None:
        if not self.left_out:
            self.messages.append(message)
        if frames.is_header(message):
            self.traced, self.after = 0, False
        elif self.traced >= 0 and not self.after:
            self.traced += frame
            self.after = self.traced > 0 and not frame and not frames.is_between(message)
        elif self.traced < 0:
            for pattern in self.rule.words:
                if found := pattern.match(message):
                    self.words = {**_given(found), **self.words}

    def over(self, record: Record, *, spoken: bool) -> bool:
        """Is the report over before this message?"""
        longest = _SILENCE if self.rule.until is Until.SILENCE else _GAP
        if record.time and self.last and record.time - self.last > longest:
            return True
        if len(self.lines) + self.left_out >= _ENDLESS:
            return True
        if self.rule.role is Role.HEADER:
            return len(self.lines) >= _HEADER_LINES
        trace_is_over = self.after or (
            self.traced > 0 and not frames.is_frame(record.message) and not frames.is_between(record.message)
        )
        return self.rule.until is Until.TRACE and (spoken or self.timeless) and trace_is_over

    @property
    def waits(self) -> bool:
        """Has its call trace not begun?"""
        return self.traced < 0

    def goes_on_with(self, rule: SplatRule) -> bool:
        """Is this first line part of the report, which may be told better by it?"""
        related = rule.kind in self.rule.absorbs or self.rule.kind in rule.absorbs
        return self.waits and (related or (self.rule.role.opens and rule.role is not Role.HEADER))

    def become(self, rule: SplatRule, words: dict[str, str]) -> None:
        """Take the more telling of two rules for what it is."""
        if rule.kind not in self.rule.absorbs:
            self.rule = rule
        self.words = {**words, **self.words}


def _given(found: re.Match[str]) -> dict[str, str]:
    return {name: text for name, text in found.groupdict().items() if text}


class _Cutter:
    """Reads a console line by line, and knows which reports are open."""

    def __init__(self, rules: SplatRules) -> None:
        self._rules = rules
        self._open: list[_Report] = []
        self._kept: dict[str, tuple[int, Splat]] = {}
        self._more = 0
        self._number = 0
        self._stamped = False
        self._time = 0.0

    def read(self, text: str) -> None:
        """Read whole lines, each behind its line end."""
        self._stamped = self._stamped or console.stamped(text)
        self._read(text)
        self._time = console.time_before(text, len(text), self._time)

    def _read(self, text: str) -> None:
        at = 1
        while at < len(text):
            if not self._open:
                hit = self._rules.gate.search(text, at - 1)
                if hit is None:
                    return
                at = max(at, text.rfind("\n", at - 1, hit.start() + 1) + 1)
            records, at = console.line_at(text, at, self._time)
            for record in records:
                self._take(record)

    def finish(self) -> Found:
        """Say what was found: the console ends here."""
        self._close_all()
        ordered = sorted(self._kept.values(), key=lambda kept: kept[0])
        return Found(tuple(splat for _, splat in ordered), self._more)

    def _take(self, record: Record) -> None:
        if record.time is None and marks_guest(record.message):
            self._close_all()
        spoken = record.time is not None or not self._stamped
        target = self._target(record)
        while target and target.over(record, spoken=spoken):
            self._close(target)
            target = self._target(record)
        if target and target.rule.end and target.rule.end.match(record.message):
            target.add(record, spoken=spoken)
            self._close(target)
            return
        rule, words = self._start(record, spoken=spoken)
        if rule and (report := self._begin(rule, words, record, target)):
            target = report
        if target:
            target.add(record, spoken=spoken)
            if target.rule.until is Until.LINE:
                self._close(target)

    def _start(self, record: Record, *, spoken: bool) -> tuple[SplatRule | None, dict[str, str]]:
        message = record.message[:_HEAD]
        if not message.startswith((" ", "\t")) and self._rules.first.match(message):
            for rule in self._rules.rules:
                if spoken or not rule.timed:
                    for pattern in rule.start:
                        if found := pattern.match(message):
                            return rule, _given(found)
        return None, {}

    def _begin(self, rule: SplatRule, words: dict[str, str], record: Record, target: _Report | None) -> _Report | None:
        """Return the report that this first line belongs to; None if it is no first line here."""
        if target and target.rule.joins and target.rule.joins.match(record.message):
            return None
        if target and rule.role in (Role.HEADER, Role.ORPHAN) and target.rule.role is not Role.HEADER:
            return None
        waiting = [target, *(report for report in self._open if report.rule.role.opens)]
        for report in waiting:
            if report and report.goes_on_with(rule) and self._hears(report, record):
                report.become(rule, words)
                return report
        self._number += 1
        report = _Report(self._number, rule, words, {record.caller})
        if target and rule.fatal and target.waits and target.rule.role is not Role.HEADER:
            self._open.remove(target)
            report.before = target
        elif target and (rule.fatal or target.after or target.rule.role is not Role.REPORT):
            self._close(target)
        if len(self._open) >= _MOST_OPEN:
            self._close(self._open[0])
        self._open.append(report)
        return report

    def _target(self, record: Record) -> _Report | None:
        """Find the open report that a message goes on with."""
        if not self._open:
            return None
        heard = [report for report in self._open if self._hears(report, record)]
        if not heard:
            for report in reversed(self._open):
                if report.rule.joins and report.rule.joins.match(record.message):
                    report.callers.add(record.caller)
                    return report
            return None
        if record.time is None or len(heard) == 1:
            return heard[-1]
        earlier = [report for report in heard if report.last is None or report.last <= record.time]
        return max(earlier or heard, key=lambda report: (report.last or 0.0, report.number))

    @staticmethod
    def _hears(report: _Report, record: Record) -> bool:
        return record.caller is None or record.caller in report.callers or None in report.callers

    def _close_all(self) -> None:
        for report in list(self._open):
            self._close(report)

    def _close(self, report: _Report) -> None:
        self._open.remove(report)
        cut = report.before
        while cut:
            cut.messages += report.messages
            self._keep(cut)
            cut = cut.before
        self._keep(report)

    def _keep(self, report: _Report) -> None:
        silent = report.rule.role in (Role.HEADER, Role.NOISE)
        if silent or (report.rule.role is Role.ORPHAN and report.traced < 1):
            return
        splat = _splat(report, self._rules.skip)
        number, same = self._kept.get(splat.fingerprint, (report.number, None))
        if same:
            self._kept[splat.fingerprint] = (number, replace(same, times=same.times + 1))
        elif len(self._kept) < MOST_SPLATS:
            self._kept[splat.fingerprint] = (number, splat)
        else:
            self._more += 1


def _splat(report: _Report, skip: re.Pattern[str]) -> Splat:
    rule = report.rule
    here = report.words.get("at", "")
    where = () if not here or skip.fullmatch(plain_name(here)) else (plain_name(here),)
    found = frames.functions(frames.calls(report.messages, skip), skip) or where if rule.frames else ()
    title = _title(rule.title, report.words, (*where, *found, "")[0])
    lines = report.lines
    if rule.until is Until.TRACE and report.waits:
        lines = lines[:_TRACELESS_LINES]
    return Splat(
        kind=rule.kind,
        title=title,
        text="\n".join(lines),
        frames=found,
        fingerprint=fingerprint(rule.kind, title, found),
        left_out=report.left_out,
    )


def _title(form: str, words: dict[str, str], frame: str) -> str:
    given = {name: _plain(text) for name, text in words.items()}
    if "one" in given and "two" in given:
        given["one"], given["two"] = sorted((given["one"], given["two"]))
    form = form if frame else form.replace(" in {frame}", "")
    return " ".join(form.format_map(_Words({**given, "frame": frame})).split()).rstrip(":")


class _Words(dict[str, str]):
    """The words of a title; what no line gave is left out."""

    def __missing__(self, name: str) -> str:
        return ""


def _plain(text: str) -> str:
    text = in_tree(text)
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    return text.strip().rstrip(".:")
