"""A C source as statements: what each line holds, and what else runs when a line does. Pure, and total.

A compiler drops the counters of lines that leave nothing behind (`return 0;`); their neighbours know whether they ran.
"""

import functools
import re
from collections.abc import Iterator
from enum import StrEnum

import tree_sitter_c
from tree_sitter import Language, Node, Parser

_JUMPS = frozenset({"return_statement", "goto_statement", "break_statement", "continue_statement"})
_SIMPLE = _JUMPS | {"expression_statement", "declaration"}
_ASKED_ONCE = frozenset({"if_statement", "switch_statement"})  # a loop's condition is asked again
_QUESTION = "conditional_expression"  # a ? b : c
_CHOICES = frozenset({"if_statement", "while_statement", _QUESTION})
_PUNCTUATION = re.compile(rb"[\s{}()\[\];,\\]*(?:(?:else|do)\b)?[\s{}()\[\];,\\]*")
_LEAD = re.compile(rb"[\s}]*(?:else\b)?\s*")  # before what a line is about
_LARGEST = 4 << 20  # characters that are read; no source of a kernel is so long


class LineKind(StrEnum):
    """What one line holds."""

    NOTHING = "nothing"
    DIRECTIVE = "directive"  # of the preprocessor, a macro's body with it
    PUNCTUATION = "punctuation"
    CODE = "code"


class Source:
    """One file; its lines count from 1."""

    def __init__(self, text: str) -> None:
        content = text[:_LARGEST].encode()
        self._root = parse(content)
        self._lines = _without_comments(self._root, content).split(b"\n")
        self._kinds = list(_kinds(self._lines))

    def kind(self, line: int) -> LineKind:
        """Say what a line holds."""
        return self._kinds[line - 1] if 0 < line <= len(self._kinds) else LineKind.NOTHING

    def inside(self, line: int) -> bool:
        """Is it in the body of a function?"""
        return any(node.type == "compound_statement" for node in upwards(self._leaf(line)))

    def acts(self, line: int) -> bool:
        """Is it in a statement that does something, and not a declaration or a label?"""
        unit = self._unit(line)
        return unit is not None and (
            unit.type != "declaration" or any(child.type == "init_declarator" for child in unit.children)
        )

    def together(self, line: int) -> Iterator[int]:
        """Yield lines that run exactly as often as this one, the nearest first: its statement's, then neighbours'."""
        unit = self._unit(line)
        if unit is not None:
            rows = _rows(unit)
            yield from sorted(rows, key=lambda other: (other > line, abs(other - line)))
            whole = unit if unit.type in _SIMPLE else unit.parent
            if whole is not None and whole.type in _SIMPLE | _ASKED_ONCE:
                yield from _after(whole)
                yield from _before(whole)
                yield from _entry(whole)

    def condition(self, line: int) -> range:
        """Return the lines of the condition that alone decides whether this line runs; none where there is no such."""
        unit = self._unit(line)
        while unit is not None and (parent := unit.parent) is not None:
            if parent.type in _CHOICES and unit != (head := parent.child_by_field_name("condition")):
                return _rows(head) if head is not None else range(0)
            if parent.type not in ("compound_statement", "else_clause") or not _first(unit):
                break
            unit = parent
        return range(0)

    def _leaf(self, line: int) -> Node | None:
        text = self._lines[line - 1] if 0 < line <= len(self._lines) else b""
        column = len(text) - len(_LEAD.sub(b"", text, count=1))  # what it leads with, even nothing, is the first match
        here = (line - 1, column), (line - 1, column + 1)
        return self._root.descendant_for_point_range(*here) if column < len(text) else None

    def _unit(self, line: int) -> Node | None:
        """The simple statement, the condition of another one, or the arm of a `?:`, that a line is in."""
        for node in upwards(self._leaf(line)):
            if arm := _arm(node):
                return arm
            if node.type in _SIMPLE:
                return node
            if head := node.child_by_field_name("condition"):
                return head if line in _rows(head) or line == _rows(node)[0] else None
            if node.type == "compound_statement":
                break
        return None


def _arm(node: Node) -> Node | None:
    """The arm of a `?:` that a node is, or the sign of."""
    if node.parent is None or node.parent.type != _QUESTION or node == node.parent.child_by_field_name("condition"):
        return None
    return node if node.is_named else node.next_sibling


def parse(content: bytes) -> Node:
    """Return the whole file as a tree, with nodes for what is no C."""
    return _parser().parse(content).root_node


@functools.cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_c.language()))


def _without_comments(root: Node, content: bytes) -> bytes:
    """The text with blanks for comments, lines and columns as they are."""
    text, waiting = bytearray(content), [root]
    while waiting:
        node = waiting.pop()
        if node.type == "comment":
            span = slice(node.start_byte, node.end_byte)
            text[span] = re.sub(rb"[^\n]", b" ", text[span])
        waiting += node.children
    return bytes(text)


def _kinds(lines: list[bytes]) -> Iterator[LineKind]:
    more = False
    for line in lines:
        words = line.strip()
        if more or words.startswith(b"#"):
            more = words.endswith(b"\\")
            yield LineKind.DIRECTIVE
        elif not words:
            yield LineKind.NOTHING
        else:
            yield LineKind.PUNCTUATION if _PUNCTUATION.fullmatch(words) else LineKind.CODE


def upwards(node: Node | None) -> Iterator[Node]:
    """Yield a node and all that it is in, the nearest first."""
    while node is not None:
        yield node
        node = node.parent


def _rows(node: Node) -> range:
    """Its lines."""
    return range(node.start_point[0] + 1, node.end_point[0] + 2)


def _siblings(node: Node, forward: bool) -> Iterator[Node]:
    """The statements after or before one in its block, as far as they are there whatever #if says."""
    if node.parent is None or node.parent.type not in ("compound_statement", "case_statement"):
        return
    while (found := node.next_named_sibling if forward else node.prev_named_sibling) is not None:
        if found.type != "comment":
            if found.type.startswith("preproc"):
                return
            yield found
        node = found


def _first(node: Node) -> bool:
    """Is there nothing before it in its block that could keep it from running?"""
    before = node.prev_named_sibling
    while before is not None and before.type in (_SIMPLE - _JUMPS) | {"comment"}:
        before = before.prev_named_sibling
    return before is None or (node.parent is not None and node.parent.type == "else_clause")


def _after(node: Node) -> Iterator[int]:
    """The lines of the statements behind one that run whenever it does: up to a jump, a label or a choice."""
    for after in _siblings(node, forward=True) if node.type in _SIMPLE - _JUMPS else ():
        if after.type not in _SIMPLE:
            head = after.child_by_field_name("condition") if after.type in _ASKED_ONCE else None
            yield from _rows(head) if head is not None else ()
            break
        yield from _rows(after)
        if after.type in _JUMPS:
            break


def _before(node: Node) -> Iterator[int]:
    """The lines of the statements before one without which it does not run."""
    for before in _siblings(node, forward=False):
        if before.type not in _SIMPLE - _JUMPS:
            break
        yield from reversed(_rows(before))


def _entry(unit: Node) -> Iterator[int]:
    """The line with the name of the function whose body begins with this statement."""
    function = unit.parent.parent if unit.parent is not None else None
    if function is not None and function.type == "function_definition" and _first(unit):
        name = function.child_by_field_name("declarator")
        yield from _rows(name) if name is not None else ()
