"""The series as one diff, each changed line with what is known of it."""

import dataclasses
import re
from pathlib import Path

from orchestrator.model import (
    Fate,
    FindingChange,
    FindingRecord,
    LineCoverage,
    LineState,
    MutantRecord,
    Run,
    Side,
    Splat,
)
from orchestrator.publish import annotated, html, text, told
from tests.unit.runs import sample_run, with_strength, write_files

DIFF = """\
diff --git a/mm/a.c b/mm/a.c
index 1..2 100644
--- a/mm/a.c
+++ b/mm/a.c
@@ -4,4 +4,5 @@ int f(void)
 \tsame();
-\told();
+\tnew(<script>alert(1)</script>);
+\tmore();
 \tsame();
\\ No newline at end of file
diff --git a/Documentation/a.rst b/Documentation/a.rst
--- a/Documentation/a.rst
+++ b/Documentation/a.rst
@@ -1 +1 @@
-old \x1b[2J
+new
"""


def covered() -> Run:
    def line(number: int, arch: str, state: LineState, side: Side = Side.PATCHED, **more) -> LineCoverage:  # type: ignore[no-untyped-def]
        return LineCoverage(side, arch, "fast", "mm/a.c", number, state, **more)

    by = {"(boot)": 2, "s/one": 1, "s/two": 1, "s/three": 1}
    return with_strength(
        "1 of 2 changed lines ran on both architectures; 1 on arm64 alone",
        coverage=(
            line(5, "x86_64", LineState.RAN, times=5, by=by, programs=4, taken=1, branches=2),
            line(5, "arm64", LineState.RAN, times=1),
            line(6, "x86_64", LineState.IDLE),
            line(6, "arm64", LineState.RAN),
            line(5, "x86_64", LineState.ABSENT, Side.BASE),
        ),
    )


def read(tmp_path: Path, diff: str = DIFF) -> annotated.Patch:
    (tmp_path / "series.diff").write_text(diff)
    return annotated.read(covered(), tmp_path, {lane: str(lane) for lane in html.digest.lanes(covered())}, {})


def found(change: FindingChange, line: int, arch: str = "arm64", **more: str) -> FindingRecord:
    fields = {"tool": "gcc", "kind": "-Wunused", "file": "mm/a.c", "message": "unused x<script>"} | more
    return FindingRecord(line=line, arch=arch, flavour="fast", change=change, **fields)


def spoken(run: Run) -> Run:
    """The run with something said of lines: 5 and 6 on patched, 5 on base, 7 on patched, which did not change."""
    survived, caught = (
        MutantRecord("mm/a.c", 6, "dropped statement", "more()", "arm64", "fast", fate) for fate in FATES
    )
    splat = Splat("WARNING", "in new()", "WARNING: in new()", ("new mm/a.c:5 [inline]", "f mm/a.c:7", "main"))
    guests = [dataclasses.replace(one, splats=(splat,)) if one.side is Side.PATCHED else one for one in run.guests]
    findings = (
        found(FindingChange.NEW, 5),
        found(FindingChange.NEW, 5, "x86_64"),
        found(FindingChange.GONE, 5, message="was here"),
        found(FindingChange.NEW, 5, file="mm/b.c"),
    )
    return dataclasses.replace(run, findings=findings, mutants=(survived, caught), guests=tuple(guests))


FATES = (Fate.SURVIVED, Fate.CAUGHT)


def test_what_was_said_of_a_line_stands_at_it_once_for_all_kernels_with_a_link_to_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "series.diff").write_text(DIFF)
    known = told.read(spoken(covered()))
    rows = annotated.read(spoken(covered()), tmp_path, {}, told.notes(known)).files[0].rows
    said = {
        (row.sign, row.patched or row.base): [(note.tag, note.words, note.where) for note in row.notes] for row in rows
    }
    both = ("patched x86_64-fast", "patched arm64-fast")
    assert said["+", 5] == [
        ("new", "gcc: unused x<script>", ("arm64-fast", "x86_64-fast")),
        ("WARNING", "in new()", both),
    ]
    assert said["-", 5] == [("gone", "gcc: was here", ("arm64-fast",))]
    assert said["+", 6] == [("survived", "dropped statement: more()", ("arm64-fast",))]
    assert said[" ", 7] == [("WARNING", "called from here: in new()", both)]


