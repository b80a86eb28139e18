"""The campaign of seeded changes: entries are well formed, and what kdelta says is held against their answers."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import compare, entry, ledger, play, table
from benchmarks.accuracy.__main__ import DOC
from benchmarks.accuracy.compare import Mark, Marked
from benchmarks.accuracy.entry import Entry
from benchmarks.accuracy.ledger import Row
from kvm.arch import DEFAULT
from kvm.errors import UserError
from orchestrator.trial.suites import compiled, suite

PATCH = "From: A <a@example.org>\nSubject: [PATCH] mm: change\n\n---\n"


@pytest.fixture
def make_entry(tmp_path: Path) -> Any:
    def make(answer: str, patches: int = 1, name: str = "entry") -> Entry:
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        for number in range(1, patches + 1):
            (where / f"{number:04d}-change.patch").write_text(PATCH)
        (where / "answer.yaml").write_text(answer)
        return entry.load(where)

    return make


def record(verdict: str, **parts: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        part: [] for part in ("builds", "steps", "guests", "tests", "findings", "lines", "binaries", "timeline")
    }
    return {"verdict": {"value": verdict}, "status": "done", "wall_seconds": 1.0} | empty | parts


def row(name: str, change: str, expected: str | None = None) -> dict[str, Any]:
    return {"suite": "mm", "name": name, "arch": "arm64", "change": change, "expected": expected}


def mark(one: Entry, verdict: str, boots: int = 0, **parts: Any) -> Marked:
    return compare.mark(one, ["arm64"], record(verdict, **parts), boots)


BREAKS = "what: it breaks\neffect: breaks\nmust: {verdict: [regressed], tests: {mm: [maps, locks]}}\n"
NOTHING = "what: nothing\neffect: nothing\nmust: {verdict: [clean]}\n"


def test_the_corpus_holds_what_its_answers_say() -> None:
    entries = entry.all_entries()
    effects = [one.answer.effect for one in entries]
    assert effects.count("breaks") >= 40
    assert effects.count("nothing") >= 20
    for one in entries:
        assert all(patch.read_text().startswith("From ") for patch in one.patches)


def test_a_metric_must_have_become_worse_as_its_suite_says(make_entry: Any) -> None:
    slower = make_entry("what: slow\neffect: breaks\nmust: {verdict: [regressed], metrics: [bench/t]}\n")
    metric = {"suite": "bench", "name": "t", "arch": "arm64", "worse": "more"}
    seen = [{**metric, "effect": effect} for effect in (None, {"kind": "same"}, {"kind": "more"})]
    marks = [mark(slower, "regressed", metrics=[one]) for one in seen]
    assert [one.mark for one in marks] == [Mark.HALF, Mark.HALF, Mark.FOUND]
    assert marks[0].lacks == ("arm64: bench/t did not become worse",)


@pytest.mark.parametrize("arch", DEFAULT)
def test_the_suites_of_the_campaign_compile(arch: str, tmp_path: Path) -> None:
    for directory in entry.SUITES.glob("*/suite.yaml"):
        assert compiled.program(suite.load(directory.parent), arch, tmp_path).stat().st_size


def test_found_is_what_names_every_test_that_broke(make_entry: Any) -> None:
    broken = make_entry(BREAKS)
    both = [row("maps", "regressed"), row("locks", "same", expected="fixed"), row("other", "same")]
    assert mark(broken, "regressed", tests=both).mark is Mark.FOUND
    half = mark(broken, "regressed", tests=[both[0], row("locks", "same")])
    assert (half.mark, half.lacks) == (Mark.HALF, ("arm64: not told of mm: locks",))
    assert mark(broken, "clean", tests=[row("maps", "same")]).mark is Mark.MISSED
    assert mark(broken, "inconclusive").mark is Mark.UNDECIDED


def test_the_culprit_is_right_if_that_patch_alone_is_named(make_entry: Any) -> None:
    series = make_entry(f"{BREAKS}culprit: 2\nafter: madv-dontneed-locked\n", patches=3)

    def named(*numbers: int) -> Marked:
        suspects = [{"number": number} for number in numbers]
        return mark(series, "regressed", culprits=[{"suspects": suspects, "builds": 3}])

    assert (named(4).culprit, named(4).named, named(4).builds) == (True, "2", 3)
    assert (named(4, 5).culprit, named(4, 5).named) == (False, "2 or 3")
    assert mark(series, "regressed", culprits=[]).culprit is False
    broken = mark(series, "regressed", steps=[{"number": 3, "error": ""}, {"number": 4, "error": "no"}])
    assert (broken.culprit, broken.named) == (True, "2")
    assert mark(series, "unmet", culprits=[]).culprit is None


GROWS = "what: it grows\neffect: breaks\nmust: {verdict: [clean, regressed, inconclusive], lines: [grown]}\n"


def test_culprits_are_counted_by_the_length_of_the_series_with_the_most_builds_that_are_known(make_entry: Any) -> None:
    long, short = (make_entry(f"{BREAKS}culprit: 2\n", patches=count, name=f"of-{count}") for count in (8, 3))

    def found(one: Entry, number: int, builds: int | None) -> Row:
        culprit = {"suspects": [{"number": number}], "builds": builds or 0}
        marked = mark(one, "regressed", culprits=[culprit])
        return Row(replace(marked, builds=builds), "1", date(2026, 1, 2))

    rows = [found(long, 2, 4), found(long, 3, 3), found(long, 2, None), found(short, 2, None)]
    page = table.render(rows, [long, short])
    assert f"| 8 patches | {table.interval(2, 3)} | 4 | 2 of 3 |" in page
    assert f"| 3 patches | {table.interval(1, 1)} | not kept | 0 of 1 |" in page


def test_what_was_said_without_an_alarm_is_told_and_what_is_inconclusive_undecided(make_entry: Any) -> None:
    one, line = make_entry(GROWS), {"arch": "arm64", "side": "patched", "words": "it has grown"}
    said = [mark(one, verdict, lines=[line]) for verdict in ("regressed", "clean", "inconclusive")]
    marked = [*said, mark(one, "clean")]
    assert [each.mark for each in marked] == [Mark.FOUND, Mark.TOLD, Mark.UNDECIDED, Mark.MISSED]
    page = table.render([Row(each, "1", date(2026, 1, 2)) for each in marked], [one])
    assert "| breaks something | 1 | 1 | 0 | 1 | 1 |" in page
    assert f"| an alarm was raised | {table.interval(1, 4)} |" in page
    assert f"| told, and left to the reader | {table.interval(1, 4)} |" in page
    assert f"| either of them | {table.interval(2, 4)} |" in page


def test_a_row_of_the_ledger_is_worth_what_its_answer_is_worth_today(make_entry: Any, tmp_path: Path) -> None:
    one, path = make_entry(GROWS), tmp_path / "ledger.jsonl"
    told = replace(mark(one, "clean"), mark=Mark.FOUND, lacks=())
    lost = compare.mark(one, ["x86_64"], "disk full")
    ledger.write([Row(each, "1", date(2026, 1, 2)) for each in (told, lost)], path)
    assert [row.marked.mark for row in ledger.read([one], path)] == [Mark.TOLD, Mark.NO_ANSWER]


def test_an_alarm_where_nothing_changed_is_a_false_one(make_entry: Any) -> None:
    harmless = make_entry(NOTHING)
    assert mark(harmless, "clean").mark is Mark.QUIET
    assert mark(harmless, "inconclusive").mark is Mark.UNDECIDED
    alarm = mark(harmless, "regressed", tests=[row("maps", "regressed"), row("locks", "same")])
    assert (alarm.mark, alarm.compared, alarm.wrong) == (Mark.ALARM, 2, 1)


def test_null_runs_are_counted_apart_from_harmless_patches_and_flaky_tests_among_their_own(make_entry: Any) -> None:
    flaky = [row("t1", "flaky-on-both"), row("t2", "undecided"), row("t3", "same"), row("t4", "regressed")]
    null = make_entry(NOTHING, name="null-shipped")
    of_chance = make_entry(f"{NOTHING}run: {{suites: [flaky]}}\n", name="null-flaky")
    patch = make_entry(NOTHING)
    marked = [
        mark(null, "clean", tests=[row("maps", "same")]),
        mark(of_chance, "inconclusive", tests=flaky),
        mark(of_chance, "clean", boots=2),  # as of a row that kept no count
        mark(patch, "clean", tests=[row("maps", "same")] * 2),
        mark(patch, "clean"),  # the same image: not a guest was booted
    ]
    page = table.render([Row(one, "1", date(2026, 1, 2)) for one in marked], [null, of_chance, patch])
    assert f"| tests called regressed in null runs | {table.interval(1, 5)} |" in page
    assert f"| flaky ones among them, in null runs | {table.interval(1, 4)} |" in page
    assert f"| tests called regressed under harmless patches | {table.interval(0, 2)} |" in page
    assert "| flaky ones among them, under harmless patches | nothing to count |" in page
    assert "not kept of 1 of 3 null runs, 0 of 2 harmless patches." in page


def test_rows_that_lack_the_boots_of_pairs_say_so(make_entry: Any, tmp_path: Path) -> None:
    whole, path = Row(mark(make_entry(NOTHING), "clean", boots=14), "1", date(2026, 1, 2)), tmp_path / "ledger.jsonl"
    ledger.write([whole], path)
    path.write_text(path.read_text().replace(', "all_boots": true', "").replace('"boots": 14', '"boots": 2'))
    [old] = ledger.read([whole.marked.entry], path)
    pages = [table.render([row], [row.marked.entry]) for row in (whole, old)]
    assert "| 14 | 1 | 2026-01-02 |" in pages[0]
    assert " 14 kernels booted" in pages[0]
    assert "| 2+ | 1 | 2026-01-02 |" in pages[1]
    assert "at least 2 kernels booted" in pages[1]


def test_what_no_suite_reaches_is_no_miss_and_a_run_without_a_record_is_no_answer(make_entry: Any) -> None:
    hidden = make_entry(
        "what: it leaks\neffect: breaks\nunreached: nobody looks\nmust: {verdict: [clean]}\n",
    )
    assert mark(hidden, "clean").mark is Mark.UNREACHED
    lost = compare.mark(hidden, ["arm64"], "exit 2: first\nError: disk full")
    assert (lost.mark, lost.said) == (Mark.NO_ANSWER, "Error: disk full")
    assert compare.mark(hidden, ["arm64"], record("clean") | {"verdict": None}).mark is Mark.NO_ANSWER


@pytest.mark.parametrize(
    ("must", "parts"),
    [
        (
            "{verdict: [regressed], reports: [{kind: warning, title: 'WARNING in .*'}]}",
            {"guests": [{"splats": [{"kind": "warning", "title": "WARNING in do_madvise"}]}]},
        ),
        ("{verdict: [regressed], guest: [panic]}", {"guests": [{"outcome": "panic"}]}),
        ("{verdict: [regressed], build: undeclared}", {"builds": [{"error": "mm/a.c:1: 'x' undeclared"}]}),
        ("{verdict: [regressed], steps: [2]}", {"steps": [{"number": 2, "error": "no"}]}),
        (
            "{verdict: [regressed], findings: [{kind: -Wunused-variable, file: mm/a.c}]}",
            {"findings": [{"kind": "-Wunused-variable", "file": "mm/a.c", "change": "new"}]},
        ),
        (
            "{verdict: [regressed], binary: {structs: ['struct .*']}}",
            {"binaries": [{"structs": [{"name": "struct a"}]}]},
        ),
    ],
)
def test_each_thing_that_must_be_said_is_looked_for(must: str, parts: dict[str, Any], make_entry: Any) -> None:
    one = make_entry(f"what: it breaks\neffect: breaks\nmust: {must}\n")
    here = {"side": "patched", "arch": "arm64", "outcome": "ok", "splats": [], "boot_seconds": 1.0, "error": None}
    lists = {"frames": [], "structs": [], "exports": [], "constants": []}
    whole = {name: [here | lists | found for found in rows] for name, rows in parts.items()}
    assert mark(one, "regressed", **whole).mark is Mark.FOUND
    elsewhere = {name: [found | {"arch": "x86_64", "error": None} for found in rows] for name, rows in whole.items()}
    assert mark(one, "regressed", **elsewhere).mark is Mark.HALF


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BREAKS.replace("effect: breaks", "effect: brakes"), ":2:1: effect: "),
        (BREAKS, "which of the 2 patches is it?"),
        (f"{BREAKS}culprit: 3\n", "which of the 2 patches is it?"),
        (f"{BREAKS}culprit: 1\nafter: no-such-series\n", "no series 'no-such-series'"),
        (f"{BREAKS}culprit: 1\ncolour: red\n", "unknown key 'colour'"),
    ],
)
def test_a_fault_of_an_answer_has_its_place(answer: str, words: str, make_entry: Any) -> None:
    with pytest.raises(UserError) as fault:
        make_entry(answer, patches=2)
    assert words in fault.value.message


def test_the_series_is_the_entry_behind_what_it_comes_after(make_entry: Any, tmp_path: Path) -> None:
    one = make_entry(f"{NOTHING}after: madv-dontneed-locked\nrun: {{suites: [flaky, madvise_locked]}}\n")
    play.lay_out(one, ["arm64"], tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "series").iterdir())
    assert [name[:4] for name in names] == ["0001", "0002", "1000", "expe"]
    pipeline = (tmp_path / "out" / "pipeline.yaml").read_text()
    assert f"{entry.SUITES / 'flaky'}" in pipeline
    assert "- madvise_locked\n" in pipeline


def test_a_run_with_a_verdict_is_kept_until_kdelta_or_the_entry_changes(make_entry: Any, tmp_path: Path) -> None:
    one, out = make_entry(NOTHING), tmp_path / "kept"
    assert play.kept(one, ["arm64"], out, "1") is None
    where = out / f"{one.name}@arm64"
    (where / "run").mkdir(parents=True)
    record_file = where / "run" / "run.json"
    record_file.write_text('{"verdict": null}')
    play.remember(one, where, "1")
    assert play.kept(one, ["arm64"], out, "1") is None
    record_file.write_text('{"verdict": 1}')
    assert play.kept(one, ["arm64"], out, "1") == {"verdict": 1}
    assert play.kept(one, ["arm64"], out, "2") is None
    assert play.kept(make_entry(NOTHING + "# other\n"), ["arm64"], out, "1") is None


def test_rates_have_exact_intervals_and_what_was_not_run_is_named(make_entry: Any) -> None:
    assert table.interval(0, 20) == "0 of 20 = 0.000 (0.000 to 0.168)"
    assert table.interval(0, 0) == "nothing to count"
    one = make_entry(NOTHING)
    rows = [Row(mark(one, verdict), "1", date(2026, 1, 2)) for verdict in ("clean", "regressed")]
    page = table.render(rows, [one])
    assert "| false alarms | 1 of 2 = 0.500 (0.013 to 0.987) | nothing to count | 1 of 2 = 0.500" in page
    assert f"Not run on x86_64 (1): {one.name}." in page
    assert "Not run on arm64" not in page
    assert "- 2026-01-02, kdelta 1: 2 entries" in page


def test_the_ledger_keeps_the_newest_of_each_entry_until_that_changes(make_entry: Any, tmp_path: Path) -> None:
    def row(day: int, *arches: str) -> Row:
        return Row(replace(mark(one, "clean"), arches=arches), "1", date(2026, 1, day))

    one, path = make_entry(NOTHING), tmp_path / "ledger.jsonl"
    assert ledger.read([one], path) == []
    kept = ledger.newest([row(1, "arm64"), row(2, "x86_64"), row(3, "x86_64", "arm64"), row(4, "arm64")])
    assert kept == [row(4, "arm64"), row(3, "x86_64", "arm64")]
    ledger.write(kept, path)
    assert ledger.read([one], path) == kept
    assert ledger.read([make_entry(NOTHING + "# other\n")], path) == []


def test_the_document_says_what_the_ledger_holds() -> None:
    known = entry.all_entries()
    assert DOC.read_text(encoding="utf-8").endswith(table.render(ledger.read(known), known))
