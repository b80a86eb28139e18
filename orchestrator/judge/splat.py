"""A console in, the kernel's reports out: kind, title, text. Both x86_64 and arm64 wording."""

import re

from orchestrator.build.findings.words import in_tree
from orchestrator.model import Splat

_TIME = r"^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?"
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(_TIME + pattern))
    for kind, pattern in (
        ("panic", r"Kernel panic - not syncing: (?P<title>.*)$"),
        ("kasan", r"BUG: KASAN: (?P<title>.*)$"),
        ("kfence", r"BUG: KFENCE: (?P<title>.*)$"),
        ("ubsan", r"UBSAN: (?P<title>.*)$"),
        ("atomic", r"BUG: (?P<title>sleeping function called from invalid context.*|scheduling while atomic.*)$"),
        ("oops", r"(?P<title>BUG: unable to handle .*|BUG: kernel NULL pointer dereference.*)$"),
        ("oops", r"(?P<title>Unable to handle kernel .*|Internal error: .*|general protection fault.*)$"),
        ("soft-lockup", r"(?:watchdog: )?BUG: (?P<title>soft lockup.*)$"),
        ("bad-page", r"BUG: (?P<title>Bad page (?:state|map|cache).*|Bad rss-counter state.*)$"),
        ("bug", r"(?P<title>kernel BUG at .*)$"),
        ("lockdep", r"WARNING: (?P<title>possible .*|inconsistent lock state.*|suspicious RCU usage.*)$"),
        ("warning", r"WARNING: (?P<title>CPU: \d+ PID: \d+ at .*)$"),
        ("hung-task", r"INFO: (?P<title>task .* blocked for more than .*)$"),
        ("rcu-stall", r"(?:rcu: )?INFO: (?P<title>rcu_\w+ (?:self-)?detected .*stall.*)$"),
        ("refcount", r"(?P<title>refcount_t: .*)$"),
        ("list-corruption", r"(?P<title>list_(?:add|del) corruption.*)$"),
    )
)
_END = re.compile(_TIME + r"(?:---\[ end .*\]---.*|={20,})$")
_MAX_LINES = 120
_MAX_SPLATS = 50
# Numbers that differ from boot to boot say nothing about which report it is.
_VOLATILE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|CPU: \d+ PID: \d+|CPU#\d+|\b\d+s\b|:\d+\b|\[[^\]]*#\d+\]")


def find(console: str) -> tuple[Splat, ...]:
    """Cut the reports out of a console log, in order, each with the lines that belong to it."""
    lines = [line.rstrip("\r") for line in console.split("\n")]
    splats: list[Splat] = []
    index = 0
    while index < len(lines) and len(splats) < _MAX_SPLATS:
        hit = _start(lines[index])
        if hit is None:
            index += 1
            continue
        end = _end(lines, index)
        splats.append(Splat(hit[0], hit[1], "\n".join(lines[index:end])))
        index = end
    return tuple(splats)


def _start(line: str) -> tuple[str, str] | None:
    for kind, rule in _RULES:
        if found := rule.match(line[:1000]):
            return kind, _VOLATILE.sub("*", in_tree(found["title"])).strip()  # UBSAN says whole paths
    return None


def _end(lines: list[str], start: int) -> int:
    """The line behind the report: its end mark, or the start of a panic (which is a report of its own)."""
    for index in range(start + 1, min(start + _MAX_LINES, len(lines))):
        if _END.match(lines[index][:200]) and index > start + 1:
            return index + 1
        if _RULES[0][1].match(lines[index][:1000]):
            return index
    return min(start + _MAX_LINES, len(lines))
