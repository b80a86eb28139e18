import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import (
    BinaryDiff,
    ChangeKind,
    Culprit,
    Effect,
    EffectKind,
    Evidence,
    Fate,
    FindingChange,
    FindingRecord,
    LineCoverage,
    LineState,
    MetricPair,
    MutantRecord,
    Outcome,
    Rate,
    RunStatus,
    Samples,
    Series,
    Side,
    Suspect,
    Verdict,
    VerdictValue,
)
from orchestrator.publish import clean, digest, excerpt, outline, text
from tests.unit.runs import change, sample_run

REPORT = Path("results/0412-madv-dontneed-locked/report.html")


def test_a_validated_run_says_verdict_reasons_counts_changes_metrics_and_report() -> None:
    assert (
        text.summary(sample_run(), REPORT)
        == """\
VALIDATED  mm: add MADV_DONTNEED_LOCKED
  - 3 of 3 declared tests fixed on x86_64 and arm64
  - no other test changed in 9 compared per arch
x86_64: 12 tests: 3 fixed, 9 same
arm64: 12 tests: 3 fixed, 9 same
fixed      madvise_locked/drops_locked_pages x86_64 arm64
fixed      madvise_locked/keeps_vm_locked x86_64 arm64
fixed      madvise_locked/refaults_zero_filled x86_64 arm64
metric     page_faults x86_64: 1,024 → 1,024 faults (x1.00)
metric     page_faults arm64: 1,024 → 1,024 faults (x1.00)
metric     mlock_1024_pages x86_64: 1,849 → 1,845 us (x1.00)
metric     mlock_1024_pages arm64: 1,849 → 1,845 us (x1.00)
metric     drop_1024_pages x86_64: — → 81.25 us (patched alone)
metric     drop_1024_pages arm64: — → 81.25 us (patched alone)
report: results/0412-madv-dontneed-locked/report.html
"""
    )


def test_changes_come_worst_first_and_an_unmet_one_says_what_was_declared() -> None:
    tests = (
        change("a.fixed", kind=ChangeKind.FIXED),
        change("b.flaky", kind=ChangeKind.FLAKY_ON_PATCHED),
        change("c.still_fails", "arm64", Outcome.FAIL, Outcome.FAIL, expected=ChangeKind.FIXED),
        change("d.broke", kind=ChangeKind.REGRESSED, expected=ChangeKind.FIXED),
    )
    lines = text.summary(sample_run(tests=tests, metrics=()), None).splitlines()
    assert lines[5:] == [
        "regressed  madvise_locked/d.broke x86_64 (fixed declared)",
        "unmet      madvise_locked/c.still_fails arm64 (fixed declared)",
        "flaky-on-patched madvise_locked/b.flaky x86_64",
        "fixed      madvise_locked/a.fixed x86_64",
    ]
    assert lines[4] == "arm64: 1 test: 1 same, 1 unmet"


def test_notes_follow_the_reasons_the_first_in_full_sight() -> None:
    notes = ("built without a sandbox, as --unsandboxed asked: " + "words " * 20, "sparse is not installed", "more")
    lines = text.summary(sample_run(notes=notes), None).splitlines()
    assert lines[2:6] == [
        "  - no other test changed in 9 compared per arch",
        "note: built without a sandbox, as --unsandboxed asked: words words words words …",
        "  ... and 2 more",
        "x86_64: 12 tests: 3 fixed, 9 same",
    ]
    assert text.summary(sample_run(notes=notes[1:2]), None).splitlines()[3] == "note: sparse is not installed"


def test_the_order_of_the_record_does_not_change_the_answer() -> None:
    run = sample_run()
    turned = dataclasses.replace(run, tests=run.tests[::-1], metrics=run.metrics[::-1], builds=run.builds[::-1])
    assert text.summary(turned, REPORT) == text.summary(run, REPORT)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"verdict": Verdict(VerdictValue.REGRESSED, ("x",))}, "REGRESSED  "),
        ({"verdict": Verdict(VerdictValue.UNMET, ("x",))}, "UNMET  "),
        ({"verdict": Verdict(VerdictValue.INCONCLUSIVE, ("x",))}, "INCONCLUSIVE  "),
        ({"verdict": None, "status": RunStatus.INTERRUPTED}, "INTERRUPTED  "),
    ],
)
def test_the_first_word_is_the_verdict_or_the_state_of_a_run_without_one(
    changes: dict[str, object], first: str
) -> None:
    assert text.summary(sample_run(**changes), None).startswith(first)


