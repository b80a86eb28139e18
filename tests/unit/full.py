"""A run with at least one of everything that a report shows, hostile and endless words among it."""

import dataclasses

from orchestrator.model import (
    BinaryDiff,
    ByteChange,
    Change,
    ChangeKind,
    ConfigChange,
    ConsoleLine,
    Culprit,
    Effect,
    EffectKind,
    Fate,
    FindingChange,
    FindingRecord,
    GuestRecord,
    Known,
    MetricPair,
    MutantRecord,
    Outcome,
    Run,
    Samples,
    Side,
    Splat,
    StepRecord,
    Suspect,
    TextChange,
    UapiProblem,
)
from tests.unit.runs import change, sample_run

EVIL = "<script>alert(1)</script>"
ENDLESS = "endless_" * 25  # 200 characters, nowhere to break
_LANE = ("x86_64", "debug")


def full_run() -> Run:
    """The sample run with a second flavour on x86_64, and some of all that it lacks."""
    run = sample_run()
    builds = tuple(dataclasses.replace(one, flavour="debug") for one in run.builds[:2])
    failed = dataclasses.replace(run.builds[2], flavour="debug", image_sha256=None, error=f"{ENDLESS}.c:1: {EVIL}")
    return dataclasses.replace(
        run,
        builds=(*run.builds, *builds, failed),
        guests=(*run.guests, *map(_guest, run.guests[:2])),
        tests=(*run.tests, *_tests()),
        metrics=(*run.metrics, *_metrics()),
        steps=(StepRecord(1, f"{EVIL} {ENDLESS}", *_LANE, 1.0, 1.0, False, "step.log", error=ENDLESS),),
        configs=(ConfigChange(*_LANE, ENDLESS, "y", f'"{EVIL}{ENDLESS}"'),),
        findings=_findings(),
        binaries=(_binary(),),
        mutants=tuple(_mutant(fate) for fate in Fate),
        lines=(
            ConsoleLine(*_LANE, Side.PATCHED, f"{ENDLESS}: {EVIL}", times=7, came=2, of=2),
            ConsoleLine(*_LANE, Side.BASE, f"{ENDLESS} gone", times=7, came=1, of=2, elsewhere=1),
        ),
        culprits=(_culprit(), dataclasses.replace(_culprit(), lanes=("arm64-fast",))),
        notes=(f"{EVIL} {ENDLESS}",),
    )


def _guest(guest: GuestRecord) -> GuestRecord:
    known = Known(EVIL, f"https://example.org/{ENDLESS}", "2030-01-01")
    splat = Splat("KASAN", f"{EVIL} in {ENDLESS}", f"BUG: {EVIL}\n", (f"{ENDLESS} mm/a.c:6",), "0" * 16, known=known)
    splats = (splat, dataclasses.replace(splat, known=None, fingerprint="1" * 16)) if guest.side is Side.PATCHED else ()
    return dataclasses.replace(
        guest, flavour="debug", console=f"{guest.side}/x86_64-debug/console.log", detail=ENDLESS, splats=splats
    )


def _tests() -> tuple[Change, ...]:
    return (
        change(f"debugged {EVIL}", kind=ChangeKind.FIXED, base=Outcome.FAIL, flavour="debug", suite="mm"),
        change(ENDLESS, patched=Outcome.CRASH, kind=ChangeKind.EXPOSED, flavour="debug", said=(EVIL, ENDLESS)),
    )


def _metrics() -> tuple[MetricPair, ...]:
    sides = (Samples((100.0, 101.0, 99.0, 100.0), (2, 2)), Samples((125.0, 126.0, 124.0, 125.0), (2, 2)))
    sure = Effect(1.25, 2, 1.2, 1.31, 0.04, EffectKind.MORE)
    more = Effect(None, 2, 4000.0, 6000.0, 12.0, EffectKind.MORE, 5000.0)
    return (
        MetricPair("mm", ENDLESS, "us", *_LANE, *sides, sure),
        MetricPair("mm", f"from zero {EVIL}", "faults", *_LANE, Samples((0.0,) * 4, (2, 2)), sides[1], more),
    )


def _findings() -> tuple[FindingRecord, ...]:
    new = FindingRecord("gcc", "-Wunused", "mm/a.c", 5, f"unused {ENDLESS} {EVIL}", *_LANE, FindingChange.NEW)
    more = tuple(dataclasses.replace(new, change=change) for change in FindingChange)
    return (*more, dataclasses.replace(new, tool=ENDLESS, kind=ENDLESS, file=f"mm/{ENDLESS}.h", message=EVIL))


def _binary() -> BinaryDiff:
    texts = (TextChange(ENDLESS, f"mm/{ENDLESS}.c", EVIL, None), TextChange(EVIL, "mm/a.h", ENDLESS, EVIL))
    sizes = (ByteChange(ENDLESS, f"mm/{ENDLESS}.o", 10, 20), ByteChange(EVIL, "mm/a.o", None, 7))
    return BinaryDiff(
        *_LANE,
        f"only {ENDLESS} differs",
        functions=sizes,
        frames=sizes,
        sections=sizes,
        structs=texts,
        exports=texts,
        constants=texts,
        uapi_problems=(UapiProblem(f"linux/{ENDLESS}.h", "g++", f"{EVIL} {ENDLESS}"),),
        notes=(f"{EVIL} {ENDLESS}",),
    )


def _mutant(fate: Fate) -> MutantRecord:
    return MutantRecord("mm/a.c", 5, "dropped statement", f"{ENDLESS}({EVIL})", *_LANE, fate, f"mm/{ENDLESS}")


def _culprit() -> Culprit:
    suspects = (Suspect(1, "a" * 40, f"{EVIL} {ENDLESS}"), Suspect(2, "b" * 40, "mm: another"))
    symptoms = (f"mm/{ENDLESS} {EVIL}",)
    return Culprit(symptoms, ("x86_64-debug",), suspects, 0.992, 3, 9, f"kdelta run {ENDLESS}", "bisect.log")
