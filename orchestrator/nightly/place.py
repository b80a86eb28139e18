"""Where a night works, and for how long."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kvm import proc, snapshot
from kvm.snapshot import Take
from orchestrator.engine import Engine
from orchestrator.history.book import Book
from orchestrator.job import Job, MakeEngine, Watch
from orchestrator.model import ItemReport

if TYPE_CHECKING:  # what it needs is an extra
    from orchestrator.cluster.where import Where


@dataclass(frozen=True)
class Place:
    """Where a night works: the history, the directory of all results, and who is told of what.

    `publish` writes the report of a run that has ended; `told` hears of each item what became of it; `there` is the
    cluster that builds and tests, if not this machine.
    """

    book: Book
    results: Path
    publish: Callable[[Job], object]
    watch: Watch
    take: Take = snapshot.take
    there: "Where | None" = None
    told: Callable[[ItemReport], object] = lambda _: None

    @property
    def engine(self) -> MakeEngine:
        """What does a run's work."""
        return self.there.engine if self.there else Engine

    @property
    def own(self) -> Path:
        """The directory of nightly runs' own files."""
        return self.results / "nightly"


@dataclass
class Budget:
    """So many seconds for a night; when they are spent all that runs is stopped, to go on the next night."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    spent: bool = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Stop what runs in the block at the end of the budget, by Interrupted, after which `spent` is true."""
        timer = threading.Timer(max(0.0, self.began + self.seconds - time.monotonic()), self._stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _stop(self) -> None:
        self.spent = True
        proc.stop.set()
