"""A report's messages in, its call trace out. Both architectures; also traces that were symbolised. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.build.anatomy.objects import plain_name
from orchestrator.judge import console
from orchestrator.model import Call

MOST = 128  # entries of one trace

_OFFSET = r"(?P<symbol>[A-Za-z_][\w.$]*)\+0x(?P<offset>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})"
_WORD = r"(?:\S{1,40}: )?"  # kmemleak: puts its name before each line
# ` foo+0x12/0x34`, ` ? foo+0x12/0x34 [mod]`, ` [<ffffffff81000000>] foo+0x12/0x34`, and with a place behind it
_FRAME = re.compile(
    rf"{_WORD} *(?P<guess>\? )? *(?:\[<[0-9a-fx]*>\] *)?{_OFFSET}(?! *=)(?: \[[^\]]*\])?(?: \([A-Z]+\))?"
    r"(?: +(?P<place>[\w./+-]+:\d+))?"
)
# ` foo mm/a.c:12 [inline]`, ` foo (mm/a.c:12 (discriminator 3))`
_SYMBOLISED = re.compile(
    r" *(?P<guess>\? )? *(?P<symbol>[A-Za-z_][\w.$]*) \(?(?P<place>[\w./+-]+\.[chS]:\d+)(?: \[inline\]|[ )].*)?$"
)
_HERE = re.compile(rf"(?:RIP: 0010:|pc : )(?:\[<[0-9a-f]*>\] *)?{_OFFSET}")
_HEADER = re.compile(
    rf"{_WORD} *(?:Call [Tt]race:|BUG: KMSAN: |backtrace(?: \(.*\))?:$)"
    r"|.{1,24}(?:read|write|access|free|memory) (?:at|of) 0x.*:$"  # KFENCE
)
# What stands between the entries of one trace: <IRQ>, registers where an interrupt came in, code bytes.
_BETWEEN = re.compile(
    r" *(?:</?[A-Z_#]+>|\? |Code: |RIP: |[RE](?:SP|BP|AX|BX|CX|DX|SI|DI|FLAGS)\b|R\d\d\b|ORIG_RAX|CR2: |CS: |FS: "
    r"|DR\d: |PKRU: |0x[0-9a-f]{6,}$|[0-9a-f]{16}$)"
)
_OTHER_STACK = re.compile(r"(?:(?:[Aa]llocated|[Ff]reed) by |.*work creation:|-> #\d+ |stack backtrace:|kfence-#\d+:)")


def is_header(message: str) -> bool:
    """Does a call trace begin below this line?"""
    return _HEADER.match(message) is not None


def is_frame(message: str) -> bool:
    """Is it an entry of a call trace?"""
    return _FRAME.match(message) is not None or _SYMBOLISED.match(message) is not None


def is_between(message: str) -> bool:
    """May it stand between the entries of one trace?"""
    return _BETWEEN.match(message) is not None


def of_text(text: str, skip: re.Pattern[str]) -> tuple[Call, ...]:
    """Return the call trace of a report's text."""
    messages, at = [], 0
    while at < len(text):
        records, at = console.line_at(text, at)
        messages += [record.message for record in records]
    return calls(messages, skip)


def calls(messages: Sequence[str], skip: re.Pattern[str]) -> tuple[Call, ...]:
    """Return the first call trace that names a function which `skip` does not match, innermost entry first.

    Entries marked `?` count only for want of others.
    """
    for trace in _traces(messages):
        for found in ([call for call, guess in trace if not guess], [call for call, _ in trace]):
            if functions(found, skip):
                return tuple(_once(found))
    return ()


def _once(trace: list[Call]) -> list[Call]:
    """Where the CPU was stands before a trace that begins with what reports it, and then comes to it: leave one."""
    first, rest = trace[0], trace[1:]
    again = [(call.symbol, call.offset) == (first.symbol, first.offset) for call in rest]
    if not first.exact or not any(again):
        return trace
    return [replace(call, exact=True) if same else call for call, same in zip(rest, again, strict=True)]


def _traces(messages: Iterable[str]) -> Iterator[list[tuple[Call, bool]]]:
    """Cut out each trace; where the CPU was goes before the first one that follows."""
    trace: list[tuple[Call, bool]] = []
    inside = False
    for message in messages:
        if is_header(message):
            if inside and trace:
                yield trace[:MOST]
                trace = []
            inside = True
        elif here := _HERE.match(message):
            if inside or not trace:
                trace.append((_call(here, exact=True), False))
        elif inside and (found := _FRAME.match(message) or _SYMBOLISED.match(message)):
            trace.append((_call(found), bool(found["guess"])))
        elif inside and trace and (not message.strip() or _OTHER_STACK.match(message)):
            yield trace[:MOST]
            trace, inside = [], False
    if trace:
        yield trace[:MOST]


def _call(found: re.Match[str], *, exact: bool = False) -> Call:
    groups = found.groupdict()
    offset, size = groups.get("offset"), groups.get("size")
    return Call(
        symbol=groups["symbol"],
        offset=int(offset, 16) if offset else None,
        size=int(size, 16) if size else None,
        exact=exact,
        place=groups.get("place") or "",
    )


def named(trace: Iterable[Call], skip: re.Pattern[str]) -> tuple[Call, ...]:
    """Return the entries whose functions `skip` does not match."""
    return tuple(call for call in trace if not skip.fullmatch(plain_name(call.symbol)))


def functions(trace: Iterable[Call], skip: re.Pattern[str]) -> tuple[str, ...]:
    """Name the functions of a trace, without those that `skip` matches."""
    return tuple(plain_name(call.symbol) for call in named(trace, skip))


def line(call: Call) -> str:
    """Write one entry: its function, and the place that the trace itself gives."""
    return f"{plain_name(call.symbol)} {call.place}".rstrip()
