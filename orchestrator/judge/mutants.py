"""Small faults in changed lines, one at a time: what tests that are worth something notice. Pure, and total."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from tree_sitter import Node

from orchestrator import listing
from orchestrator.judge import csource, ending
from orchestrator.judge.hunks import Run
from orchestrator.model import Change, ChangeKind, Fate, GuestRecord

_OTHER = {b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">", b"==": b"!=", b"!=": b"==", b"&&": b"||", b"||": b"&&"}
_BOUNDS = (b"<", b"<=", b">", b">=")
_CONSTANT = re.compile(rb"[A-Z][A-Z0-9]*_[A-Z0-9_]+")
_CALL = "call_expression"
_ERRNO = re.compile(rb"E[A-Z0-9]{2,}")
_NUMBERS = (  # of which base, and how such a number is written; more digits than these may be too large for C
    (re.compile(rb"(0[xX])([0-9a-fA-F]{1,15})([uUlL]{0,3})"), 16, "x"),
    (re.compile(rb"(0)([0-7]{1,15})([uUlL]{0,3})"), 8, "o"),
    (re.compile(rb"()([0-9]{1,9})([uUlL]{0,3})"), 10, "d"),
)
_RANK = (
    "negated operand",
    "negated condition",
    "dropped case",
    "dropped statement",
    "swapped errno",
    "swapped constant",
    "off by one",
    "lock not taken",
    "swapped operator",
)
_MANNERS = (  # ways to take a lock, and what the name is without them
    (re.compile(rb"(down(?:_read|_write)?)_trylock"), rb"\1"),
    (re.compile(rb"try(?=lock)|_(?:nested|interruptible|killable)"), b""),
)
_GIVES_BACK = (  # what is in the name of a function that takes a lock, and what stands there in that of the other one
    (re.compile(rb"(?<!un)lock"), b"unlock"),
    (re.compile(rb"(?<![a-z])down(?![a-z])"), b"up"),
    (re.compile(rb"(irq_?)save"), rb"\1restore"),
)
_TAKEN = (  # what a function returns that has taken the lock, where one can ask
    (re.compile(rb"down_trylock|.*_(?:interruptible|killable)"), b"0"),
    (re.compile(rb".*trylock.*"), b"1"),
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
    """Return the faults that can be put into `lines` of a file, line by line, the most telling first.

    What stands on several lines is at the first of them that is wanted.
    """
    wanted = set(lines)
    found = [one for node in _nodes(csource.parse(content)) for one in _of(file, node, wanted)]
    found.sort(key=lambda one: (one.line, _RANK.index(one.kind)))
    return [list(some) for _, some in itertools.groupby(found, key=lambda one: one.line)]


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
    return [one for column in itertools.zip_longest(*lines) for one in column if one]


def telling(changes: Iterable[Change], seen: Iterable[Change]) -> list[Change]:
    """Leave out the tests that the run has `seen` fail by chance, or as is known: they tell nothing of a mutant."""
    by_chance = {
        (change.suite, change.name)
        for change in seen
        if change.change.flaky or change.change in (ChangeKind.TIMING, ChangeKind.KNOWN)
    }
    return [change for change in changes if (change.suite, change.name) not in by_chance]


def judge(patched: GuestRecord, mutant: GuestRecord, changes: Sequence[Change]) -> tuple[Fate, str]:
    """Say whether anything noticed the fault, and what: the kernel's end, a report on the console, or a test."""
    if told := of_kernel(patched, mutant):
        return Fate.CAUGHT, told
    if found := noticed(changes):
        return Fate.CAUGHT, listing.first([f"{change.suite}/{change.name}" for change in found], 1)
    unseen = not ending.lived(mutant) or any(change.change is ChangeKind.INFRA for change in changes)
    return (Fate.UNKNOWN, mutant.detail) if unseen else (Fate.SURVIVED, "")


def of_kernel(patched: GuestRecord, mutant: GuestRecord) -> str:
    """How the kernel itself told of the fault: by its end, or a report; "" if it did not."""
    if mutant.outcome.bad and mutant.outcome is not patched.outcome:
        return mutant.detail or str(mutant.outcome)
    before = {splat.identity for splat in patched.splats}
    new = [splat for splat in mutant.splats if not splat.known and splat.identity not in before]
    return f"{new[0].kind}: {new[0].title}" if new else ""


def noticed(changes: Iterable[Change]) -> list[Change]:
    """The tests that noticed the fault."""
    return [change for change in changes if change.change in (ChangeKind.REGRESSED, ChangeKind.REMOVED)]


def again(first: Iterable[Change], second: Iterable[Change]) -> list[Change]:
    """Of a second guest's tests, those that noticed the fault in the first one."""
    names = {(change.suite, change.name) for change in noticed(first)}
    return [change for change in second if (change.suite, change.name) in names]


def _of(file: str, node: Node, wanted: Set[int]) -> Iterator[Mutant]:
    """The faults that one node of the source can be given."""
    for kind, words, where, edits in itertools.chain.from_iterable(kinds(node) for kinds in _KINDS):
        rows = range(where.start_point[0] + 1, where.end_point[0] + 2)
        if line := next((row for row in rows if row in wanted), 0):
            yield Mutant(file, line, kind, words, tuple(edits))


_Edit = tuple[int, int, bytes]
_Fault = tuple[str, str, Node, list[_Edit]]  # its kind, its words, what it is in, and what it edits


def _of_condition(node: Node) -> Iterator[_Fault]:
    parent = node.parent
    if (
        parent
        and parent.type in ("if_statement", "while_statement")
        and node == parent.child_by_field_name("condition")
    ):
        yield "negated condition", f"!{_words(node)}", node, [_instead(node, b"(!" + _text(node) + b")")]
    if parent and _begins_line(parent, node):
        yield "negated operand", f"!({_words(node)})", node, [_instead(node, b"!(" + _text(node) + b")")]


