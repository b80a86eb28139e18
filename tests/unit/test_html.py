import base64
import dataclasses
import gzip
import hashlib
import random
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from orchestrator.model import (
    BinaryDiff,
    ByteChange,
    ChangeKind,
    ConfigChange,
    ConsoleLine,
    FindingChange,
    FindingRecord,
    GuestOutcome,
    Known,
    MetricPair,
    Observed,
    Outcome,
    Patch,
    Run,
    RunStatus,
    Samples,
    Series,
    Side,
    Splat,
    StepRecord,
    TextChange,
    UapiProblem,
    Verdict,
    VerdictValue,
)
from orchestrator.publish import excerpt, html
from orchestrator.publish.attach import Bag
from orchestrator.trial import stretch
from tests.unit.full import full_run
from tests.unit.runs import change, sample_run, write_files

EVIL = "<script>alert(1)</script>\x1b[2J\u202e\x00\udcff\"' onload=x"
CSS = (Path(html.__file__).parent / "page" / "report.css").read_text()


class Page(HTMLParser):
    """The text of each section, as a reader sees it, with every tag and attribute that was met."""

    VOID = frozenset({"meta", "link", "input", "col", "br"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = [("", "")]
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in self.VOID:
            place = (found.get("id") if tag == "section" else None) or self._open[-1][1]
            self._open.append((tag, place))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self._open[-1][0] not in ("script", "style"):
            self.sections.setdefault(self._open[-1][1], []).append(data)

    def text(self, section: str = "") -> str:
        """The words of one section, white space folded; of all without an id for ""."""
        return " ".join(" ".join(self.sections.get(section, ())).split())

    def links(self) -> list[str]:
        return [href for tag, found in self.tags if (href := found.get("href")) and tag == "a" and href[0] != "#"]


def page(run: Run, directory: Path) -> Page:
    """The written report, read back."""
    return Page(html.render(run, directory))


def test_the_first_screen_says_verdict_reasons_series_kernel_arches_and_counts(tmp_path: Path) -> None:
    first = page(sample_run(), tmp_path).text()
    assert "validated mm: add MADV_DONTNEED_LOCKED 3 of 3 declared tests fixed on x86_64 and arm64" in first
    assert "Kernel 5.10.223 from debian:linux-source-5.10" in first
    assert "Architectures x86_64 tcg , arm64 tcg" in first
    assert "Where Tests Regressed Infra Added Fixed Same Unmet x86_64 12 0 0 0 3 9 0" in first
    assert "2 patches mm: madvise: MADV_DONTNEED_LOCKED Ada Example <ada@example.org> mm/madvise.c" in first


def test_changes_are_merged_over_arches_and_show_both_outputs(tmp_path: Path) -> None:
    changes = page(sample_run(), tmp_path).text("tests")
    row = "fixed madvise_locked/ drops_locked_pages # x86_64, arm64 fail pass fixed: as declared"
    assert f"{row} open of drops_locked_pages" in changes
    assert "base arm64: fail # mmap 16 pages" in changes
    assert "madvise: Invalid argument not ok 1 drops_locked_pages patched arm64: pass" in changes


def test_lines_that_only_one_side_has_are_marked(tmp_path: Path) -> None:
    source = page(sample_run(), tmp_path).source
    assert "<mark>madvise: Invalid argument\nnot ok 1 drops_locked_pages\n</mark>" in source
    assert "<mark># mmap" not in source


@pytest.mark.parametrize(
    ("value", "exit_code"),
    [("regressed", 1), ("unmet", 1), ("inconclusive", 125), ("validated", 0), ("clean", 0)],
)
def test_every_verdict_has_word_icon_and_exit(value: str, exit_code: int, tmp_path: Path) -> None:
    run = sample_run(verdict=Verdict(VerdictValue(value), ("first reason", "second reason")))
    report = page(run, tmp_path)
    assert f"{value} mm: add MADV_DONTNEED_LOCKED first reason second reason" in report.text()
    assert f"exit {exit_code}" in report.text()
    assert next(found["aria-hidden"] for tag, found in report.tags if tag == "svg") == "true"


@pytest.mark.parametrize(
    ("status", "word"),
    [(RunStatus.RUNNING, "running"), (RunStatus.INTERRUPTED, "interrupted"), (RunStatus.DONE, "not judged")],
)
def test_a_run_without_a_verdict_is_a_report_too(status: RunStatus, word: str, tmp_path: Path) -> None:
    run = sample_run(
        status=status, verdict=None, finished=None, wall_seconds=None,
        builds=(), guests=(), tests=(), metrics=(), timeline=(),
    )  # fmt: skip
    report = page(run, tmp_path)
    assert f"{word} mm: add MADV_DONTNEED_LOCKED the run has no verdict yet" in report.text()
    assert ("exit 125" in report.text()) == (status is not RunStatus.RUNNING)
    said = {"tests": "No test was compared.", "metrics": "No metric was measured.", "builds": "Nothing was built."}
    assert all(sentence in report.text(section) for section, sentence in said.items())
    assert "Finished —" in report.text("environment")


def test_an_unmet_declaration_is_shown_though_nothing_changed(tmp_path: Path) -> None:
    still = change("still_fails", "arm64", Outcome.FAIL, Outcome.FAIL, expected=ChangeKind.FIXED)
    report = page(sample_run(tests=(still,)), tmp_path)
    assert "same madvise_locked/ still_fails # arm64 fail fail fixed: unmet" in report.text("tests")
    assert "arm64 1 0 0 0 0 1 1" in report.text()


def test_a_run_without_a_change_says_of_how_many(tmp_path: Path) -> None:
    report = page(sample_run(tests=tuple(change(f"t{n}") for n in range(7))), tmp_path)
    assert "None of 7 results differs between base and patched." in report.text("tests")


def test_a_test_that_one_arch_or_one_side_lacks_stays_in_the_table(tmp_path: Path) -> None:
    tests = (
        change("only_here", "x86_64"),
        change("gone", "arm64", Outcome.PASS, Outcome.MISSING, ChangeKind.REMOVED),
    )
    shown = page(sample_run(tests=tests, metrics=()), tmp_path).text("tests")
    assert "same pass pass x86_64 madvise_locked only_here" in shown
    assert "removed madvise_locked/ gone # arm64 pass missing" in shown


def test_a_name_that_occurs_twice_in_a_suite_is_shown_twice(tmp_path: Path) -> None:
    tests = (change("twin"), change("twin", base=Outcome.FAIL, patched=Outcome.FAIL))
    shown = page(sample_run(tests=tests), tmp_path).text("tests")
    assert "same pass pass x86_64 madvise_locked twin same fail fail x86_64 madvise_locked twin" in shown


def test_repeats_that_disagree_are_counted_and_listed(tmp_path: Path) -> None:
    flaky = dataclasses.replace(
        change("stress", kind=ChangeKind.FLAKY_ON_PATCHED),
        base=Observed(Outcome.FAIL, "boom", (Outcome.PASS, Outcome.FAIL, Outcome.PASS)),
    )
    changes = page(sample_run(tests=(flaky,)), tmp_path).text("tests")
    assert "flaky-on-patched madvise_locked/ stress # x86_64 fail 1 of 3 pass" in changes
    assert "base x86_64: pass fail pass boom" in changes


def test_metrics_show_median_range_n_ratio_and_a_missing_side_as_a_dash(tmp_path: Path) -> None:
    shown = page(sample_run(), tmp_path).text("metrics")
    assert "mm/ mlock_1024_pages x1.00 x86_64 us time 1,849 [1,840 .. 1,866] 5 1,845 [1,840 .. 1,871] 5" in shown
    assert "madvise_locked/ drop_1024_pages — patched alone arm64 us time — 0 81.25 [79.4 .. 84] 3" in shown


def test_each_metric_has_a_plot_in_the_page_s_colours_and_the_same_by_boot_in_a_table(tmp_path: Path) -> None:
    report = page(sample_run(), tmp_path)
    plots = re.findall(r'<svg viewBox="[^"]+" class="plot".*?</svg>', report.source, re.DOTALL)
    assert len(plots) == 7
    assert all("var(--patched)" in plot and "style" not in plot for plot in plots)
    assert "1 1,843 3 1,845 3 x1.00 2 1,857 2 1,846 2 x0.99" in report.text("metrics")
    drawn = [found["id"] for _, found in report.tags if found.get("id")]
    assert len(drawn) == len(set(drawn))
    assert {link for plot in plots for link in re.findall(r"#([\w-]+)", plot)} <= set(drawn)


def test_a_unit_from_a_guest_is_text_in_a_plot_and_what_is_no_number_of_a_plot_breaks_nothing(tmp_path: Path) -> None:
    odd = Samples((0.0, -1.0, 1e300)), Samples((1e-300,) * 3)
    pairs = tuple(
        MetricPair("s", f"{EVIL}{n}", EVIL, "arm64", "fast", *both) for n, both in enumerate((odd, odd[::-1]))
    )
    report = page(sample_run(metrics=pairs), tmp_path)
    assert report.source.count('class="plot"') == 3
    assert "script" not in {tag for tag, found in report.tags if found.get("class") == "plot"}
    assert report.source.count("<script") == 1


@pytest.mark.parametrize(("unit", "value"), [("n\x01s", 1.0), ("n\ud800s", 1.0), ("ns", 1e308)])
def test_what_no_plot_can_hold_costs_nobody_the_report(tmp_path: Path, unit: str, value: float) -> None:
    odd = MetricPair("s", "m", unit, "arm64", "fast", Samples((value,)), Samples((-value,)))
    assert page(sample_run(metrics=(odd,)), tmp_path).source.count("<script") == 1


def test_lines_of_one_kernel_are_shown_as_words_with_their_boots(tmp_path: Path) -> None:
    said = ConsoleLine("arm64", "fast", Side.PATCHED, "madvise: <script>alert(1)</script>", times=7, came=2, of=6)
    gone = dataclasses.replace(said, side=Side.BASE, words="old words", came=6)
    more = dataclasses.replace(said, words="often", times=1200, elsewhere=3)
    report = page(dataclasses.replace(sample_run(), lines=(gone, said, more)), tmp_path)
    shown = report.text("lines")
    assert "new madvise: <script>alert(1)</script> # arm64-fast 2 of 6 7 0 more often # arm64-fast" in shown
    assert "2 of 6 1200 3 gone" in shown
    assert "gone old words # arm64-fast 6 of 6 7 0" in shown
    assert "1 console line that one side alone says, or far more often, in every boot" in report.text()
    assert "Neither kernel says" in page(sample_run(), tmp_path).text("lines")


def test_builds_show_time_hash_noop_error_and_link_only_to_logs_that_exist(tmp_path: Path) -> None:
    run = sample_run()
    cached = {"ccache_hits": 107, "ccache_asked": 110, "ccache_saved_cpu_seconds": 40.0}
    built, failed = dataclasses.replace(run.builds[1], noop=True, cached=True, **cached), run.builds[3]
    failed = dataclasses.replace(failed, image_sha256=None, error="mm/madvise.c:812: error: <nope>", log="gone.log")
    run = dataclasses.replace(run, builds=(run.builds[0], built, failed))
    write_files(run, tmp_path)
    (tmp_path / "gone.log").unlink()
    report = page(run, tmp_path)
    assert "base/x86_64-fast built 4 min 31 s 8 min 6 s — no no 9f2c41d07be8 build.log" in report.text("builds")
    ccache = "107 of 110; at least 40 s of CPU time saved"
    assert f"patched/x86_64-fast built 12 s 19 s {ccache} yes no-op 41aa07c3d95e" in report.text("builds")
    assert "error mm/madvise.c:812: error: <nope> 12 s 19 s — no no — build.log not kept" in report.text("builds")
    assert "the series leaves the image identical: patched/x86_64-fast" in report.text()
    assert "./base/x86_64-fast/build.log" in report.links()
    assert "./gone.log" not in report.links()


def test_guests_show_accelerator_and_why_boot_outcome_splats_and_console(tmp_path: Path) -> None:
    run = sample_run()
    splat = Splat(
        "KASAN", "slab-use-after-free in foo", "BUG: KASAN: slab-use-after-free in foo+0x1/0x2\nCall Trace:\n"
    )
    broken = dataclasses.replace(
        run.guests[1], outcome=GuestOutcome.PANIC, boot_seconds=None, detail="panicked at boot", splats=(splat,)
    )
    run = dataclasses.replace(run, guests=(run.guests[0], broken))
    write_files(run, tmp_path)
    report = page(run, tmp_path)
    guests = report.text("guests")
    assert "patched/x86_64-fast panic panicked at boot — tcg /dev/kvm opens, but no kernel printed a line" in guests
    assert "KASAN slab-use-after-free in foo BUG: KASAN: slab-use-after-free in foo+0x1/0x2 Call Trace:" in guests
    assert "Splats 0 on base, 1 on patched" in report.text()
    assert "base x86_64: ok [ 0.010000] Linux version" in guests
    assert "patched x86_64: panic [ 0.010000] Linux version" in guests
    assert "./patched/x86_64-fast/console.log" in report.links()


def test_a_splat_shows_its_frames_how_often_it_came_and_why_it_is_known(tmp_path: Path) -> None:
    run = sample_run()
    frames = ("inner mm/a.c:3 [inline]", "middle mm/a.c:9")
    known = Known("being <fixed>", "https://example.org/1", "2030-01-01", since="v6.12")
    splat = Splat("warning", "WARNING in middle", "the report\n", frames, "0" * 16, times=3, left_out=7, known=known)
    guest = dataclasses.replace(run.guests[0], splats=(splat,), more_splats=4)
    report = page(dataclasses.replace(run, guests=(guest,)), tmp_path)
    assert (
        "known warning WARNING in middle 3 times being <fixed> since v6.12, https://example.org/1, until 2030-01-01 "
        "inner mm/a.c:3 [inline] middle mm/a.c:9 the report 7 more lines on the console link to this report "
        "4 more on the console"
    ) in report.text("guests")
    assert "Splats 7 on base, 0 on patched" in report.text()


def test_a_report_of_the_kernel_that_base_gives_too_is_nothing_to_read_first(tmp_path: Path) -> None:
    run, old, new = sample_run(), Splat("warning", "WARNING in old", "w\n"), Splat("BUG", "BUG in new", "b\n")

    def shown(*of_patched: Splat, base: GuestOutcome = GuestOutcome.OK) -> tuple[list[str], bool]:
        guests = (
            dataclasses.replace(run.guests[0], splats=(old,), outcome=base),
            dataclasses.replace(run.guests[1], splats=of_patched),
        )
        report = page(dataclasses.replace(run, guests=guests), tmp_path)
        tags = re.findall(r'class="tag (is-\w+)">(?:warning|BUG)<', report.source)
        return tags, "Read what the patched kernel reported" in report.text()

    assert shown(old) == (["is-same", "is-same"], False)
    assert shown(old, new) == (["is-same", "is-same", "is-regressed"], True)
    assert shown(new, base=GuestOutcome.LOST) == (["is-same", "is-same"], False)


def test_a_console_line_is_not_new_because_its_time_or_numbers_differ(tmp_path: Path) -> None:
    run = sample_run()
    write_files(run, tmp_path)
    source = page(run, tmp_path).source
    assert "<mark>[    0.080000] madvise: 16 locked pages dropped\n</mark>" in source
    assert "Memory: 488120K" in source
    assert not re.search(r"<mark>[^<]*Memory: ", source)


def test_a_long_console_shows_its_last_64_kib_and_says_so(tmp_path: Path) -> None:
    run = sample_run()
    run = dataclasses.replace(run, guests=run.guests[:1])
    lines = "".join(f"line {number:06} of the flood\n" for number in range(10_000))
    write_files(run, tmp_path, console=f"the very first\n{lines}the very last\n")
    length = (tmp_path / run.guests[0].console).stat().st_size
    report = page(run, tmp_path)
    assert f"the last 64.0 KiB of {length / 1024:.1f} KiB; the file has all of it" in report.text("guests")
    assert "the very last" in report.text("guests")
    assert "the very first" not in report.source
    assert report.text("guests").count("of the flood") < 3000


def test_a_console_outside_the_run_directory_or_gone_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("do not show me")
    directory = tmp_path / "run"
    directory.mkdir()
    run = sample_run()
    guests = (dataclasses.replace(run.guests[0], console="../secret"), run.guests[1])
    report = page(dataclasses.replace(run, guests=guests), directory)
    assert "do not show me" not in report.source
    assert report.text("guests").count("no console was kept") == 2
    assert report.links() == []


def test_long_outputs_are_cut_at_their_start_and_past_the_report_s_room_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "".join(f"step {number}\n" for number in range(5_000))
    fixed = {"base": Outcome.FAIL, "kind": ChangeKind.FIXED}
    report = page(sample_run(tests=(change("long", **fixed, said=(words, "short\n")),)), tmp_path)
    assert "the last 16.0 KiB of 47.7 KiB; run.json has all of it" in report.text("tests")
    assert "step 4999" in report.source
    assert "step 7\n" not in report.source
    tests = tuple(change(f"t{number:04}", **fixed, said=("x" * 16_000, "y" * 16_000)) for number in range(200))
    report = page(sample_run(tests=tests), tmp_path)
    assert "not shown: this report holds its fill of long texts" in report.text("tests")
    assert len(report.source) < excerpt.OUTPUTS_ROOM * 1.5


def test_boot_times_and_images_stand_side_by_side_with_the_change_and_a_missing_one_as_a_dash(tmp_path: Path) -> None:
    builds = page(sample_run(), tmp_path).text("builds")
    assert "x86_64 boot 2.30 s 2.30 s none" in builds
    assert "x86_64 image 7,000,000 bytes 7,004,096 bytes +4,096 bytes (+0.059 %)" in builds
    assert "arm64 image — 7,004,096 bytes" in builds


def test_the_timeline_says_what_waited_for_what_and_how_many_cores_worked(tmp_path: Path) -> None:
    timeline = page(sample_run(), tmp_path).text("timeline")
    assert "On the average 1.2 of 2 cores worked" in timeline
    assert "test patched/arm64-fast build patched/arm64-fast 8 min 46 s 21 s 4.2 s" in timeline
    assert "cores worked" not in page(sample_run(busy=()), tmp_path).text("timeline")


def test_timeline_environment_and_the_commands_to_repeat_it(tmp_path: Path) -> None:
    report = page(sample_run(), tmp_path)
    assert "build base/x86_64-fast 9.4 s 4 min 31 s build patched/x86_64-fast 4 min 40 s 12 s" in report.text(
        "timeline"
    )
    assert "CPUs 2 QEMU qemu-system-x86_64 7.2.22 QEMU qemu-system-aarch64 7.2.22 Compiler gcc" in report.text(
        "environment"
    )
    assert "Accelerator arm64 tcg the host is x86_64" in report.text("environment")
    repeat = report.text("repeat")
    assert "kdelta run --series patches/madv-dontneed-locked --title 'two words'" in repeat
    assert f"{tmp_path}/base/x86_64-fast/qemu.sh {tmp_path}/patched/x86_64-fast/qemu.sh" in repeat


def test_the_files_that_repeat_a_run_are_in_its_report_by_the_names_they_call_each_other(tmp_path: Path) -> None:
    assert "kdelta run --pipeline" not in page(sample_run(), tmp_path).text("repeat")
    (tmp_path / "series").mkdir()
    for name in ("pipeline.yaml", "series.diff", "series/expect.yaml", "reproduce.sh"):
        (tmp_path / name).write_text("words\n")
    report = page(sample_run(command=("kdelta", "nightly")), tmp_path)
    assert (
        "unpacked: pipeline.yaml .gz , series.diff .gz , series/expect.yaml .gz , reproduce.sh .gz "
        "kdelta run --pipeline pipeline.yaml --out again It was started as: kdelta nightly"
    ) in report.text("repeat")
    saved = {str(found.get("download")) for _, found in report.tags}
    assert {"pipeline.yaml.gz", "series.gz", "expect.yaml.gz", "reproduce.sh.gz"} <= saved


def test_what_is_to_be_measured_next_is_the_series_of_this_run(tmp_path: Path) -> None:
    report = page(sample_run(), tmp_path)
    assert f"kdelta run --pipeline {tmp_path}/pipeline.yaml --flavour coverage" in report.text()


def _hostile(run: Run) -> Run:
    """The run with a hostile word wherever a word comes from outside."""
    tests = (
        change(
            EVIL, EVIL, Outcome.PASS, Outcome.FAIL, ChangeKind.REGRESSED, suite=EVIL, flavour=EVIL, said=(EVIL, EVIL)
        ),
        change(EVIL, suite=EVIL, said=(EVIL, "")),
    )
    return dataclasses.replace(
        run,
        id=EVIL,
        started=EVIL,
        finished=EVIL,
        command=("kdelta", EVIL),
        series=Series(EVIL, (Patch(EVIL, EVIL, (EVIL,)),)),
        kernel=dataclasses.replace(run.kernel, source=EVIL, release=EVIL, base_commit=EVIL),
        host=dataclasses.replace(run.host, qemu={EVIL: EVIL}, compilers={EVIL: EVIL}),
        builds=(dataclasses.replace(run.builds[0], arch=EVIL, image_sha256=EVIL, error=EVIL, log=EVIL),),
        guests=(
            dataclasses.replace(
                run.guests[0],
                arch=EVIL,
                accel=EVIL,
                detail=EVIL,
                console=EVIL,
                splats=(Splat(EVIL, EVIL, EVIL, (EVIL,), known=Known(EVIL, EVIL, EVIL)),),
            ),
        ),
        tests=tests,
        metrics=(dataclasses.replace(run.metrics[0], suite=EVIL, name=EVIL, unit=EVIL),),
        verdict=Verdict(VerdictValue.REGRESSED, (EVIL,)),
        timeline=(dataclasses.replace(run.timeline[0], task=EVIL),),
    )


def test_hostile_words_are_text_wherever_they_come_from(tmp_path: Path) -> None:
    report = page(_hostile(sample_run()), tmp_path)
    assert sum(tag == "script" for tag, _ in report.tags) == 1
    assert not any(name.startswith("on") for _, found in report.tags for name in found)
    shown = "<script>alert(1)</script><U+202E>^@\\xff\"' onload=x"
    sections = ("", "tests", "metrics", "builds", "guests", "timeline", "environment")
    assert [section for section in sections if shown not in report.text(section)] == []
    assert "kdelta '<script>alert(1)</script><U+202E>^@\\xff" in report.text("repeat")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", report.source)


def test_a_hostile_console_with_invalid_bytes_is_text(tmp_path: Path) -> None:
    run = sample_run()
    write_files(run, tmp_path, console="\udcff\udcfe \x1b[2J<script>alert(1)</script> \u202egnp\r\n")
    report = page(run, tmp_path)
    assert "\\xff\\xfe <script>alert(1)</script> <U+202E>gnp" in report.text("guests")
    assert sum(tag == "script" for tag, _ in report.tags) == 1


def test_only_this_style_and_script_may_run_and_nothing_leaves(tmp_path: Path) -> None:
    run = sample_run()
    write_files(run, tmp_path)
    report = page(run, tmp_path)
    policy = next(
        found["content"] for tag, found in report.tags if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", report.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in found or "src" in found for _, found in report.tags)
    assert all(link.startswith(("./", "data:application/gzip;base64,")) for link in report.links())
    assert "http:" not in report.source
    assert "https:" not in report.source


def test_tables_have_captions_headers_a_scope_and_ids_are_unique(tmp_path: Path) -> None:
    report = page(sample_run(), tmp_path)
    names = [tag for tag, _ in report.tags]
    assert names.count("table") == names.count("caption") == 13
    assert all("scope" in found for tag, found in report.tags if tag == "th")
    ids = [found["id"] for _, found in report.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert names.count("h1") == names.count("main") == names.count("nav") == 1


def _targets(report: Page) -> set[str]:
    """What links of the page lead to within it."""
    links = {found.get("href") or "" for tag, found in report.tags if tag == "a"}
    return {link[1:] for link in links if link.startswith("#")}


def test_what_a_link_leads_to_is_there_once_and_each_row_of_code_lines_and_culprits_has_one(tmp_path: Path) -> None:
    report = page(full_run(), tmp_path)
    ids = Counter(found["id"] for _, found in report.tags if found.get("id"))
    assert {name for name, times in ids.items() if times != 1} == set()
    assert _targets(report) - ids.keys() == set()
    rows = {"culprit": 2, "finding": 6, "splat": 2, "mutant": 5, "step": 1, "option": 1, "line": 2, "uapi": 1}
    parts = dict.fromkeys(("function", "frame", "section", "struct", "export", "constant"), 2)
    counts = Counter(re.sub(r"-\w{10}$", "", name) for name in _targets(report))
    assert {kind: counts[kind] for kind in rows | parts} == rows | parts


def test_the_next_report_of_what_a_run_found_has_the_same_links(tmp_path: Path) -> None:
    run = full_run()
    again = dataclasses.replace(run, id="again", findings=run.findings[::-1], lines=run.lines[::-1], timeline=())
    assert _targets(page(again, tmp_path)) == _targets(page(run, tmp_path))


def test_a_thousand_findings_have_a_link_each_and_the_rest_is_counted(tmp_path: Path) -> None:
    found = full_run().findings[0]
    many = tuple(dataclasses.replace(found, line=number) for number in range(1_010))
    report = page(sample_run(findings=many), tmp_path)
    assert sum(name.startswith("finding-") for name in _targets(report)) == 1_000
    assert "10 more are in run.json" in report.text("code")


def _luminance(colour: str) -> float:
    digits = "".join(digit * 2 for digit in colour) if len(colour) == 3 else colour
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_ink_has_contrast_on_every_ground_it_stands_on(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", blocks[scheme]))
    pairs = [
        *product(("ink", "quiet", "link", "good", "bad", "warn", "calm"), ("page", "sheet", "well")),
        *((tone, f"{tone}-bg") for tone in ("good", "bad", "warn", "calm")),
        *product(("ink",), ("mark", "good-bg", "bad-bg", "warn-bg", "calm-bg", "blind-bg")),
    ]
    for ink, ground in pairs:
        low, high = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{ink} on {ground}"


def test_what_differs_in_the_code_is_shown_with_hostile_words_as_text(tmp_path: Path) -> None:
    found = FindingRecord("gcc", "-Wx", EVIL, 3, EVIL, "x86_64", "fast", FindingChange.NEW)
    moved = dataclasses.replace(found, message="walked", change=FindingChange.MOVED)
    binary = BinaryDiff(
        "x86_64",
        "fast",
        f"only {EVIL} differs",
        functions=(ByteChange("grown", EVIL, 10, 20), ByteChange("added", "b.o", None, 7)),
        structs=(TextChange(EVIL, "a.h", "struct old", EVIL),),
        uapi_problems=(UapiProblem("linux/x.h", "g++", EVIL),),
        notes=(EVIL,),
    )
    step = StepRecord(1, EVIL, "x86_64", "fast", 1.0, 1.0, False, "patched/log", error=EVIL)
    option = ConfigChange("x86_64", "fast", "SWAP", "y", "n")
    run = sample_run(findings=(moved, found), binaries=(binary,), steps=(step,), configs=(option,), notes=(EVIL,))
    report = page(run, tmp_path)
    text = report.text("code")
    assert text.index("walked") > text.index("new")
    assert "<script>alert" not in report.source
    assert "\x1b" not in report.source
    assert "b.o — 7 new" in text
    assert "10 20 +10" in text
    for words in ("CONFIG_SWAP", "grown", "-Wx", "struct old", "Each patch"):
        assert words in text, words


def test_a_row_opens_the_words_of_both_consoles_around_it_and_the_reports_there(tmp_path: Path) -> None:
    run = sample_run()
    splat = Splat("WARNING", "at foo", "WARNING: CPU: 0 PID: 1 at foo\nCall Trace:")
    elsewhere = Splat("BUG", "at boot", "BUG: long before")
    guests = (run.guests[0], dataclasses.replace(run.guests[1], splats=(splat, elsewhere)), *run.guests[2:])
    run = dataclasses.replace(run, guests=guests)
    write_files(dataclasses.replace(run, guests=(guests[0], dataclasses.replace(guests[1], splats=(splat,)))), tmp_path)
    shown = page(run, tmp_path).text("tests")
    assert "base x86_64: fail the console says nothing" in shown
    assert "patched x86_64: pass [ 0.080000] madvise: 16 locked pages dropped" in shown
    assert "patched x86_64: WARNING at foo" in shown
    assert "long before" not in shown
    at = f"kdelta shell {tmp_path} --arch x86_64 --flavour fast --at madvise_locked/drops_locked_pages"
    assert at in shown


def test_a_report_that_nothing_makes_smaller_can_be_mailed_and_says_what_it_has_not(tmp_path: Path) -> None:
    draw = random.Random(0)

    def noise(size: int) -> str:  # what no packing makes smaller
        return base64.b64encode(draw.randbytes(size * 3 // 4)).decode()

    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED}
    tests = tuple(change(f"number_{n}", **broken, said=(noise(16_000), noise(16_000))) for n in range(220))
    metrics = tuple(dataclasses.replace(sample_run().metrics[0], name=f"metric_{number}") for number in range(3_000))
    run = sample_run(tests=tests, metrics=metrics)
    write_files(run, tmp_path, console=noise(1_000_000))
    (tmp_path / "series.diff").write_text(
        "diff --git a/mm/a.c b/mm/a.c\n--- a/mm/a.c\n+++ b/mm/a.c\n@@ -1,0 +1,2900 @@\n" + f"+{noise(1_400)}\n" * 2_900
    )
    report = page(run, tmp_path)
    assert len(report.source.encode()) <= html.LARGEST
    assert "not shown: this report holds its fill of long texts" in report.text("tests")
    assert "more are in run.json" in report.text("metrics")
    assert "more lines are in series.diff" in report.text("patch")


def test_of_ten_thousand_tests_none_is_dropped_and_the_report_can_be_mailed(tmp_path: Path) -> None:
    fixed = {"base": Outcome.FAIL, "kind": ChangeKind.FIXED}
    tests = tuple(change(f"number_{number}", **(fixed if number < 300 else {})) for number in range(10_000))
    run = sample_run(tests=tests)
    write_files(run, tmp_path)
    report = page(run, tmp_path)
    shown = report.text("tests").split()
    assert len({word for word in shown if word.startswith("number_")}) == 10_000
    assert sum(tag == "tbody" and found.get("class") == "test" for tag, found in report.tags) == 50
    assert "250 more that changed, a line each" in report.text("tests")
    assert len(report.source) < 2_000_000


def test_the_block_for_a_reply_is_no_wider_than_a_mail_and_signs_for_nobody(tmp_path: Path) -> None:
    source = page(sample_run(), tmp_path).source
    (block,) = re.findall(r'<pre class="command" id="reply-text" tabindex="0">\n(.*?)</pre>', source, re.DOTALL)
    assert "VALIDATED: mm: add MADV_DONTNEED_LOCKED" in block
    assert max(map(len, block.splitlines())) <= 72
    assert "Tested-by" not in block


def test_what_the_report_carries_along_is_the_file_itself(tmp_path: Path) -> None:
    run = sample_run()
    write_files(run, tmp_path)
    report = page(run, tmp_path)
    held = {found["download"]: found["href"] for tag, found in report.tags if tag == "a" and "download" in found}
    assert {"run.json.gz", "base-x86_64-fast-console.log.gz", "base-x86_64-fast-build.log.gz"} <= held.keys()
    packed = held["run.json.gz"].removeprefix("data:application/gzip;base64,")
    assert gzip.decompress(base64.b64decode(packed)) == (tmp_path / "run.json").read_bytes()
    assert html.render(run, tmp_path) == report.source


def test_a_file_for_which_there_is_no_room_is_left_out_and_smaller_ones_are_not(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(random.Random(1).randbytes(900))
    small.write_text("x" * 900)
    bag = Bag(room=200)
    assert bag.hold(large, "large") is None
    held = bag.hold(small, "a-b")
    assert held and held.name == "a-b.gz"


@pytest.mark.parametrize(
    ("said", "test", "around"),
    [
        ("kdelta: s starts\nin s\nkdelta: s ends\nkdelta: s starts\nagain\nkdelta: s ends\n", "one.two", "in s\n"),
        ("[    1.0] kdelta: s starts\r\nin s\r\n", "one.two", "in s\r\n"),
        ("kdelta: s/one.two starts\nalone\nkdelta: s/one.two ends\nkdelta: s starts\n", "one.two", "alone\n"),
        ("kdelta: s/001-one.t starts\n1\nkdelta: s/002-one.two starts\nit\nkdelta: s starts\n", "one.two", "it\n"),
        ("kdelta: s starts\nkdelta: s runs one\n1\nkdelta: s runs one.two\n2\nkdelta: s runs a\n3\n", "one.two", "2\n"),
        ("kdelta: s starts\nkdelta: t runs one.two\nnot s\n", "one.two", "kdelta: t runs one.two\nnot s\n"),
        ("kdelta: s/001-one starts\nkdelta: s/001-one runs two\n2\nkdelta: s/001-one ends\n", "one/two", "2\n"),
        ("kdelta: s2 starts\nother\n", "one.two", None),
    ],
)  # fmt: skip
def test_the_console_around_a_test_is_that_of_its_guest_its_case_its_program_or_its_suite(
    said: str, test: str, around: str | None, tmp_path: Path
) -> None:
    (tmp_path / "console.log").write_text(said, newline="")
    assert stretch.around(stretch.read(tmp_path / "console.log"))("s", test) == around
