"""Tests and their subtests while KTAP is read: a child waits for its parent's name, which comes last."""

from orchestrator.model import Outcome
from orchestrator.trial.kinds.lines import Words


class Node:
    """A test with its subtests."""

    __slots__ = ("name", "nodes", "outcome", "words")

    def __init__(self, name: str, outcome: Outcome, words: Words | None = None) -> None:
        self.name = name
        self.outcome = outcome
        self.words = words
        self.nodes: list[Node] | None = None

    def say(self, line: str) -> None:
        """Add to what the test said."""
        self.words = self.words or Words()
        self.words.add(line)


class Level:
    """The tests side by side under one parent, told by what stands in front of their lines.

    `name` is the parent's, if a line said it; `words` belong to the test whose result comes next. `announced` are tests
    that a line said to run and that have no result yet, `running` is the last of them. `again` says that a version line
    came, after which a plan is another one. `numbered` says that tests here have no names.
    """

    __slots__ = ("again", "announced", "name", "nodes", "numbered", "planned", "prefix", "running", "seen", "words")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.name = ""
        self.planned: int | None = None
        self.seen = 0
        self.again = False
        self.numbered = False
        self.running = ""
        self.announced: dict[str, None] = {}
        self.words: Words | None = None
        self.nodes: list[Node] = []

    @property
    def fresh(self) -> bool:
        """Has nothing been said of its tests?"""
        return self.again or (self.planned is None and not self.seen)

    def announce(self, name: str) -> None:
        """Take the name of the test that runs now."""
        self.running = name
        self.announced[name] = None

    def add(self, node: Node) -> None:
        """Add a result."""
        self.nodes.append(node)
        self.seen += 1
        self.running = ""
        self.again = False
        if self.announced:
            self.announced.pop(node.name, None)

    def say(self, line: str) -> None:
        """Add to what the running test said."""
        self.words = self.words or Words()
        self.words.add(line)

    def settle(self, running: Outcome | None) -> int:
        """Say of every planned test without a result what is known of it; return how many have not even a name.

        The running one ended as `running`; None says that it did not run at all.
        """
        left = None if self.planned is None else max(0, self.planned - self.seen)
        if self.running and left != 0 and running:
            self.nodes.append(Node(self.running, running, self.words))
            self.announced.pop(self.running, None)
            self.words = None
            left = left and left - 1
        named = list(self.announced)[: left or 0]
        self.nodes += [Node(name, Outcome.MISSING) for name in named]
        self.announced.clear()
        self.running = ""
        return (left or 0) - len(named)
