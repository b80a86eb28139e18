"""pipeline.yaml in, a checked Pipeline out; and where the shipped files are."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from kvm import disk
from kvm.arch import ARCHES, DEFAULT
from kvm.errors import UserError
from orchestrator import post, yamlfile
from orchestrator.yamlfile import Fault, Section, nearest

CONFIG_GOALS = ("tinyconfig", "defconfig")
FORMATS = ("junit", "ktap", "kcidb", "sarif", "markdown", "mail")
_URL = r"^https?://\S+$"
QUEUES = ("directory", "maildir", "branches", "b4", "search")
TOOLCHAINS = ("gcc", "clang")
TOOLCHAIN = re.compile(rf"({'|'.join(TOOLCHAINS)})(-\d+)?", re.ASCII)  # as installed, or one version
CHECKS = ("checkpatch", "kernel-doc", "coccinelle", "sparse", "smatch")


def _most_memory_mib() -> int:
    """Three quarters of the machine's."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.75) >> 20


class GuestSize(Section):
    """What each guest gets."""

    memory_mib: int = Field(512, ge=128)
    cpus: int = Field(2, ge=1)
    root: str | dict[str, str] | None = None

    def root_of(self, arch: str) -> str | None:
        """The root file system that guests of one architecture get: a path or `host`; None is the initramfs."""
        named = self.root.get(arch) if isinstance(self.root, dict) else self.root
        return named.replace("{arch}", arch) if named else None


class Limits(Section):
    """Deadlines in seconds, for hardware virtualisation; those of a guest are scaled up under TCG."""

    build: float = Field(5400, gt=0)
    cache_gib: float = Field(40, gt=0)
    build_processes: int = Field(2000, ge=50)
    build_memory_mib: int = Field(_most_memory_mib(), ge=256)
    boot: float = Field(30, gt=0)
    silence: float = Field(30, gt=0)
    guests: int | None = Field(None, ge=1)


class Rerun(Section):
    """How often what is suspicious runs again, in pairs of both sides, and for how many seconds of a lane at most."""

    pairs: int = Field(60, ge=0, le=1000)
    seconds: float = Field(300, gt=0)


class Accept(Section):
    """What a series may hold; sizes in bytes."""

    binary: bool = False
    patch_size: int = Field(64 << 20, gt=0)
    series_size: int = Field(256 << 20, gt=0)
    files: int = Field(20_000, gt=0)


class Patchwork(Section):
    """Where checks of patches go with --patchwork, and under which name."""

    url: str = Field(pattern=_URL)
    project: str = Field(min_length=1)
    context: str = Field("kdelta", pattern="^[-a-zA-Z0-9_]+$")


class Report(Section):
    """In which forms a run is written beside report.html, and who is told of it (docs/formats.md).

    `origin` is KCIDB's name for who sends; `address` where others find what lies in results/.
    """

    formats: list[str] = Field(default_factory=list)
    origin: str = Field("kdelta", pattern="^[a-z0-9_]+$")
    address: str | None = Field(None, pattern=_URL)
    webhook: str | None = Field(None, pattern=rf"{_URL}|^\$[A-Za-z_][A-Za-z0-9_]*$")
    patchwork: Patchwork | None = None

    def at_home(self) -> "Report":
        """The same, which tells nobody."""
        return self.model_copy(update={"webhook": None, "patchwork": None})


class NightlyTree(Section):
    """Branches of a git: kernel, of which each night what is new since the last one is looked at."""

    kernel: str
    branches: list[str] = Field(min_length=1)


class NightlyQueue(Section):
    """Where series come from: a directory, a Maildir, branches of the git: kernel, Message-IDs for b4, or a search.

    `archive` is what is searched.
    """

    directory: str | None = None
    maildir: str | None = None
    branches: list[str] | None = None
    b4: list[str] | None = None
    search: str | None = Field(None, min_length=1)
    archive: str = "https://lore.kernel.org/all"
    kernel: str | None = None
    base: str | None = None

    @property
    def sources(self) -> list[str]:
        """Which of them are given."""
        return [name for name in QUEUES if getattr(self, name) is not None]


class NightlyKeep(Section):
    """Which run directories stay: the newest ones, if they are not too old; open regressions in any case."""

    runs: int = Field(200, ge=1)
    days: float = Field(30, gt=0)


