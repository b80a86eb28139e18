"""What programs print, of every kind: tests/data/ktap/NNN-name holds what is to be read, a blank line, the output."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.trial.kinds.kind import KINDS, SuiteKind, judge
from orchestrator.trial.kinds.parsed import Parsed

FILES = sorted((Path(__file__).parent.parent / "data" / "ktap").iterdir())


@dataclass
class Expected:
    """`says` and `ends with` are words that an output holds; of what the header does not name, there is none."""

    kind: SuiteKind = SuiteKind.KTAP
    planned: str = "none"
    unseen: int = 0
    skipped: str | None = None
    ends_with: str = ""
    results: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    says: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    exits: dict[int, str] = field(default_factory=dict)

    def read(self, line: str, names: list[str]) -> None:
        word, _, rest = line.partition(": ")
        if word in ("planned", "skipped"):
            setattr(self, word, rest)
        elif word == "kind":
            self.kind = SuiteKind(rest)
        elif word == "unseen":
            self.unseen = int(rest)
        elif word == "fault":
            self.faults.append(rest)
        elif word == "metric":
            self.metrics.append(rest)
        elif word == "ends with":
            self.ends_with = rest
        elif line.startswith("says "):
            name = max((name for name in names if line.startswith(f"says {name}: ")), key=len)
            self.says.append((name, line.removeprefix(f"says {name}: ")))
        elif line.startswith("silent "):
            self.silent.append(line.removeprefix("silent "))
        elif line.startswith("exit "):
            self.exits[int(word.removeprefix("exit "))] = rest
        else:
            self.results.append((word, rest))


def load(path: Path) -> tuple[Expected, str]:
    head, _, output = path.read_bytes().partition(b"\n\n")
    expected = Expected()
    lines = head.decode().split("\n")
    names = [line.partition(": ")[2] for line in lines]
    for line in lines:
        expected.read(line, names)
    return expected, output.decode("utf-8", "replace")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shape_of_output_is_read_as_its_header_says(path: Path) -> None:
    expected, text = load(path)
    parsed = KINDS[expected.kind].parse(text, "suite", 1)
    assert [(result.outcome.value, result.name) for result in parsed.results] == expected.results
    assert list(parsed.faults) == expected.faults
    assert (str(parsed.planned).lower(), parsed.unseen) == (expected.planned, expected.unseen)
    assert parsed.skipped == expected.skipped
    assert [" ".join((m.name, m.unit, *map(str, m.samples))) for m in parsed.metrics] == expected.metrics
    check_words(expected, parsed)
    for status, outcome in expected.exits.items():
        assert (status, judge(KINDS[expected.kind], status, parsed)[0].value) == (status, outcome)


def check_words(expected: Expected, parsed: Parsed) -> None:
    said = {result.name: result.output for result in parsed.results}
    for name, words in expected.says:
        assert words in said[name]
    for name in expected.silent:
        assert said[name] == ""
    assert expected.ends_with in parsed.output


def test_there_are_shapes_of_every_kind() -> None:
    assert {load(path)[0].kind for path in FILES} == set(SuiteKind) == set(KINDS)
