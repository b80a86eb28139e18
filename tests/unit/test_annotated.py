"""The series as one diff, each changed line with what is known of it."""

from pathlib import Path

from orchestrator.model import LineCoverage, LineState, Run, Side
from orchestrator.publish import annotated, html, text
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


def read(tmp_path: Path) -> annotated.Patch:
    (tmp_path / "series.diff").write_text(DIFF)
    return annotated.read(covered(), tmp_path, {lane: str(lane) for lane in html.digest.lanes(covered())})


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


def test_without_a_measurement_or_a_diff_there_is_no_patch_to_show(tmp_path: Path) -> None:
    assert 'id="patch"' not in html.render(sample_run(), tmp_path)
    assert annotated.read(covered(), tmp_path, {}) == annotated.Patch()


def test_the_sentence_stands_below_the_verdict_in_the_text() -> None:
    lines = text.summary(covered(), None).splitlines()
    assert lines[1] == "  1 of 2 changed lines ran on both architectures; 1 on arm64 alone"