def test_a_huge_run_keeps_to_25_lines_of_80_columns_and_says_what_it_left_out() -> None:
    tests = [change(f"{'very_long_name_' * 9}{n}", kind=ChangeKind.REGRESSED, suite="s" * 50) for n in range(300)]
    metrics = [
        MetricPair("s" * 40, f"m{n}" * 20, "us", "x86_64", "fast", Samples(), Samples((1.0,))) for n in range(90)
    ]
    run = sample_run(
        tests=(*tests, *(change("one", arch, flavour=f"f{n}") for arch in ("x86_64", "arm64") for n in range(9))),
        metrics=tuple(metrics),
        binaries=tuple(BinaryDiff(arch, f"f{n}", "it grew " * 99) for arch in ("x86_64", "arm64") for n in range(9)),
        findings=tuple(
            FindingRecord("gcc", "-Wx", f"f{n}.c", n, "w" * 90, "arm64", "f0", FindingChange.NEW) for n in range(50)
        ),
        series=Series("t" * 300, ()),
        verdict=Verdict(VerdictValue.REGRESSED, tuple("because of many words " * 20 for _ in range(30)), "ran " * 99),
        notes=("left out " * 20,) * 9,
        mutants=tuple(MutantRecord("f.c", n, "k", "w" * 90, "arm64", "f0", Fate.SURVIVED) for n in range(50)),
        culprits=(Culprit(("it " * 50,), ("arm64-f0",), (Suspect(1, "a" * 40, "s" * 90),), 0.9, 1, 1, "kdelta", "log"),)
        * 9,
    )
    lines = text.summary(run, REPORT).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith("  ... and ")]) >= 7
    assert lines[0].endswith("…")
    assert lines[-1] == f"report: {REPORT}"


def test_hostile_words_stay_on_their_line_and_cannot_move_the_cursor() -> None:
    run = sample_run(
        tests=(change("\x1b[2J\u202eevil\nVALIDATED \udcff", kind=ChangeKind.REGRESSED),),
        verdict=Verdict(VerdictValue.REGRESSED, ("because\x1b]0;owned\x07 \x9b31mred",)),
        series=Series("title\r\nsecond\x07", ()),
    )
    answer = text.summary(run, REPORT)
    assert "regressed  madvise_locked/<U+202E>evil^JVALIDATED \\xff x86_64\n" in answer
    assert "  - because red\n" in answer
    assert answer.startswith("REGRESSED  title^Jsecond^G\n")
    answer.encode()


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1bPq#0\x1b\\\x1b(B\x1bcafter", "after"),
        ("\x1b]0;never ends\nnext line", "^[]0;never ends\nnext line"),
        ("\x1b\x1b[m[2J", "^[[2J"),
        ("line\r\n\r\r\nover\rwrite", "line\n\nover^Mwrite"),
        ("\x00\x08\x7f\x85", "^@^H^?<U+0085>"),
        ("\u202egnp.exe\u2066\u200b\ufeff\u2028", "<U+202E>gnp.exe<U+2066><U+200B><U+FEFF><U+2028>"),
        ("\udcff\ud800", "\\xff<U+D800>"),
        ("żółć → 日本", "żółć → 日本"),
    ],
)
def test_printable_drops_escapes_and_shows_controls(given_text: str, shown: str) -> None:
    assert clean.printable(given_text) == shown