def _begins_line(parent: Node, node: Node) -> bool:
    """Is it what follows an && or || on another line? That one may be all that changed of a condition."""
    sign, left = parent.child_by_field_name("operator"), parent.child_by_field_name("left")
    if parent.type != "binary_expression" or not sign or not left or _text(sign) not in (b"&&", b"||"):
        return False
    return node == parent.child_by_field_name("right") and node.start_point[0] > left.end_point[0]


def _of_statement(node: Node) -> Iterator[_Fault]:
    if node.type == "expression_statement":
        call = node.named_children[0] if node.named_children else node
        # a macro of some kind, or what takes a lock: without that alone, who gives it back breaks the kernel
        if call.type != "identifier" and not any(map(_without_lock, _nodes(node))):
            yield "dropped statement", f"without {_words(node)}", node, [_instead(node, b";")]
    if node.type == "case_statement" and node.children[0].type == "case":
        start, end = node.children[0].start_byte, _colon(node)
        if end:
            yield "dropped case", f"without {_words(node)}", node.children[0], [(start, end, b"")]


def _of_lock(node: Node) -> Iterator[_Fault]:
    if edits := _without_lock(node):
        yield "lock not taken", f"without {_words(node)} and what gives it back", node, edits


def _of_operator(node: Node) -> Iterator[_Fault]:
    sign = node.child_by_field_name("operator") if node.type == "binary_expression" else None
    if sign is not None and (other := _OTHER.get(_text(sign))):
        kind = "off by one" if _text(sign) in _BOUNDS else "swapped operator"
        yield kind, f"{_words(sign)} -> {other.decode()} in {_words(node)}", sign, [_instead(sign, other)]


def _of_constant(node: Node) -> Iterator[_Fault]:
    other = b""
    if node.type == "number_literal":
        other = _next(_text(node))
    if node.type == "identifier" and _CONSTANT.fullmatch(_text(node)):
        other = _relative(node)
    if other:
        yield "swapped constant", f"{_words(node)} -> {other.decode()}", node, [_instead(node, other)]


def _of_errno(node: Node) -> Iterator[_Fault]:
    """`-EINVAL` may be success, or another error."""
    number = node.child_by_field_name("argument") if node.type == "unary_expression" else None
    if number is None or not _text(node).startswith(b"-") or not _ERRNO.fullmatch(_text(number)):
        return
    for other in (b"0", b"-EPERM" if _text(number) == b"EINVAL" else b"-EINVAL"):
        yield "swapped errno", f"{_words(node)} -> {other.decode()}", node, [_instead(node, other)]


_KINDS = (_of_condition, _of_statement, _of_errno, _of_lock, _of_operator, _of_constant)


def _next(number: bytes) -> bytes:
    """The number that follows, written as this one is; nothing where that is no whole number."""
    for written, base, form in _NUMBERS:
        if found := written.fullmatch(number):
            return found[1] + format(int(found[2], base) + 1, form).encode() + found[3]
    return b""


def _relative(node: Node) -> bytes:
    """Another constant of the same family in the same function: MADV_FREE for MADV_DONTNEED."""
    family = _text(node).partition(b"_")[0] + b"_"
    function = next((one for one in csource.upwards(node) if one.type == "function_definition"), None)
    if function is None or (node.parent and node.parent.type in ("case_statement", _CALL)):
        return b""
    names = [_text(one) for one in _nodes(function) if one.type == "identifier"]
    return next((name for name in names if name.startswith(family) and name != _text(node)), b"")


def _without_lock(call: Node) -> list[_Edit]:
    """Take out all that takes and gives back the lock a call takes, in its function; nothing if one end is missing.

    A lock is a first argument: spin_lock_irqsave(&a, flags), spin_unlock_irqrestore(&a, flags). Who asks whether it was
    taken is told so.
    """
    name, lock = _called(call) if call.type == _CALL else (b"", b"")
    back = _gives_back(name) if name else name
    function = next((one for one in csource.upwards(call) if one.type == "function_definition"), None)
    if back == name or function is None:
        return []
    calls = [(one, *_called(one)) for one in _nodes(function) if one.type == _CALL]
    ends = [(one, called) for one, called, given in calls if (_gives_back(called), given) == (back, lock)]
    edits = [edit for one, called in ends if (edit := _undone(one, called))]
    return edits if len(edits) == len(ends) and any(called == back for _, called in ends) else []


def _undone(call: Node, name: bytes) -> _Edit | None:
    """What is left of a call that takes a lock or gives one back; None if nobody knows what it returns."""
    if call.parent and call.parent.type == "expression_statement":
        return _instead(call.parent, b";")
    return next((_instead(call, value) for names, value in _TAKEN if names.fullmatch(name)), None)


def _called(call: Node) -> tuple[bytes, bytes]:
    """The function that is called, and its first argument."""
    name, given = call.child_by_field_name("function"), call.child_by_field_name("arguments")
    return _text(name) if name else b"", _text(given.named_children[0]) if given and given.named_children else b""


def _gives_back(name: bytes) -> bytes:
    """What gives back what this function takes; itself, if it takes nothing."""
    taken = _put(_MANNERS, name)
    back = _put(_GIVES_BACK, taken)
    return name if back == taken else back


def _put(parts: Iterable[tuple[re.Pattern[bytes], bytes]], name: bytes) -> bytes:
    for part, other in parts:
        name = part.sub(other, name)
    return name


def _colon(case: Node) -> int:
    return next((child.end_byte for child in case.children if child.type == ":"), 0)


def _instead(node: Node, other: bytes) -> _Edit:
    return node.start_byte, node.end_byte, other


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
