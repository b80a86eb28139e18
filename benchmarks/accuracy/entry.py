"""One entry of the corpus: what a change breaks, and what kdelta must say of it (docs/accuracy.md)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from kvm.arch import DEFAULT
from orchestrator import config, yamlfile
from orchestrator.config import Rerun
from orchestrator.yamlfile import Fault, Section

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
SUITES = HERE / "suites"
ANSWER = "answer.yaml"


class Named(Section):
    """Something a run says of a kind; `title`, `file` are regular expressions of the whole."""

    kind: str
    title: str = ".*"
    file: str = ".*"


class Binary(Section):
    """What must be said to differ in the binary: regular expressions of whole names."""

    frames: list[str] = Field(default_factory=list)
    structs: list[str] = Field(default_factory=list)
    exports: list[str] = Field(default_factory=list)
    constants: list[str] = Field(default_factory=list)


class Wanted(Section):
    """What must be said where the change shows; what is not named here may be said or not."""

    verdict: list[str] = Field(min_length=1)
    tests: dict[str, list[str]] = Field(default_factory=dict)
    changes: list[str] = Field(default_factory=lambda: ["regressed"])
    guest: list[str] = Field(default_factory=list)
    reports: list[Named] = Field(default_factory=list)
    findings: list[Named] = Field(default_factory=list)
    lines: list[str] = Field(default_factory=list)
    metrics: list[str] = Field(default_factory=list)
    binary: Binary = Binary()
    build: str | None = None
    steps: list[int] = Field(default_factory=list)


class How(Section):
    """With what it is run."""

    suites: list[str] = Field(default_factory=lambda: ["madvise_locked"], min_length=1)
    flavours: list[str] = Field(default_factory=lambda: ["fast"], min_length=1)
    repeats: int = 1
    boots: int = 1
    rerun: Rerun = Rerun()
    each_patch: bool = False


class Answer(Section):
    """What answer.yaml holds."""

    what: str
    effect: Literal["breaks", "nothing"]
    after: str | None = None
    arches: list[str] = Field(default_factory=lambda: list(DEFAULT), min_length=1)
    culprit: int | None = None
    unreached: str | None = None
    run: How = How()
    must: Wanted


@dataclass(frozen=True)
class Entry:
    """A directory of the corpus."""

    directory: Path
    answer: Answer

    @property
    def name(self) -> str:
        """Its directory's."""
        return self.directory.name

    @property
    def null(self) -> bool:
        """Is it a null run: two kernels that differ in a word that nobody reads? Its name says so."""
        return self.name.startswith("null-")

    @property
    def by_chance(self) -> bool:
        """Are all its tests such that fail by chance?"""
        return self.answer.run.suites == ["flaky"]

    @property
    def patches(self) -> list[Path]:
        """Its own patches, in order."""
        return sorted(self.directory.glob("*.patch"))

    @property
    def before(self) -> int:
        """How many patches of the series that it comes after stand before its first."""
        series = config.find("patches", self.answer.after, CORPUS) if self.answer.after else None
        return len([path for path in series.glob("*.patch") if not path.name.startswith("0000-")]) if series else 0

    @property
    def key(self) -> str:
        """Names what the entry holds, with the suites of the corpus that it runs."""
        suites = sorted({SUITES / name for name in self.answer.run.suites if (SUITES / name).is_dir()})
        return digest([self.directory, *suites])


def load(directory: Path) -> Entry:
    """Read one entry; raises UserError for every fault of its answer."""

    def faults(answer: Answer) -> Iterator[Fault]:
        count = len(list(directory.glob("*.patch")))
        if not count:
            yield (), "no patch beside it"
        if count > 1 and answer.effect == "breaks" and not 1 <= (answer.culprit or 0) <= count:
            yield ("culprit",), f"which of the {count} patches is it?"
        if answer.after and config.find("patches", answer.after, CORPUS) is None:
            yield ("after",), f"no series {answer.after!r}"

    return Entry(directory, yamlfile.read(directory / ANSWER, Answer, faults))


def all_entries(only: str = "") -> list[Entry]:
    """Every entry whose name is `only`, or else holds it."""
    names = sorted(path.parent.name for path in CORPUS.glob(f"*/{ANSWER}"))
    return [load(CORPUS / name) for name in ([only] if only in names else names) if only in name]


def digest(places: list[Path]) -> str:
    """Name the contents of files and directories."""
    whole = hashlib.sha256()
    for place in places:
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        for file in files:
            if "__pycache__" not in file.parts:
                whole.update(f"{file.relative_to(place.parent)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:12]