class NightlyCluster(Section):
    """Whose workers build and test: what `kdelta run` is given as --scheduler, --store and --tls."""

    scheduler: str
    store: str
    tls: str | None = None


class Nightly(Section):
    """What `kdelta nightly` does, where, in how many seconds, and what it keeps."""

    trees: list[NightlyTree] = Field(default_factory=list)
    queues: list[NightlyQueue] = Field(default_factory=list)
    arches: list[str] | None = None
    flavours: list[str] | None = None
    budget: float = Field(8 * 3600, gt=0)
    keep: NightlyKeep = NightlyKeep()
    cluster: NightlyCluster | None = None


class Pipeline(Section):
    """What to validate. `series` and `suites` are names of what kdelta ships, or paths relative to the file."""

    kernel: str = "debian:linux-source-5.10/bullseye"
    base: str | None = None
    series: str | None = None
    arches: list[str] = Field(default_factory=lambda: list(DEFAULT), min_length=1)
    flavours: list[str] = Field(default_factory=lambda: ["fast"], min_length=1)
    config: str = "tinyconfig"
    fragments: list[str] = Field(default_factory=list)
    toolchain: str = "gcc"
    whole: bool = False
    each_patch: bool = False
    bisect: bool = True
    enable_touched: bool = False
    revert: bool = False
    unsandboxed: bool = False
    checks: list[str] = Field(default_factory=lambda: ["checkpatch", "kernel-doc"])
    known: str | None = None
    accept: Accept = Accept()
    suites: list[str] = Field(default_factory=lambda: ["madvise_locked"], min_length=1)
    repeats: int = Field(1, ge=1, le=100)
    rerun: Rerun = Rerun()
    boots: int = Field(1, ge=1, le=50)
    minimum_effect: float = Field(0.05, gt=0, lt=10)
    vmcore: bool = False
    keep_guest: bool = False
    keep_state: bool = False
    guest: GuestSize = GuestSize()
    limits: Limits = Limits()
    report: Report = Report()
    nightly: Nightly | None = None


def share() -> Path:
    """Where the shipped files are: the top of a checkout, or the package's own copy when installed."""
    top = Path(__file__).resolve().parent.parent
    return top if (top / "pyproject.toml").is_file() else Path(__file__).resolve().parent / "share"


def load(path: Path) -> Pipeline:
    """Read and check `path`; raises one UserError that lists every fault with its place."""
    return yamlfile.read(path, Pipeline, lambda pipeline: _missing(pipeline, path.parent))


def find(kind: str, name: str, near: Path) -> Path | None:
    """Locate a series ("patches"), suite ("guest_tests") or flavour by name among the shipped ones, or by path."""
    given = (near / disk.expanded(name)).resolve()
    if given.exists():
        return given
    for top in (near, share()):
        if "/" not in name and (top / kind / name).exists():
            return (top / kind / name).resolve()
    return None


def is_series(name: str, kernel: str, near: Path) -> bool:
    """Is it one that is shipped or there, or may it be one: stdin, a Message-ID or URL, commits of a git kernel?"""
    may_be = name == "-" or "@" in name or "://" in name or kernel.startswith("git:")
    return may_be or find("patches", name, near) is not None


def find_suite(name: str, near: Path) -> Path:
    """Return the directory of a suite, or raise a UserError that names the nearest one."""
    return _found("guest_tests", name, near, "suite")


def suite_name(directory: str) -> str:
    """What finds that suite on another machine, too: its name if it is shipped, else its path."""
    name = Path(directory).name
    return name if find("guest_tests", name, share()) == Path(directory) else directory


def find_series(name: str, near: Path) -> Path:
    """Return the file or directory of a series, or raise a UserError that names the nearest one."""
    return _found("patches", name, near, "series")


def find_flavour(name: str) -> str:
    """Return `name` if it is a flavour, or raise a UserError that names the nearest one."""
    known = flavours()
    if name not in known:
        raise UserError(f"no flavour {name!r}{nearest(name, known)}", hint=f"known: {', '.join(known)}")
    return name


def fragments(arch: str, flavour: str) -> tuple[Path, ...]:
    """Return the Kconfig fragments of one cell, in the order in which they are merged."""
    configs = share() / "configs"
    return tuple(configs / f"{name}.config" for name in ("base", arch, flavour))


