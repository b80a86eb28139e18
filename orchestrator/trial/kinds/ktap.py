"""KTAP and TAP 12 to 14 in, test results out. Total: any text gives results.

https://docs.kernel.org/dev-tools/ktap.html and https://testanything.org; docs/suites.md says what is made of what they
leave open.
"""

from collections.abc import Callable

from orchestrator.model import Outcome
from orchestrator.trial.kinds import ktap_line, lines, names
from orchestrator.trial.kinds.ktap_tree import Level, Node
from orchestrator.trial.kinds.parsed import Parsed, Results

UNFINISHED = "(unfinished)"  # the name of a test whose subtests came and neither its name nor its result
MAX_DEPTH = 16


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Read all that a program printed. Nested tests get their path as a name; one that was running is a crash."""
    reader = Reader(suite, repeat)
    for line in lines.mended(lines.whole(text)):
        reader.line(line)
    return reader.finish(lines.cut(text))


class Reader:
    """One pass over the lines. A level of subtests closes when a result comes that stands further out.

    With `strict` a result needs its number wherever it stands: a kernel's log says "ok" for other reasons, too.
    """

    def __init__(self, suite: str, repeat: int, *, strict: bool = False) -> None:
        self._results = Results(suite, repeat)
        self._strict = strict
        self._root = Level("")
        self._levels = [self._root]
        self._block: str | None = None  # what stands in front of the YAML block that is being read
        self._planned_before = 0
        self._unseen = 0
        self._endless = False
        self._bailed: str | None = None
        self._skipped: str | None = None

    def line(self, line: str) -> None:
        """Read one line."""
        if self._block is not None and self._in_block(line):
            return
        prefix, rest = "", line
        if line[:1] in _NESTS and (found := ktap_line.PREFIX.match(line)):
            prefix, rest = found[0], line[found.end() :]
            if "\t" in prefix:
                prefix = prefix.replace("\t", "    ")
        act = _ACTS.get(rest[:1])
        if act is None or not act(self, prefix, rest):
            self._say(prefix, rest)

    def finish(self, rest: str) -> Parsed:
        """End the output; `rest` is a line that has no end, which is no result."""
        if (plan := ktap_line.PLAN.match(rest)) and plan[2]:  # kselftest's ksft_exit_skip() leaves out the newline
            self.line(rest)
            rest = ""
        self._say("", rest)
        while len(self._levels) > 1:
            self._abandon(self._levels.pop())
        root = self._root
        self._endless |= bool(root.running) and root.seen != root.planned
        self._unseen += root.settle(Outcome.CRASH)
        self._emit_all()
        planned = None if root.planned is None else root.planned + self._planned_before
        results = self._results.all()
        if planned == 0 and self._skipped is None:
            self._skipped = "its plan is 1..0"
        return Parsed(
            results=results,
            faults=tuple(self._faults(planned, rest)),
            skipped=None if results else self._skipped,
            output=str(root.words or ""),
            planned=planned,
            unseen=self._unseen,
        )

    def announced(self, prefix: str, rest: str) -> bool:
        """Does a diagnostic say which test runs now? Then take its name."""
        if rest[0] not in "rRs" or not (found := ktap_line.RUNNING.match(rest)):
            return False
        outer = prefix[: prefix.rindex("#")]
        if outer != self._levels[-1].prefix and not found[3]:
            return False  # a program under the runner that says so in words of its own
        level = self._enter(outer)
        if level:
            level.announce(names.stable(found[1] or found[2] or found[3]))
        return level is not None

    def _say(self, prefix: str, rest: str) -> None:
        """Take a line that is no structure: words of a test, or the name of the one that runs now."""
        if not rest or rest == "#" or (rest == "---" and self._begins_block(prefix)):
            return
        if "#" not in prefix:
            self._levels[-1].say(rest)
        elif not self.announced(prefix, rest):
            level = next(level for level in reversed(self._levels) if prefix.startswith(level.prefix))
            if level.running and rest in (f"OK  {level.running}", f"FAIL  {level.running}"):
                return  # what kselftest_harness.h says before it says it again
            before = level.nodes[-1] if level.nodes and not level.running and level.words is None else None
            if before and rest.startswith(("Failed test", f"{before.name}:")):
                before.say(rest)
            else:
                level.say(rest)

    def _result(self, prefix: str, rest: str) -> bool:
        found = ktap_line.RESULT.match(rest)
        if not found or (not found[2] and (prefix or self._strict)):
            return False
        if "#" in prefix and found[2] != "1" and prefix.count("#") > self._hashes(prefix):
            return False  # a diagnostic like "# ok 12 packets"
        kids = self._leave(prefix)
        if kids and not kids.prefix.startswith(prefix):
            self._abandon(kids)
            kids = None
        level = self._open(prefix)
        if level is None:
            return False
        node = self._node(level, bool(found[1]), found[3])
        if kids:
            self._adopt(node, kids)
        if level is self._root:
            self._emit_all()
        level.add(node)
        return True

    def _node(self, level: Level, failed: bool, description: str) -> Node:
        """Make the test of a result line out of it and of what was said before it."""
        name, directive, note = ktap_line.read(description)
        if not name:
            level.numbered |= not directive
            # kselftest.h: ok 3 # SKIP the test's name
            name = level.running or ("" if level.numbered else names.stable(note)) or f"test {level.seen + 1}"
        node = Node(name, ktap_line.outcome(failed, directive, note), level.words)
        level.words = None
        if node.outcome is Outcome.FAIL and node.words:
            node.outcome = ktap_line.how_it_failed(name, node.words)
        if directive or note:
            node.say(f"{directive} {note}".strip())
        return node

    def _adopt(self, parent: Node, kids: Level) -> None:
        if parent.outcome is Outcome.SKIP:
            kids.planned = None  # what it says of itself, it says of them
        ended = parent.outcome if parent.outcome is Outcome.TIMEOUT else Outcome.CRASH
        self._unseen += kids.settle(ended if parent.outcome.bad else None)
        parent.nodes = kids.nodes
        for line in kids.words or ():
            parent.say(line)

    def _plan(self, prefix: str, rest: str) -> bool:
        found = ktap_line.PLAN.match(rest)
        level = self._enter(prefix) if found else None
        if not found or not level:
            return False
        if level.again and level.planned is not None:
            self._unseen += level.settle(Outcome.CRASH)
            self._planned_before += level.planned if level is self._root else 0
            level.seen = 0
        level.planned = int(found[1])
        level.again = False
        if found[2] and level is self._root and not level.planned:
            self._skipped = found[3] or "no reason given"
        elif found[2]:
            level.say(rest)
        return True

    def _version(self, prefix: str, rest: str) -> bool:
        level = self._enter(prefix) if ktap_line.VERSION.match(rest) else None
        if level and level.name and not level.fresh:
            level = self._renew()
        if level and not level.fresh:
            level.again = True
        return level is not None

    def _subtest(self, prefix: str, rest: str) -> bool:
        """KUnit names the parent inside its level, TAP 14 beside it."""
        found = ktap_line.SUBTEST.match(rest) if "#" in prefix else None
        level = self._enter(prefix[: prefix.rindex("#")]) if found else None
        if not found or not level:
            return False
        name = names.stable(found[1])
        above = "" if self._strict or level is self._root else self._levels[-2].running
        if level.name and not level.fresh:
            level = self._renew()
        elif level is self._root or level.name or not level.fresh or above:
            level.announce(name)
            return True
        level.name = name
        return True

    def _bail(self, prefix: str, rest: str) -> bool:
        found = ktap_line.BAIL.match(rest)
        if found and not prefix:
            self._bailed = found[1] or "no reason given"
        return False  # words of the running test, too

    def _hashes(self, prefix: str) -> int:
        return max(level.prefix.count("#") for level in self._levels if prefix.startswith(level.prefix))

    def _enter(self, prefix: str) -> Level | None:
        """Go to the level of `prefix`; those beside it that are still open will get no result of their parent."""
        if kids := self._leave(prefix):
            self._abandon(kids)
        return self._open(prefix)

    def _leave(self, prefix: str) -> Level | None:
        """Close what is not above `prefix`; return the last of it, which waits for its parent."""
        kids = None
        while not prefix.startswith(self._levels[-1].prefix):
            if kids:
                self._abandon(kids)
            kids = self._levels.pop()
        return kids

    def _open(self, prefix: str) -> Level | None:
        if prefix != self._levels[-1].prefix:
            if len(self._levels) >= MAX_DEPTH:
                return None
            self._levels.append(Level(prefix))
        return self._levels[-1]

    def _renew(self) -> Level:
        """Begin the innermost level anew: its parent gave no result, and the next one's tests come."""
        level = self._levels.pop()
        self._abandon(level)
        self._levels.append(Level(level.prefix))
        return self._levels[-1]

    def _abandon(self, kids: Level) -> None:
        """Close a level whose parent gives no result: it was running, and that is how it ended."""
        above = self._levels[-1]
        node = Node(kids.name or above.running or UNFINISHED, Outcome.CRASH, above.words)
        above.words = None
        self._adopt(node, kids)
        self._endless = True
        if above is self._root:
            self._emit_all()
        above.add(node)

    def _in_block(self, line: str) -> bool:
        if line.strip() and not line.startswith(self._block or ""):
            self._block = None
            return False
        self._levels[-1].nodes[-1].say(line)
        if line.strip(" #") == "...":
            self._block = None
        return True

    def _begins_block(self, prefix: str) -> bool:
        level = self._levels[-1]
        indented = prefix.startswith(level.prefix) and prefix[len(level.prefix) :].isspace()
        if not indented or not level.nodes or level.words:
            return False
        self._block = prefix
        return True

    def _emit_all(self) -> None:
        for node in self._root.nodes:
            self._emit(node, "")
        self._root.nodes.clear()

    def _emit(self, node: Node, above: str) -> None:
        name = self._results.claim(above + node.name)
        if node.nodes:
            for child in node.nodes:
                self._emit(child, f"{name}/")
        self._results.put(name, node.outcome, str(node.words) if node.words else "")

    def _faults(self, planned: int | None, rest: str) -> list[str]:
        faults = []
        if self._bailed is not None:
            faults.append(f"it bailed out: {self._bailed[:200]}")
        if self._endless:
            faults.append("its output ends in the middle of a test")
        if self._unseen:
            faults.append(f"{self._unseen} tests were planned that gave no result")
        if planned is None:
            faults.append("it gave no plan")
        if ktap_line.BEGINS.match(rest):
            faults.append(f"its last line has no end: {rest[:200]}")
        return faults


_NESTS = frozenset(" \t#")
_ACTS: dict[str, Callable[[Reader, str, str], bool]] = {
    **dict.fromkeys("on", Reader._result),
    **dict.fromkeys("1", Reader._plan),
    **dict.fromkeys("KkTt", Reader._version),
    **dict.fromkeys("S", Reader._subtest),
    **dict.fromkeys("Bb", Reader._bail),
}