def test_a_line_in_which_a_fault_survived_has_a_tone_of_its_own_where_it_is_known_to_have_run(tmp_path: Path) -> None:
    (tmp_path / "series.diff").write_text(DIFF)
    run = spoken(covered())
    notes, lanes = told.notes(told.read(run)), {lane: str(lane) for lane in html.digest.lanes(run)}
    rows = annotated.read(run, tmp_path, lanes, notes).files[0].rows
    assert [(row.patched, row.tone) for row in rows if row.sign == "+"] == [(5, "ran"), (6, "survived")]
    uncounted = annotated.read(dataclasses.replace(run, coverage=()), tmp_path, lanes, notes).files[0].rows
    assert {row.tone for row in uncounted} == {""}


def test_every_note_leads_to_something_on_the_page_also_when_nothing_was_measured(tmp_path: Path) -> None:
    run = dataclasses.replace(spoken(covered()), coverage=())
    write_files(run, tmp_path)
    (tmp_path / "series.diff").write_text(DIFF)
    page = html.render(run, tmp_path)
    links = re.findall(r'href="#((?:finding|splat|mutant)-\w+)"', page)
    assert len(set(links)) > 5
    assert {link for link in links if page.count(f'id="{link}"') != 1} == set()
    assert "No colours" in page
    assert "unused x<script>" not in page


def test_the_second_of_two_that_are_alike_has_a_link_of_its_own_and_the_next_report_the_same_ones() -> None:
    run = dataclasses.replace(covered(), findings=(found(FindingChange.NEW, 5),) * 2)
    (first, _), (second, _) = told.read(run).findings
    assert first != second
    assert told.read(run) == told.read(run)


def test_each_changed_line_has_its_numbers_and_a_mark_for_each_lane(tmp_path: Path) -> None:
    patch = read(tmp_path)
    assert [file.name for file in patch.files] == ["mm/a.c", "Documentation/a.rst"]
    rows = patch.files[0].rows
    assert [(row.sign, row.base, row.patched, row.tone) for row in rows] == [
        ("@", None, None, ""),
        (" ", 4, 4, ""),
        ("-", 5, None, "absent"),
        ("+", None, 5, "ran"),
        ("+", None, 6, "part"),
        (" ", 6, 7, ""),
    ]
    assert rows[3].marks == (("ran", "ran 5 times, 1 of 2 ways"), ("ran", "ran 1 time"))
    assert rows[3].by == "s/one, s/three, s/two and 1 more"
    assert rows[4].marks == (("idle", "never ran"), ("ran", "ran"))


def test_the_report_shows_the_patch_and_escapes_what_it_holds(tmp_path: Path) -> None:
    write_files(covered(), tmp_path)
    (tmp_path / "series.diff").write_text(DIFF)
    page = html.render(covered(), tmp_path)
    assert page.count("1 of 2 changed lines ran on both architectures") == 3
    assert "new(&lt;script&gt;" in page
    assert "never ran" in page
    assert "\x1b" not in page


def test_of_a_diff_without_end_what_is_known_of_comes_first_and_what_is_not_shown_is_counted(tmp_path: Path) -> None:
    def new(name: str, lines: int, text: str) -> str:
        return f"diff --git a/{name} b/{name}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{lines} @@\n" + text * lines

    patch = read(tmp_path, new("CREDITS", 4000, "+x\n") + DIFF)
    assert [file.name for file in patch.files] == ["mm/a.c", "CREDITS"]
    assert patch.left_out == sum(len(file.rows) for file in read(tmp_path).files) + 4001 - annotated.MOST_LINES
    patch = read(tmp_path, new("CREDITS", 4000, f"+{'x' * 2047}\n"))
    assert sum(len(file.rows) for file in patch.files) + patch.left_out == 4002  # half of one is shown


def test_without_a_diff_there_is_no_patch_to_show(tmp_path: Path) -> None:
    assert 'id="patch"' not in html.render(sample_run(), tmp_path)
    assert annotated.read(covered(), tmp_path, {}, {}) == annotated.Patch()


def test_the_sentence_stands_below_the_verdict_in_the_text() -> None:
    lines = text.summary(covered(), None).splitlines()
    assert lines[1] == "  1 of 2 changed lines ran on both architectures; 1 on arm64 alone"