@given(st.text(st.characters(codec=None), max_size=300) | st.text("\x1b\x9b\x90[]P;0m\\\x07\r\na", max_size=60))
def test_whatever_comes_in_nothing_that_acts_comes_out(raw: str) -> None:
    shown = clean.printable(raw)
    assert all(character in "\n\t" or character.isprintable() or ord(character) > 0x9F for character in shown)
    assert clean.printable(shown) == shown
    assert "\n" not in clean.line(raw)
    shown.encode()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", ["\r", "\x1b]", "\x90", "\x1b[0;", "a1", "1", "fx", "[ 1.1] "])
def test_a_flood_made_to_match_nothing_costs_no_time(piece: str) -> None:
    flood = piece * 200_000 + "!"
    assert excerpt.same_message(clean.printable(flood)).endswith("!")


@pytest.mark.parametrize(
    ("value", "state", "more"),
    [
        (VerdictValue.CLEAN, LineState.IDLE, " (1 changed line never ran)"),
        (VerdictValue.VALIDATED, LineState.ABSENT, " (1 changed line never ran)"),
        (VerdictValue.CLEAN, LineState.UNCOUNTED, ""),
        (VerdictValue.REGRESSED, LineState.IDLE, ""),
    ],
)
def test_a_good_answer_says_in_its_heading_what_never_ran(value: VerdictValue, state: LineState, more: str) -> None:
    lines = [LineCoverage(Side.PATCHED, "arm64", "coverage", "mm/a.c", at, LineState.RAN) for at in (1, 2)]
    other = dataclasses.replace(lines[0], line=3, state=state)
    run = sample_run(verdict=Verdict(value, ("why",)), coverage=(*lines, other))
    word, title = f"{value.value.upper()}{more}", run.series.title
    assert outline.headline(run) == f"{word}: {title}"
    assert text.summary(run, None).startswith(f"{word}  {title[:30]}")


@pytest.mark.parametrize("value", [40.0, None])
def test_rates_of_whatever_was_run_again_stand_below_it_with_their_intervals(value: float | None) -> None:
    evidence = Evidence(Rate(0, 6, 0.0, 0.6), Rate(6, 6, 0.4, 1.0), value)
    test = change("broke", kind=ChangeKind.FLAKY_ON_PATCHED, evidence=evidence, earlier="failed 3 of 40 times before")
    said = text.summary(sample_run(tests=(test,), metrics=()), None)
    assert (
        "madvise_locked/broke x86_64\n"
        "  failed 0 of 6 (0..60 %) on base, 6 of 6 (40..100 %) on patched; failed 3 of 40\n"
        "    times before\n"
    ) in said


def test_what_is_fixed_on_both_architectures_is_one_line_whatever_each_of_them_showed_before() -> None:
    evidence = Evidence(Rate(1, 1, 0.02, 1.0), Rate(0, 1, 0.0, 0.98), None)
    fixed = [
        change(
            "mends", arch=arch, kind=ChangeKind.FIXED, evidence=evidence, earlier=f"failed {count} of 99 times before"
        )
        for arch, count in (("x86_64", 36), ("arm64", 93))
    ]
    said = text.summary(sample_run(tests=tuple(fixed), metrics=()), None)
    assert "fixed      madvise_locked/mends x86_64 arm64\n" in said
    assert "36 of 99" not in said


def test_where_both_sides_fail_the_rates_are_of_patched_s_failure_and_say_so() -> None:
    fails = {"base": Outcome.FAIL, "patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED}
    evidence = Evidence(Rate(0, 5, 0.0, 0.62), Rate(5, 5, 0.38, 1.0), 21.0)
    test = change("broke", evidence=evidence, **fails)
    words = "failed this way 0 of 5 (0..62 %) on base, 5 of 5 (38..100 %) on patched"
    assert digest.rates(test) == words
    assert f"\n  {words}\n" in text.summary(sample_run(tests=(test,), metrics=()), None)


def test_a_metric_says_between_what_and_from_which_part_on_it_would_have_been_seen() -> None:
    pair = dataclasses.replace(sample_run().metrics[0], name="m")
    effects = (Effect(1.25, 5, 1.2, 1.3, 0.04, EffectKind.MORE), Effect(1.25, 1))
    said = [text.summary(sample_run(metrics=(dataclasses.replace(pair, effect=one),)), None) for one in effects]
    assert "us (x1.25 in 1.20..1.30, sees 4 %)\n" in said[0]
    assert "us (x1.25, sees none)\n" in said[1]
