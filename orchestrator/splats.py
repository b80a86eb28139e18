"""configs/splats.yaml and lists of known issues in, checked rules out."""

import datetime
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kvm.arch import ARCHES
from orchestrator import config, yamlfile
from orchestrator.model import KnownIssue, Role, SplatRule, SplatRules, Until
from orchestrator.yamlfile import Fault, Location, Section, nearest

_REPEATS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|[*+]")  # in a pattern, with what only looks so: escaped, in a class
_MOST_ALIKE = 512  # characters of one kind where a report starts: more of a message is not looked at
_NAME = re.compile(r"\(\?P<\w+>")  # a name may stand once in a pattern, and all are joined into one


def _day(given: Any) -> Any:
    return datetime.date.fromisoformat(given) if isinstance(given, str) else given


class _Rule(Section):
    kind: str = Field(min_length=1)
    title: str = ""
    start: list[str] = Field(min_length=1)
    words: list[str] = Field(default_factory=list)
    until: Literal["trace", "mark", "line", "silence"] = "trace"
    end: list[str] = Field(default_factory=list)
    absorbs: list[str] = Field(default_factory=list)
    joins: str | None = None
    frames: bool = True
    fatal: bool = False
    timed: bool = False
    role: Literal["report", "preface", "header", "orphan", "noise"] = "report"


class _Rules(Section):
    skip: list[str] = Field(min_length=1)
    rules: list[_Rule] = Field(min_length=1)


class _Match(Section):
    kind: str | None = None
    title: str | None = None
    test: str | None = None
    fingerprint: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")


class _Known(Section):
    match: _Match
    arch: str | None = None
    reason: str = Field(min_length=1)
    link: str = Field(min_length=1)
    expiry: Annotated[datetime.date, BeforeValidator(_day)]
    owner: str = ""
    since: str = ""


class _KnownFile(Section):
    known: list[_Known]


def rules(path: Path | None = None) -> SplatRules:
    """Read the shipped rules, or those in `path`; raises one UserError that lists every fault with its place."""
    found = yamlfile.read(path or config.share() / "configs" / "splats.yaml", _Rules, _faults)
    starts = [_NAME.sub("(?:", start).removesuffix("$") for rule in found.rules for start in rule.start]
    first = _any(starts).pattern
    return SplatRules(
        rules=tuple(_rule(rule) for rule in found.rules),
        first=re.compile(first),
        # behind the time or caller id, or at the start of a line that has none
        gate=re.compile(rf"(?:\] ?|\n(?:<\d+>)?(?!\[ *\d))(?:{_bounded(first)})"),
        skip=_any(found.skip),
    )


def known(mine: Path | None, today: datetime.date) -> tuple[KnownIssue, ...]:
    """Read the shipped list of known issues and the one in `mine`; an entry that expired before `today` is a fault."""
    paths = [config.share() / "configs" / "known-issues.yaml", *([mine] if mine else [])]
    files = [yamlfile.read(path, _KnownFile, lambda found: _known_faults(found, today)) for path in paths]
    return tuple(_entry(entry) for file in files for entry in file.known)


def _rule(rule: _Rule) -> SplatRule:
    return SplatRule(
        kind=rule.kind,
        title=rule.title,
        start=tuple(map(re.compile, rule.start)),
        words=tuple(map(re.compile, rule.words)),
        until=Until(rule.until),
        end=_any(rule.end) if rule.end else None,
        absorbs=frozenset(rule.absorbs),
        joins=re.compile(rule.joins) if rule.joins else None,
        frames=rule.frames,
        fatal=rule.fatal,
        timed=rule.timed,
        role=Role(rule.role),
    )


def _entry(entry: _Known) -> KnownIssue:
    match = entry.match
    title, test = (re.compile(text) if text else None for text in (match.title, match.test))
    why = entry.reason, entry.link, entry.expiry
    return KnownIssue(match.kind, title, match.fingerprint, entry.arch, *why, test, entry.owner, entry.since)


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _bounded(pattern: str) -> str:
    """Let nothing in it repeat without end: a guest writes lines of any length, and every place of one is tried."""
    ends = {"*": f"{{0,{_MOST_ALIKE}}}", "+": f"{{1,{_MOST_ALIKE}}}"}
    return _REPEATS.sub(lambda found: ends.get(found[0], found[0]), pattern)


def _faults(found: _Rules) -> Iterator[Fault]:
    kinds = {rule.kind for rule in found.rules}
    yield from (fault for index, skip in enumerate(found.skip) for fault in _unfit(("skip", index), skip))
    for number, rule in enumerate(found.rules):
        at: Location = ("rules", number)
        lists = {"start": rule.start, "words": rule.words, "end": rule.end}
        places = [((*at, key, index), text) for key, texts in lists.items() for index, text in enumerate(texts)]
        broken = [fault for place, text in places for fault in _unfit(place, text)]
        broken += _unfit((*at, "joins"), rule.joins or "")
        yield from broken or _wrong(at, rule)
        for index, kind in enumerate(rule.absorbs):
            if kind not in kinds:
                yield (*at, "absorbs", index), f"no rule has the kind {kind!r}{nearest(kind, sorted(kinds))}"


def _wrong(at: Location, rule: _Rule) -> Iterator[Fault]:
    """What is wrong with a rule whose patterns are patterns."""
    if (rule.until == "mark") != bool(rule.end):
        yield (*at, "until"), "`until: mark` and `end` go together"
    if not rule.title and rule.role in ("report", "preface", "orphan"):
        yield at, f"the kind {rule.kind!r} has no title"
    given = {"frame"}.union(*(re.compile(pattern).groupindex for pattern in (*rule.start, *rule.words)))
    for wanted in _names(rule.title):
        if wanted not in given:
            yield (*at, "title"), f"{{{wanted}}} is no named group of `start` or `words`"


def _names(title: str) -> list[str]:
    try:
        return [name for _, name, _, _ in string.Formatter().parse(title) if name is not None]
    except ValueError as fault:
        return [str(fault)]


def _unfit(at: Location, pattern: str) -> list[Fault]:
    try:
        re.compile(pattern)
    except re.error as fault:
        return [(at, f"no regular expression: {fault}")]
    return []


def _known_faults(found: _KnownFile, today: datetime.date) -> Iterator[Fault]:
    for number, entry in enumerate(found.known):
        at: Location = ("known", number)
        match, name = entry.match, entry.match.test or entry.match.title or entry.match.fingerprint
        if name is None:
            yield (*at, "match"), "neither `test` nor `title` nor `fingerprint`: it would match too much"
        if match.test and (match.title or match.kind):
            yield (
                (*at, "match"),
                "`test` names a test's failure, `title` and `kind` a report: an entry is of one of them",
            )
        for key, pattern in (("title", match.title), ("test", match.test)):
            yield from _unfit((*at, "match", key), pattern or "")
        if entry.arch is not None and entry.arch not in ARCHES:
            yield (*at, "arch"), f"no arch {entry.arch!r}; known: {', '.join(ARCHES)}"
        if entry.expiry < today:
            words = f"{name!r} expired on {entry.expiry}: look whether it is fixed ({entry.link}), or give it more time"
            yield (*at, "expiry"), words
