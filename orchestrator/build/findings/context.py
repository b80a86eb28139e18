"""Whose a finding is: what a compiler says before it, of include chains, functions and inlining. Pure.

`make -j` may mix the lines of several compilers, so a name said outright goes before the order of lines. ccache gives
each compiler's words in one piece: where nothing is said outright, the order is right there.
"""

import re
from collections import Counter, defaultdict, deque
from dataclasses import replace
from itertools import chain as joined

from orchestrator.build.findings.words import path
from orchestrator.model import Finding

_FILE = r"(?P<file>[^\s:][^:]{0,400})"
_COMMAND_LINE = "In file included from <command-line>"
_CHAIN = re.compile(rf"In file included from {_FILE}:\d{{1,9}}", re.ASCII)
_CHAIN_ON = re.compile(rf" {{2,}}from {_FILE}:\d{{1,9}}", re.ASCII)
_THROUGH = re.compile(rf"{_FILE}: note: in included file(?: \(through (?P<through>[^)]*)\))?:")
_IN_FUNCTION = re.compile(rf"{_FILE}: (?:In function '(?P<function>[^']*)'|At top level)")
_INLINED = re.compile(rf" +inlined from '(?P<function>[^']*)' at {_FILE}:(?P<line>\d{{1,9}})", re.ASCII)
_REMEMBERED = 32  # include chains of one header: more compilers than that do not run at once

Chain = tuple[str, ...]


class Context:
    """What was said and not yet used. `compiled` are the sources of the log, without suffix, if it names them."""

    def __init__(self, compiled: frozenset[str]) -> None:
        self.compiled = compiled
        self.unit: str | None = None  # the source whose compiler spoke last, None when a new one has not named it
        self.waiting: deque[list[str]] = deque()  # chains, outermost file first
        self.chains: dict[str, deque[Chain]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self.ways: dict[tuple[str | None, str], Chain] = {}  # the chain to a file, and itself, as its unit includes it
        self.functions: dict[str, str] = defaultdict(str)
        self.entered: Counter[str] = Counter()  # how often a file's function was said, and not yet used
        self.inlined: tuple[str, tuple[str, int]] | None = None
        self.said: set[tuple[Chain, tuple[object, ...]]] = set()
        self.nameless: list[int] = []  # findings said before their unit was

    def feed(self, line: str) -> bool:
        """Read a line that says where the next finding is; false when it is none of these."""
        return self._chain(line) or self._through(line) or self._function(line) or self._inlined(line)

    def is_source(self, file: str) -> bool:
        """Is it compiled by itself? Where the log does not say, every file that is no header is."""
        stem, _, suffix = file.rpartition(".")
        return suffix in ("c", "S", "cc", "cpp") and (not self.compiled or stem in self.compiled)

    def used_in(self, file: str) -> str:
        """Return the function that `file` is in, where a macro is used; the file's compiler is the one that speaks."""
        if self.is_source(file):
            self.unit = file
        return self.functions[file]

    def of(self, found: Finding, words: str, index: int) -> Finding:
        """Give the finding with this index its include chain, function and place of use; `words` as they were said."""
        file = found.file
        chain = self._chain_of(found, words)
        self.entered[file] -= self.entered[file] > 0
        function, site = self.functions[file], None
        if self.inlined:
            (function, site), self.inlined = self.inlined, None
        if file.endswith(".h") and (not chain or chain[0].endswith(".h")):
            self.nameless.append(index)
        return replace(found, chain=chain, function=function, site=site)

    def named(self, findings: list[Finding]) -> None:
        """Once the unit is known, give it to the findings that were said before."""
        if self.unit and self.nameless:
            for index in self.nameless:
                findings[index] = replace(findings[index], chain=(self.unit, *findings[index].chain))
            self.nameless.clear()

    def _chain_of(self, found: Finding, words: str) -> Chain:
        file = found.file
        if self.compiled and self.is_source(file):
            self.unit = file
            return ()
        if self.waiting:
            self.chains[file].append(self._whole(tuple(self.waiting.popleft())))
            if not self.entered[file]:  # another compiler's words about the same header
                self.functions[file] = ""
        elif self.is_source(file):
            self.unit = file
        return self._newest(found, words)

    def _whole(self, said: Chain) -> Chain:
        """gcc 12 ends a chain at a file whose way it has told before: put that way in front."""
        if said[0].endswith(".h"):
            before = (self.unit,) if self.unit else ()
            said = (*self.ways.get((self.unit, said[0]), before + said[:1])[:-1], *said)
        else:
            self.unit = said[0]
        self.ways |= {(self.unit, file): said[: place + 1] for place, file in enumerate(said)}
        return said

    def _newest(self, found: Finding, words: str) -> Chain:
        """A compiler names the way to a header once, and says each thing once: twice the same is another compiler."""
        chains, place = self.chains[found.file], (found.file, found.line, found.column, words)
        guess = (self.unit,) if self.unit and found.file.endswith(".h") else ()
        own = next((one for one in reversed(chains) if one[0] == self.unit), guess)
        others = (one for one in reversed(chains) if self.unit)
        chain = next((one for one in joined([own], others) if (one, place) not in self.said), own)
        self.said.add((chain, place))
        return chain

    def _chain(self, line: str) -> bool:
        """gcc names the innermost file first and goes on with `from`; clang says the whole phrase, outermost first."""
        if line.startswith(_COMMAND_LINE):  # -include: the first words of a compiler that has named no source yet
            self.unit = None
            return True
        if hit := _CHAIN_ON.match(line):
            if self.waiting:
                self.waiting[-1].insert(0, path(hit["file"]))
        elif hit := _CHAIN.match(line):
            file = path(hit["file"])
            if self.waiting and not self.is_source(file):
                self.waiting[-1].append(file)
            else:
                self.waiting.append([file])
        return bool(hit)

    def _through(self, line: str) -> bool:
        """sparse names the file it checks, then those on the way to the included one, innermost first."""
        if hit := _THROUGH.match(line):
            through = [path(file) for file in (hit["through"] or "").split(", ") if file]
            self.waiting.append([path(hit["file"]), *reversed(through)])
        return bool(hit)

    def _function(self, line: str) -> bool:
        if hit := _IN_FUNCTION.match(line):
            file = path(hit["file"])
            self.functions[file] = hit["function"] or ""
            self.entered[file] += 1
            if self.is_source(file):
                self.unit = file
        return bool(hit)

    def _inlined(self, line: str) -> bool:
        if hit := _INLINED.match(line):
            self.inlined = hit["function"], (path(hit["file"]), int(hit["line"]))
        return bool(hit)
