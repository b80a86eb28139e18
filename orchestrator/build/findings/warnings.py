"""A build log in, its findings out: gcc, clang, as, ld, sparse, kernel-doc, modpost, objtool, Kconfig, dtc, make.

Pure, and total: any text gives a list. Whose a finding is is read from its file, include chain and function line, not
from its place in the log: under `make -j` the lines of two compilers may interleave.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from orchestrator.build.findings.context import Context
from orchestrator.build.findings.words import kernel_doc_kind, path, plain, slug
from orchestrator.model import Finding

CC = "cc"
TOOLS = (CC, "as", "ld", "modpost", "objtool", "kconfig", "dtc", "make")  # those of each build
_MAX_LINE = 2000
_HEED_LINES = 1000

_FILE = r"(?P<file>[^\s:][^:]{0,400})"
_LOCATED = re.compile(
    rf"{_FILE}:(?P<line>\d{{1,9}}):(?:(?P<column>\d{{1,9}}):)? ?"
    r"(?P<level>fatal error|error|warning|Error|Warning): ?(?P<message>.*)",
    re.ASCII,
)
_NOTE = re.compile(rf"{_FILE}:(?P<line>\d{{1,9}}):(?:\d{{1,9}}:)? note: in expansion of macro", re.ASCII)
_MORE = re.compile(rf"{_FILE}:(?P<line>\d{{1,9}}):(?P<column>\d{{1,9}}): {{3,}}(?P<message>\S.*)", re.ASCII)
_FLAG = re.compile(r" \[(?:-Werror,)?-W(?:error=)?(?P<flag>[^\]\s,]+)\]$")
_COMPILED = re.compile(r" {2}(?:CC|AS|CPP|HOSTCC|HOSTCXX|CHECK)(?: \[M\])? +(?P<object>\S+)\.(?:o|s|i|c|S)$")
_EXCERPT = re.compile(r" +\d* *\|")  # the line of the source, and the mark below it

# Said about the machine and the moment, not about the tree.
_NOISE = re.compile(
    r"Clock skew detected|modification time .* in the future|jobserver|-j\d* forced|resetting jobserver"
    r"|all warnings being treated as errors|compilation terminated|\d+ (?:warnings?|errors?) generated"
)

# What is no `file:line: warning:`; each: tool, expression, kind ("": made from the words).
_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (tool, re.compile(expression, re.ASCII), kind)
    for tool, expression, kind in (
        ("objtool", rf"{_FILE}: (?:warning|error): objtool: (?P<message>(?:(?P<function>[^\s(]+)\()?.*)", ""),
        ("modpost", r"(?:WARNING|ERROR): (?:modpost: )?(?P<message>\S+: [Ss]ection mismatch .*)", "section-mismatch"),
        ("modpost", r"(?:WARNING|ERROR|FATAL): modpost: (?P<message>.*)", ""),
        ("kconfig", r"WARNING: (?P<message>unmet direct dependencies detected for \w+)", "unmet-dependencies"),
        ("kconfig", r"(?P<message>error: recursive dependency detected!)", "recursive-dependency"),
        (
            "dtc",
            rf"{_FILE}:(?P<line>\d{{1,9}})\.\d[\d.-]*: (?:Warning|ERROR|Error) \((?P<kind>\w+)\): (?P<message>.*)",
            "",
        ),
        ("dtc", rf"{_FILE}: (?:Warning|ERROR|Error) \((?P<kind>\w+)\): (?P<message>.*)", ""),
        ("kernel-doc", rf"Warning: {_FILE}:(?P<line>\d{{1,9}}) (?P<message>.*)", ""),
        ("smatch", rf"{_FILE}:(?P<line>\d{{1,9}}) (?P<function>\w+)\(\) (?:warn|warning|error): (?P<message>.*)", ""),
        (
            "ld",
            r"(?:\S*[/-])?ld(?:\.\w+)?: warning: (?P<message>(?:orphan section .* from [`'])?"
            r"(?:(?P<file>[^\s:`']+\.\w+|[^\s:`']*/[^\s:`']+)\b)?.*)",
            "",
        ),
        ("ld", r"(?:\S*[/-])?ld(?:\.\w+)?: (?P<file>[^\s:]+): warning: (?P<message>.*)", ""),
        ("make", r"(?:\S*/)?make(?:\[\d+\])?: (?:warning: )?(?P<message>Circular .* dependency dropped\.)", "circular"),
        ("make", r"(?:\S*/)?make(?:\[\d+\])?: warning: (?P<message>.*)", ""),
        (CC, r"(?:cc1|(?:\S*-)?gcc(?:-\d+)?|clang(?:-\d+)?): (?:warning|(?:fatal )?error): (?P<message>.*)", ""),
    )
)


def parse(text: str, tool: str = CC, heed: Callable[[], object] = lambda: None) -> list[Finding]:
    """Read all findings of a log; `tool` is whose words `file:line:column: warning:` without a flag are.

    `heed` is called now and then: a log may be long, and it may raise what ends the reading.
    """
    reader = _Reader(tool, sources(text))
    for number, line in enumerate(text.split("\n")):
        if not number % _HEED_LINES:
            heed()
        reader.feed(line.rstrip("\r")[:_MAX_LINE])
    return reader.findings


def sources(text: str) -> frozenset[str]:
    """Return what a log says was compiled, as paths without suffix: these files are included by no other."""
    found = (_COMPILED.match(line) for line in text.split("\n"))
    return frozenset(path(hit["object"]) for hit in found if hit)


class _Reader:
    """Collects findings line by line."""

    def __init__(self, tool: str, compiled: frozenset[str]) -> None:
        self.tool = tool
        self.findings: list[Finding] = []
        self.context = Context(compiled)

    def feed(self, line: str) -> None:
        """Read one line; the first that understands it has it."""
        if not line or _EXCERPT.match(line) or _NOISE.search(line):
            return
        readers = self.context.feed, self._note, self._more, self._located, self._by_rule
        any(reader(line) for reader in readers)
        self.context.named(self.findings)

    def _note(self, line: str) -> bool:
        """The last place of `in expansion of macro` is where the sources use it."""
        if (hit := _NOTE.match(line)) and self.findings:
            file = path(hit["file"])
            function = self.context.used_in(file)
            self.findings[-1] = replace(self.findings[-1], site=(file, int(hit["line"])), function=function)
        return bool(hit)

    def _more(self, line: str) -> bool:
        """sparse goes on at the same place, indented: `expected X`, `got Y`."""
        hit = _MORE.match(line)
        if hit and self.findings and "declared" not in hit["message"] and "defined" not in hit["message"]:
            last = self.findings[-1]
            if (last.file, last.line) == (path(hit["file"]), int(hit["line"])):
                self.findings[-1] = replace(last, message=f"{last.message}; {plain(hit['message'])}")
        return bool(hit)

    def _located(self, line: str) -> bool:
        hit = _LOCATED.match(line)
        if hit is None or hit["message"].startswith("objtool: "):
            return False
        file, message = path(hit["file"]), hit["message"]
        tool, kind, message = self._whose(hit, file, message)
        fixed = file.startswith("<") or file.endswith(".config")  # generated: their lines mean nothing
        found = Finding(tool, kind, file, 0 if fixed else int(hit["line"]), int(hit["column"] or 0), plain(message))
        self.findings.append(self.context.of(found, hit["message"], len(self.findings)))
        return True

    def _whose(self, hit: re.Match[str], file: str, message: str) -> tuple[str, str, str]:
        name = file.rpartition("/")[2]
        flag, words = _flagged(message)
        if flag:
            return CC, flag, words
        if name == ".config" or name.startswith("Kconfig"):
            return "kconfig", slug(message), message
        if hit["level"] in ("Warning", "Error"):
            return "as", slug(message), message
        if name.startswith(("Makefile", "Kbuild")):
            return "make", slug(message), message
        if not hit["column"] and (rule := kernel_doc_kind(message)):
            return "kernel-doc", rule, message
        return self.tool, "error" if "error" in hit["level"] and self.tool == CC else slug(message), message

    def _by_rule(self, line: str) -> bool:
        for tool, expression, fixed in _RULES:
            if hit := expression.match(line):
                named = hit.groupdict(default="")
                flag, words = _flagged(hit["message"])
                rule = (
                    named.get("kind")
                    or fixed
                    or flag
                    or (tool == "kernel-doc" and kernel_doc_kind(words))
                    or slug(words)
                )
                file, place = path(named.get("file", "")), int(named.get("line") or 0)
                function = named.get("function", "")
                self.findings.append(Finding(tool, rule, file, place, 0, plain(words), function=function))
                return True
        return False


def _flagged(message: str) -> tuple[str, str]:
    """Cut the flag off a message: gcc writes [-Wx], [-Wx=] and, where it is an error, [-Werror=x]."""
    hit = _FLAG.search(message)
    return (f"-W{hit['flag'].rstrip('=')}", message[: hit.start()]) if hit else ("", message)