def flavours() -> list[str]:
    """Return the flavours that have a fragment."""
    names = {path.stem for path in (share() / "configs").glob("*.config")}
    return sorted(names - {"base", *ARCHES})


def _found(kind: str, name: str, near: Path, word: str) -> Path:
    path = find(kind, name, near)
    if path is None:
        raise UserError(_no_such(kind, name, word), hint="give a name from this list, or a path")
    return path


def _no_such(kind: str, name: str, word: str) -> str:
    known = sorted(p.name for p in (share() / kind).iterdir() if p.is_dir() and p.name != "include")
    return f"no {word} {name!r}{nearest(name, known)}; shipped: {', '.join(known)}"


def _missing(pipeline: Pipeline, near: Path) -> list[Fault]:
    """What pipeline.yaml names and is not there."""
    return [
        *_unknown("arches", "arch", pipeline.arches, list(ARCHES)),
        *_unknown("flavours", "flavour", pipeline.flavours, flavours()),
        *_unknown("checks", "check", pipeline.checks, CHECKS),
        *_unknown("report.formats", "format", pipeline.report.formats, FORMATS),
        *(() if TOOLCHAIN.fullmatch(pipeline.toolchain) else _no_toolchain(pipeline.toolchain)),
        *_no_files(pipeline, near),
        *_no_arches(pipeline.guest.root),
        *_of_nightly(pipeline.nightly or Nightly()),
    ]


def _of_nightly(nightly: Nightly) -> Iterator[Fault]:
    for at, words in (
        *_unknown("arches", "arch", nightly.arches or [], list(ARCHES)),
        *_unknown("flavours", "flavour", nightly.flavours or [], flavours()),
    ):
        yield ("nightly", *at), words
    for index, tree in enumerate(nightly.trees):
        if not tree.kernel.startswith("git:"):
            yield ("nightly", "trees", index, "kernel"), f"a tree with branches is git:PATH, not {tree.kernel!r}"
    for index, queue in enumerate(nightly.queues):
        if len(queue.sources) != 1:
            yield ("nightly", "queues", index), f"a queue is one of {', '.join(QUEUES)}"
        if not post.secret(queue.archive):
            yield ("nightly", "queues", index, "archive"), f"mails come by https:// alone, not from {queue.archive!r}"


def _no_arches(root: str | dict[str, str] | None) -> Iterator[Fault]:
    for name in set(root) - set(ARCHES) if isinstance(root, dict) else ():
        yield ("guest", "root", name), f"no arch {name!r}{nearest(name, list(ARCHES))}; known: {', '.join(ARCHES)}"


def _no_toolchain(given: str) -> Iterator[Fault]:
    return _unknown("toolchain", "toolchain", given, [*TOOLCHAINS, "gcc-N", "clang-N"])


def _unknown(key: str, word: str, given: list[str] | str, known: Sequence[str]) -> Iterator[Fault]:
    """The names under `key` (`a.b` is b of a) that are not known."""
    at = key.split(".")
    places: list[tuple[tuple[str | int, ...], str]] = [((*at,), given)] if isinstance(given, str) else []
    places += [((*at, index), name) for index, name in enumerate(given) if not isinstance(given, str)]
    for place, name in places:
        if name not in known:
            yield place, f"no {word} {name!r}{nearest(name, known)}; known: {', '.join(known)}"


def _no_files(pipeline: Pipeline, near: Path) -> Iterator[Fault]:
    if pipeline.config not in CONFIG_GOALS and not (near / disk.expanded(pipeline.config)).is_file():
        yield ("config",), f"no such file: {pipeline.config}; or one of {', '.join(CONFIG_GOALS)}"
    if pipeline.known is not None and not (near / disk.expanded(pipeline.known)).is_file():
        yield ("known",), f"no such file: {pipeline.known}"
    for index, fragment in enumerate(pipeline.fragments):
        if not (near / disk.expanded(fragment)).is_file():
            yield ("fragments", index), f"no such file: {fragment}"
    for index, suite in enumerate(pipeline.suites):
        path = find("guest_tests", suite, near)
        if path is None or not path.is_dir():
            yield ("suites", index), _no_such("guest_tests", suite, "suite")
    if pipeline.series is not None and not is_series(pipeline.series, pipeline.kernel, near):
        yield ("series",), _no_such("patches", pipeline.series, "series")
