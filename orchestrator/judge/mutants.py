"""Small faults in changed lines, one at a time: what tests that are worth something notice. Pure, and total."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from tree_sitter import Node

from orchestrator.judge import csource, verdict
from orchestrator.judge.hunks import Run
from orchestrator.model import Change, ChangeKind, Fate, GuestRecord

_OTHER = {b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">", b"==": b"!=", b"!=": b"==", b"&&": b"||", b"||": b"&&"}
_BOUNDS = (b"<", b"<=", b">", b">=")
_CONSTANT = re.compile(rb"[A-Z][A-Z0-9]*_[A-Z0-9_]+")
_RANK = (
    "negated condition",
    "dropped case",
    "dropped statement",
    "swapped constant",
    "off by one",
    "lock not taken",
    "swapped operator",
)
_GIVES_BACK = (  # what is in the name of a function that takes a lock, and what stands there in that of the other one
    (re.compile(rb"(?<!un)lock"), b"unlock"),
    (re.compile(rb"(?<![a-z])down(?![a-z])"), b"up"),
    (re.compile(rb"(irq_?)save"), rb"\1restore"),
    (re.compile(rb"_nested"), b""),
)


@dataclass(frozen=True)
class Mutant:
    """One fault: `edits` replace bytes from..to of the file by others; `line` is where it is."""

    file: str
    line: int
    kind: str
    words: str
    edits: tuple[tuple[int, int, bytes], ...]

    def apply(self, content: bytes) -> bytes:
        """Return the file with the fault in it."""
        for start, end, other in sorted(self.edits, reverse=True):
            content = content[:start] + other + content[end:]
        return content


def make(file: str, content: bytes, lines: Iterable[int]) -> list[list[Mutant]]:
    """Return the faults that can be put into `lines` of a file, line by line, the most telling first."""
    wanted = set(lines)
    found = [one for node in _nodes(csource.parse(content)) for one in _of(file, node) if one.line in wanted]
    found.sort(key=lambda one: (one.line, _RANK.index(one.kind)))
    return [list(some) for _, some in groupby(found, key=lambda one: one.line)]


def reverted(file: str, base: bytes, patched: bytes, runs: Iterable[Run]) -> list[Mutant]:
    """Return the file with one hunk as base has it, for each hunk: is it needed?"""
    before, after, found = base.splitlines(keepends=True), patched.splitlines(keepends=True), []
    for run in runs:
        start = sum(map(len, after[: run.patched - 1]))
        end = start + sum(map(len, after[run.patched - 1 : run.patched - 1 + run.added]))
        other = b"".join(before[run.base - 1 : run.base - 1 + run.removed])
        count, put_back = run.added or run.removed, "" if run.added else " put back"
        words = f"{count} line{'s' if count != 1 else ''}{put_back} as base has {'them' if count != 1 else 'it'}"
        found.append(Mutant(file, run.patched, "reverted hunk", words, ((start, end, other),)))
    return found


def in_turn(lines: Iterable[list[Mutant]]) -> list[Mutant]:
    """The first fault of every line, then the second of every line: a few tell of as many lines as they can."""
    return [one for column in zip_longest(*lines) for one in column if one]


def telling(changes: Iterable[Change], seen: Iterable[Change]) -> list[Change]:
    """Leave out the tests that the run has `seen` fail by chance, or as is known: they tell nothing of a mutant."""
    by_chance = {
        (change.suite, change.name)
        for change in seen
        if change.change.flaky or change.change in (ChangeKind.TIMING, ChangeKind.KNOWN)
    }
    return [change for change in changes if (change.suite, change.name) not in by_chance]


def judge(patched: GuestRecord, mutant: GuestRecord, changes: Sequence[Change]) -> tuple[Fate, str]:
    """Say whether anything noticed the fault, and what: a test, a report on the console, or the kernel's end."""
    if mutant.outcome.bad and mutant.outcome is not patched.outcome:
        return Fate.CAUGHT, mutant.detail or str(mutant.outcome)
    before = {splat.identity for splat in patched.splats}
    if new := [splat for splat in mutant.splats if not splat.known and splat.identity not in before]:
        return Fate.CAUGHT, f"{new[0].kind}: {new[0].title}"
    noticed = [change for change in changes if change.change in (ChangeKind.REGRESSED, ChangeKind.REMOVED)]
    if noticed:
        more = f" and {len(noticed) - 1} more" if len(noticed) > 1 else ""
        return Fate.CAUGHT, f"{noticed[0].suite}/{noticed[0].name}{more}"
    unseen = not verdict.lived(mutant) or any(change.change is ChangeKind.INFRA for change in changes)
    return (Fate.UNKNOWN, mutant.detail) if unseen else (Fate.SURVIVED, "")


