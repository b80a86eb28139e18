"""A realistic run for the tests of whatever reads one, and the files that lie in its directory."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator import store
from orchestrator.model import (
    AccelChoice,
    BuildRecord,
    Change,
    ChangeKind,
    CoresBusy,
    GuestOutcome,
    GuestRecord,
    HostFacts,
    KernelSource,
    MetricPair,
    Observed,
    Outcome,
    Patch,
    Run,
    RunStatus,
    Samples,
    Series,
    Side,
    TimelineEntry,
    Verdict,
    VerdictValue,
)

ARCHES = ("x86_64", "arm64")
SHA256 = {Side.BASE: "9f2c41d07be8" + "0" * 52, Side.PATCHED: "41aa07c3d95e" + "1" * 52}

REFUSED = """\
# mmap 16 pages, mlock them
# madvise(MADV_DONTNEED_LOCKED)
madvise: Invalid argument
not ok 1 drops_locked_pages
"""
DROPPED = """\
# mmap 16 pages, mlock them
# madvise(MADV_DONTNEED_LOCKED)
# VmLck 64 kB, RSS 0 pages
ok 1 drops_locked_pages
"""

FIXED = ("drops_locked_pages", "keeps_vm_locked", "refaults_zero_filled")
SAME = ("dontneed_refuses_locked", "dontneed_drops_unlocked", "unknown_advice_is_einval", "range_must_be_mapped")
OTHER = ("mlock.mlock2_onfault", "mlock.munlockall", "mmap.fixed_noreplace", "mmap.grows_down", "thp.collapse")


def change(
    name: str,
    arch: str = "x86_64",
    base: Outcome = Outcome.PASS,
    patched: Outcome = Outcome.PASS,
    kind: ChangeKind = ChangeKind.SAME,
    **more: Any,
) -> Change:
    """One compared test; `more` are fields of Change, or `said`: its output on (base, patched)."""
    said = more.pop("said", ("", ""))
    fields = {"suite": "madvise_locked", "flavour": "fast"} | more
    return Change(
        name=name, arch=arch, base=Observed(base, said[0]), patched=Observed(patched, said[1]), change=kind, **fields
    )


def sample_run(**changes: Any) -> Run:
    """A validated run of two arches, with `changes` of its fields."""
    run = Run(
        id="0412-madv-dontneed-locked",
        status=RunStatus.DONE,
        started="2026-04-12T09:14:03Z",
        finished="2026-04-12T09:23:11Z",
        wall_seconds=548.2,
        command=("kdelta", "run", "--series", "patches/madv-dontneed-locked", "--title", "two words"),
        series=Series(
            "mm: add MADV_DONTNEED_LOCKED",
            (
                Patch("mm: madvise: MADV_DONTNEED_LOCKED", "Ada Example <ada@example.org>", ("mm/madvise.c",)),
                Patch(
                    "mm: uapi: give MADV_DONTNEED_LOCKED its number",
                    "Ada Example <ada@example.org>",
                    ("include/uapi/asm-generic/mman-common.h", "arch/alpha/include/uapi/asm/mman.h"),
                ),
            ),
        ),
        kernel=KernelSource("debian:linux-source-5.10", "5.10.223", "f2a6c1b8de0419a7"),
        host=_host(),
        builds=tuple(_build(side, arch) for arch in ARCHES for side in Side),
        guests=tuple(_guest(side, arch) for arch in ARCHES for side in Side),
        tests=tuple(test for arch in ARCHES for test in _tests(arch)),
        metrics=tuple(metric for arch in ARCHES for metric in _metrics(arch)),
        verdict=Verdict(
            VerdictValue.VALIDATED,
            ("3 of 3 declared tests fixed on x86_64 and arm64", "no other test changed in 9 compared per arch"),
        ),
        timeline=_timeline(),
        busy=(CoresBusy(0.0, 280.8, 1.9), CoresBusy(280.8, 548.0, 0.4)),
    )
    return dataclasses.replace(run, **changes)


def write_files(run: Run, directory: Path, console: str = "") -> None:
    """The logs and consoles that the run names, and its run.json."""
    store.save(run, directory)
    for path, text in [
        *((build.log, "  CC      mm/madvise.o\n") for build in run.builds),
        *((guest.console, console or console_text(guest)) for guest in run.guests),
    ]:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8", errors="surrogateescape")


def console_text(guest: GuestRecord) -> str:
    """A short boot; the patched one says one thing more."""
    lines = [
        f"Linux version 5.10.223-kdelta (kdelta@kdelta) ({guest.arch})",
        "Memory: 488120K/524152K available (6144K kernel code, 842K rwdata)",
        "smp: Brought up 1 node, 2 CPUs",
        "virtio_net virtio0 eth0: link up",
        "Run /init as init process",
        "kdelta: ready",
        "kdelta: madvise_locked starts",
    ]
    more = ["madvise: 16 locked pages dropped"] if guest.side is Side.PATCHED else []
    reports = [line for splat in guest.splats for line in splat.text.splitlines()]
    texts = [*lines, *more, *reports, "kdelta: madvise_locked ends"]
    return "".join(f"[    {0.01 * number:.6f}] {text}\r\n" for number, text in enumerate(texts, 1))


def _host() -> HostFacts:
    return HostFacts(
        cpus=2,
        qemu={"qemu-system-x86_64": "7.2.22", "qemu-system-aarch64": "7.2.22"},
        compilers={"gcc": "12.2.0", "aarch64-linux-gnu-gcc": "12.2.0"},
        accel={
            "x86_64": AccelChoice("tcg", "/dev/kvm opens, but no kernel printed a line under it within 10 s"),
            "arm64": AccelChoice("tcg", "the host is x86_64"),
        },
    )


def _build(side: Side, arch: str) -> BuildRecord:
    first = side is Side.BASE
    return BuildRecord(
        side=side,
        arch=arch,
        flavour="fast",
        seconds=271.4 if first else 12.3,
        cpu_seconds=486.0 if first else 19.1,
        cached=False,
        image_sha256=SHA256[side],
        noop=False,
        log=f"{side}/{arch}-fast/build.log",
        image_bytes=None if arch == "arm64" and first else 7_000_000 if first else 7_004_096,
    )


def _guest(side: Side, arch: str) -> GuestRecord:
    return GuestRecord(
        side, arch, "fast", "tcg", 2.3 if arch == "x86_64" else 1.1, GuestOutcome.OK, f"{side}/{arch}-fast/console.log"
    )


def _tests(arch: str) -> Iterator[Change]:
    for name in FIXED:
        said = (REFUSED, DROPPED)
        yield change(name, arch, Outcome.FAIL, Outcome.PASS, ChangeKind.FIXED, expected=ChangeKind.FIXED, said=said)
    for name in SAME:
        yield change(name, arch, said=("ok 1\n", "ok 1\n"), expected=ChangeKind.SAME)
    for name in OTHER:
        skipped = Outcome.SKIP if name.startswith("thp") else Outcome.PASS
        yield change(name, arch, skipped, skipped, suite="mm")


def _metrics(arch: str) -> Iterator[MetricPair]:
    base = (1843.2, 1851.0, 1839.7, 1866.1, 1848.8)
    patched = (1845.1, 1839.9, 1871.3, 1850.2, 1842.6)
    yield MetricPair("mm", "mlock_1024_pages", "us", arch, "fast", *(Samples(s, (3, 2)) for s in (base, patched)))
    yield MetricPair("mm", "page_faults", "faults", arch, "fast", Samples((1024.0,) * 5), Samples((1024.0,) * 5))
    yield MetricPair("madvise_locked", "drop_1024_pages", "us", arch, "fast", Samples(), Samples((81.25, 79.4, 84.0)))


def _timeline() -> tuple[TimelineEntry, ...]:
    return (
        TimelineEntry("fetch linux-source-5.10", 0.0, 9.4),
        TimelineEntry("build base/x86_64-fast", 9.4, 280.8),
        TimelineEntry("build patched/x86_64-fast", 280.8, 293.1),
        TimelineEntry("test base/x86_64-fast", 280.9, 318.0),
        TimelineEntry("test patched/x86_64-fast", 293.2, 331.0),
        TimelineEntry("build base/arm64-fast", 293.1, 514.0),
        TimelineEntry("build patched/arm64-fast", 514.0, 526.5),
        TimelineEntry("test base/arm64-fast", 514.1, 536.0),
        TimelineEntry("test patched/arm64-fast", 526.6, 548.0, "build patched/arm64-fast", 4.2),
    )


def with_strength(words: str, **changes: Any) -> Run:
    """The same run, with a word about what its verdict rests on."""
    run = sample_run(**changes)
    assert run.verdict
    return dataclasses.replace(run, verdict=dataclasses.replace(run.verdict, strength=words))