def _of(file: str, node: Node) -> Iterator[Mutant]:
    """The faults that one node of the source can be given."""
    for kind, words, edits in (*_of_condition(node), *_of_statement(node), *_of_operator(node), *_of_constant(node)):
        yield Mutant(file, node.start_point[0] + 1, kind, words, tuple(edits))


_Fault = tuple[str, str, list[tuple[int, int, bytes]]]


def _of_condition(node: Node) -> Iterator[_Fault]:
    parent = node.parent
    if (
        parent
        and parent.type in ("if_statement", "while_statement")
        and node == parent.child_by_field_name("condition")
    ):
        yield "negated condition", f"!{_words(node)}", [(node.start_byte, node.end_byte, b"(!" + _text(node) + b")")]


def _of_statement(node: Node) -> Iterator[_Fault]:
    if node.type == "expression_statement":
        call = node.named_children[0] if node.named_children else node
        if both := _ends_of_lock(node):
            yield "lock not taken", f"without {_words(node)} and what gives it back", [_gone(one) for one in both]
        elif call.type != "identifier":  # a macro of some kind
            yield "dropped statement", f"without {_words(node)}", [_gone(node)]
    if node.type == "case_statement" and node.children[0].type == "case":
        start, end = node.children[0].start_byte, _colon(node)
        if end:
            yield "dropped case", f"without {_words(node)}", [(start, end, b"")]


def _of_operator(node: Node) -> Iterator[_Fault]:
    sign = node.child_by_field_name("operator") if node.type == "binary_expression" else None
    if sign is not None and (other := _OTHER.get(_text(sign))):
        kind = "off by one" if _text(sign) in _BOUNDS else "swapped operator"
        yield kind, f"{_words(sign)} -> {other.decode()} in {_words(node)}", [(sign.start_byte, sign.end_byte, other)]


def _of_constant(node: Node) -> Iterator[_Fault]:
    if node.type == "number_literal" and re.fullmatch(rb"\d{1,9}", _text(node)):
        other = str(int(_text(node)) + 1).encode()
        yield "swapped constant", f"{_words(node)} -> {other.decode()}", [(node.start_byte, node.end_byte, other)]
    if node.type == "identifier" and _CONSTANT.fullmatch(_text(node)) and (other := _relative(node)):
        yield "swapped constant", f"{_words(node)} -> {other.decode()}", [(node.start_byte, node.end_byte, other)]


def _relative(node: Node) -> bytes:
    """Another constant of the same family in the same function: MADV_FREE for MADV_DONTNEED."""
    family = _text(node).partition(b"_")[0] + b"_"
    function = next((one for one in csource.upwards(node) if one.type == "function_definition"), None)
    if function is None or (node.parent and node.parent.type in ("case_statement", "call_expression")):
        return b""
    names = [_text(one) for one in _nodes(function) if one.type == "identifier"]
    return next((name for name in names if name.startswith(family) and name != _text(node)), b"")


def _ends_of_lock(statement: Node) -> list[Node]:
    """All that takes and gives back the lock that this statement takes, in its function; nothing if one end is missing.

    A lock is a first argument: spin_lock_irqsave(&a, flags), spin_unlock_irqrestore(&a, flags).
    """
    name, lock = _called(statement)
    back = _gives_back(name)
    function = next((one for one in csource.upwards(statement) if one.type == "function_definition"), None)
    if back == name or function is None:
        return []
    calls = [(one, *_called(one)) for one in _nodes(function) if one.type == "expression_statement"]
    ends = [(one, called) for one, called, given in calls if (_gives_back(called), given) == (back, lock)]
    return [one for one, _ in ends] if any(called == back for _, called in ends) else []


def _called(statement: Node) -> tuple[bytes, bytes]:
    """The function that a statement calls, and its first argument; nothing where it is no call."""
    call = statement.named_children[0] if statement.named_children else statement
    name, given = call.child_by_field_name("function"), call.child_by_field_name("arguments")
    return _text(name) if name else b"", _text(given.named_children[0]) if given and given.named_children else b""


def _gives_back(name: bytes) -> bytes:
    """What gives back what this function takes; itself, if it takes nothing."""
    for taken, back in _GIVES_BACK:
        name = taken.sub(back, name)
    return name


def _colon(case: Node) -> int:
    return next((child.end_byte for child in case.children if child.type == ":"), 0)


def _gone(node: Node) -> tuple[int, int, bytes]:
    return node.start_byte, node.end_byte, b";"


def _nodes(node: Node) -> Iterator[Node]:
    """A node and all below it, however deep that is."""
    waiting = [node]
    while waiting:
        yield (one := waiting.pop())
        waiting += reversed(one.children)


def _text(node: Node) -> bytes:
    return node.text or b""


def _words(node: Node) -> str:
    return " ".join(_text(node).decode("utf-8", "replace").split())[:80]
