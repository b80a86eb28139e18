import dataclasses
import gzip
import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from orchestrator.judge.verdict import decide
from orchestrator.model import Change, ChangeKind, Evidence, Observed, Outcome, Rate, Run
from tests.browser.conftest import Watch, written
from tests.unit.full import ENDLESS, EVIL
from tests.unit.runs import change, sample_run

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser, report: str) -> "Page":  # type: ignore[misc]
    opened = chromium.new_page(viewport={"width": 1440, "height": 900})
    watch = Watch(opened, report)
    yield opened
    assert watch.nothing()
    opened.close()


def rows(page: Page) -> list[str]:
    """The names of the tests that the table shows, in its order."""
    return [name.removesuffix("#").strip() for name in page.locator("#rows tbody.test th").all_inner_texts()]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (800, "dark"), (1440, "light")])
def test_the_report_fits_its_window_asks_nothing_and_breaks_no_rule_of_axe(
    chromium: Browser, report: str, width: int, scheme: str
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    watch = Watch(page, report)
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cells = page.locator(".wide :is(th, td):not([colspan], .text)")
    assert max(cells.evaluate_all("all => all.map(cell => cell.offsetWidth)")) <= max(width, 480)  # words do not widen
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
    assert len(found.response["passes"]) > 30
    assert watch.nothing()
    page.close()


def test_the_first_screen_says_verdict_strength_changes_and_what_to_do(page: Page) -> None:
    for words in (
        "Validated",
        "3 of 3 declared tests fixed",
        "regressed",
        "Read how madvise_locked/mremap.locked failed",
    ):
        assert page.get_by_text(words).first.is_visible(), words
        box = page.get_by_text(words).first.bounding_box()
        assert box and box["y"] < 900, words


def eight_regressed() -> Run:
    """A run whose answer names many tests, of long names."""
    names = [f"dontneed_refuses_mlockall_onfault_{number}" for number in range(8)]
    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED}
    run = sample_run(tests=tuple(change(name, "arm64", **broken) for name in names), metrics=())
    told = decide(run.builds, run.guests, run.tests, declared=False)
    return dataclasses.replace(run, verdict=dataclasses.replace(told, strength="8 of 8 changed lines ran on arm64"))


def test_on_a_telephone_the_first_screen_says_it_too_however_many_tests_regressed(
    chromium: Browser, tmp_path: Path
) -> None:
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    watch = Watch(page, written(eight_regressed(), tmp_path))
    for what in (".answer", ".strength", ".reasons li", "#changed-title", ".tally", ".headlines li", ".next li"):
        box = page.locator(what).first.bounding_box()
        assert box and box["y"] + box["height"] <= 740, (what, box)
    assert page.get_by_role("link", name="all 8 tests").is_visible()
    assert watch.nothing()
    page.close()


def test_filters_narrow_by_class_text_architecture_flavour_outcome_and_suite(page: Page) -> None:
    count = page.locator("#filter-count")
    assert count.inner_text() == "6 of 16 rows"
    assert rows(page)[0] == "madvise_locked/mremap.locked"
    page.select_option("#filter-kind", "")
    assert count.inner_text() == "16 of 16 rows"
    assert "undefined" not in page.locator("#rows").inner_text()
    page.fill("#filter-text", "LOCKED pages")
    assert rows(page) == ["madvise_locked/drops_locked_pages"]
    page.fill("#filter-text", "")
    page.select_option("#filter-outcome", "fail")
    assert count.inner_text() == "5 of 16 rows"
    page.select_option("#filter-arch", "x86_64")
    assert count.inner_text() == "4 of 16 rows"
    page.select_option("#filter-flavour", "debug")
    assert rows(page) == [f"mm/debugged {EVIL}"]
    page.select_option("#filter-outcome", "")
    assert rows(page) == [f"madvise_locked/{ENDLESS}", f"mm/debugged {EVIL}"]
    page.select_option("#filter-arch", "arm64")
    assert rows(page) == []
    page.select_option("#filter-arch", "")
    page.select_option("#filter-flavour", "")
    page.select_option("#filter-suite", "mm")
    assert count.inner_text() == "6 of 16 rows"
    page.select_option("#filter-kind", "regressed")
    assert rows(page) == []


@pytest.mark.parametrize("title", ["Test", "Where", "Patched"])
def test_a_column_s_head_sorts_by_it_and_says_so(page: Page, title: str) -> None:
    heads = page.locator("#rows thead th")
    place = heads.all_inner_texts().index(title)
    cells = page.locator(f"#rows tbody.test > tr:first-child > :nth-child({place + 1})")
    worst_first = rows(page)
    heads.nth(place).locator("button").focus()
    page.keyboard.press("Enter")
    assert heads.nth(place).get_attribute("aria-sort") == "ascending"
    assert cells.all_inner_texts() == sorted(cells.all_inner_texts())
    up = rows(page)
    page.keyboard.press("Enter")
    assert heads.nth(place).get_attribute("aria-sort") == "descending"
    assert rows(page) == up[::-1] != worst_first
    heads.first.locator("button").click()
    assert heads.nth(place).get_attribute("aria-sort") is None
    assert rows(page) == worst_first


def test_a_key_opens_base_beside_patched_the_consoles_around_it_and_how_to_repeat_it(page: Page) -> None:
    test = page.locator("#rows tbody.test", has=page.get_by_role("link", name="link to drops_locked_pages"))
    opened = test.locator(".opened")
    assert not opened.is_visible()
    test.locator(".switch summary").focus()
    page.keyboard.press("Enter")
    left, right = opened.locator(".panes").first.locator(".pane").all()[:2]
    assert left.bounding_box()["y"] == right.bounding_box()["y"]  # type: ignore[index]
    assert left.locator("mark").inner_text() == "madvise: Invalid argument\nnot ok 1 drops_locked_pages\n"
    assert "16 locked pages dropped" in opened.inner_text()
    assert "--at madvise_locked/drops_locked_pages" in opened.locator(".command").inner_text()
    assert f"WARNING at {EVIL}" in opened.inner_text()


def test_a_test_that_did_not_change_opens_what_it_said_from_the_record(page: Page) -> None:
    page.select_option("#filter-kind", "")
    page.fill("#filter-text", f"madvise_locked {EVIL}")
    assert rows(page) == [f"madvise_locked/{EVIL}"]
    page.locator("#rows .switch summary").click()
    panes = page.locator("#rows .detail .pane")
    panes.first.wait_for()
    assert panes.nth(0).locator("pre").inner_text() == "<img src=x onerror=alert(1)>\n"
    assert panes.nth(1).locator("pre").inner_text() == "<U+202E>abc\n"


def test_a_link_to_a_test_opens_it_also_when_it_is_filtered_out(page: Page, report: str) -> None:
    anchor = page.locator("#rows .anchor").nth(2).get_attribute("href")
    assert anchor
    page.select_option("#filter-suite", "mm")
    page.evaluate("(hash) => { location.hash = hash; }", anchor)
    opened = page.locator(f"{anchor} .opened")
    opened.wait_for()
    assert page.evaluate("(hash) => document.querySelector(hash).getBoundingClientRect().top < 100", anchor)
    page.goto(f"{report}{anchor}")
    page.reload()
    opened.wait_for()


def test_a_link_to_a_test_that_did_not_change_finds_and_opens_it(page: Page, report: str) -> None:
    page.select_option("#filter-kind", "")
    anchor = page.locator("#rows .test", has_text="grows_down").locator(".anchor").get_attribute("href")
    page.goto(f"{report}{anchor}")
    page.reload()
    page.locator(f"{anchor} .opened .detail").get_by_text("--at mm/mmap.grows_down").wait_for()
    assert rows(page) == ["mm/mmap.grows_down"]


def test_a_word_at_a_line_leads_to_the_report_of_the_kernel_and_unfolds_it(page: Page) -> None:
    page.locator("#patch .told a", has_text="at <script>").first.click()
    expect(page.locator("#guests details[open] pre", has_text="Call Trace")).to_be_visible()  # the hash is told later


def test_the_patch_says_in_words_what_ran_and_needs_no_colour(page: Page) -> None:
    row = page.locator("#patch tr.line-part")
    assert row.locator("td").all_inner_texts()[:4] == ["", "6", "never ran", "ran"]
    assert page.locator("#patch .line-survived .text").inner_text() == "+\tnew(<script>alert(1)</script>);"


def test_the_button_copies_the_block_for_a_reply(chromium: Browser, report: str) -> None:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(report)
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("copied", exact=True).wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "VALIDATED: mm: add MADV_DONTNEED_LOCKED" in copied
    assert max(len(line) for line in copied.splitlines() if ENDLESS not in line) <= 72
    context.close()


def test_without_javascript_all_is_there_files_can_be_saved_and_no_dead_filter_shows(
    chromium: Browser, report: str, tmp_path: Path
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    watch = Watch(page, report)
    assert page.locator("#filter").is_hidden()
    assert page.get_by_role("button").count() == 0
    assert page.locator("#rows tbody.test:visible").count() == 6
    page.locator("#rows .switch summary").first.click()
    assert page.locator("#rows .opened").first.is_visible()
    page.locator("#list-same summary").click()
    listed = page.locator("#list-same pre").inner_text()
    assert "same\tpass\tpass\tx86_64-fast, arm64-fast\tmm\tmmap.grows_down" in listed
    with page.expect_download() as download:
        page.locator("#attached-run").click()
    assert json.loads(gzip.decompress(download.value.path().read_bytes()))["verdict"]["value"] == "validated"
    assert watch.said == []
    context.close()


def test_of_ten_thousand_tests_only_so_many_rows_are_made_and_more_on_demand(chromium: Browser, tmp_path: Path) -> None:
    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED}
    tests = tuple(change(f"number_{number}", **(broken if number < 100 else {})) for number in range(10_000))
    page = chromium.new_page()
    watch = Watch(page, written(sample_run(tests=tests), tmp_path))
    assert page.locator("#filter-count").inner_text() == "100 of 10000 rows"
    assert len(rows(page)) == 50
    page.get_by_role("button", name="Show 50 more").click()
    assert len(rows(page)) == 100
    page.select_option("#filter-kind", "")
    page.fill("#filter-text", "number_9999")
    assert rows(page) == ["madvise_locked/number_9999"]
    assert watch.nothing()
    page.close()


def test_the_last_of_many_that_changed_opens_as_much_as_the_first(chromium: Browser, tmp_path: Path) -> None:
    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED, "said": ("ok\n", f"ok\nnot {EVIL}\n")}
    again = Evidence(Rate(0, 6, 0, 0.46), Rate(6, 6, 0.54, 1))
    tests = tuple(change(f"number_{number:03}", evidence=again, **broken) for number in range(150))
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    watch = Watch(page, written(sample_run(tests=tests), tmp_path))
    opened = []
    for number in (10, 149):
        page.fill("#filter-text", f"number_{number:03}")
        page.locator("#rows .switch summary").first.click()
        detail = page.locator("#rows .detail").first
        detail.locator(".panes").first.wait_for()  # unpacked first
        left, right = detail.locator(".panes").first.locator(".pane").all()
        assert left.bounding_box()["y"] == right.bounding_box()["y"]  # type: ignore[index]
        assert right.locator("mark").inner_text() == f"not {EVIL}\n"
        opened.append(detail.inner_text().replace(f"number_{number:03}", "number"))
    assert opened[0] == opened[1]
    for words in ("16 locked pages dropped", "0 of 6", "54 to 100 %", "--at madvise_locked/number"):
        assert words in opened[1], words
    assert watch.nothing()
    page.close()


def test_print_shows_what_the_rows_open_and_no_controls(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator("#rows .opened").first.is_visible()
    assert page.locator("#filter").is_hidden()
    assert page.get_by_role("button", name="Copy").is_hidden()


def _flaky(number: int) -> Change:
    """One test of many: now and then it fails on base, it always does on patched, and it was to be fixed."""
    again = Evidence(Rate(1, 6, 0, 0.6), Rate(6, 6, 0.54, 1))
    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED, "expected": ChangeKind.FIXED, "evidence": again}
    base = Observed(Outcome.FAIL, "ok\n", (Outcome.PASS, Outcome.FAIL, Outcome.PASS))
    return dataclasses.replace(change(f"number_{number:03}", **broken, said=("", f"ok\nnot {EVIL}\n")), base=base)


def test_a_row_that_the_script_makes_shows_what_one_of_the_page_shows(chromium: Browser, tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    tests = (*map(_flaky, range(60)), change("passes"))
    watch = Watch(page, written(sample_run(tests=tests), tmp_path))
    page.get_by_role("button", name="Show 10 more").click()
    plain = """(row) => [...row.querySelectorAll("*")].map((one) => [one.tagName, one.className, one.scope,
        one.ariaLabel, one.childElementCount ? "" : one.textContent].join("|").replace(/number_\\d+/, "number"))"""
    first, last = (page.locator("#rows tbody.test").nth(at).locator("tr").first.evaluate(plain) for at in (0, 59))
    assert first == last
    shown = page.locator("#rows tbody.test").last
    assert "1 of 3" in shown.inner_text()
    assert shown.locator(".notes.is-unmet").inner_text().startswith("fixed: unmet")
    page.select_option("#filter-outcome", "fail")
    assert page.locator("#filter-count").inner_text() == "60 of 61 rows"
    assert watch.nothing()
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (360, "light"), (1440, "dark"), (1440, "light")])
def test_rows_that_the_script_makes_and_what_they_open_fit_and_break_no_rule_of_axe(
    chromium: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tests = (*map(_flaky, range(60)), *(change(f"same_{number}", said=(EVIL, EVIL)) for number in range(3)))
    watch = Watch(page, written(sample_run(tests=tests), tmp_path))
    page.select_option("#filter-kind", "")
    for words in ("number_059", "same_2"):
        page.fill("#filter-text", words)
        page.locator("#rows .switch summary").click()
        page.locator("#rows .detail .panes").first.wait_for()  # unpacked first
        page.evaluate("document.querySelectorAll('#rows details').forEach((box) => { box.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page)
        assert found.response["violations"] == [], found.generate_report()
    assert watch.nothing()
    page.close()


@pytest.mark.parametrize("script", [True, False])
def test_on_paper_every_test_is_in_full_or_a_line_and_nothing_is_closed(
    chromium: Browser, tmp_path: Path, *, script: bool
) -> None:
    broken = {"patched": Outcome.FAIL, "kind": ChangeKind.REGRESSED}
    tests = tuple(change(f"number_{number:03}", **broken) for number in range(80))
    context = chromium.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(written(sample_run(tests=(*tests, change("quiet"))), tmp_path))
    page.emulate_media(media="print")
    assert page.locator("#rows .opened").last.is_visible()
    for name, said in (("#list-changed", "number_079"), ("#list-same", "quiet")):
        lines = page.locator(f"{name} pre")
        assert lines.is_visible(), name
        assert said in lines.inner_text()
    assert page.locator("#guests").get_by_text("Call Trace:").first.is_visible()
    if script:  # what somebody asked for is all that is printed
        page.emulate_media(media="screen")
        page.fill("#filter-text", "number_003")
        page.emulate_media(media="print")
        assert rows(page) == ["madvise_locked/number_003"]
        assert not page.locator("#list-same pre").is_visible()
    context.close()


def test_on_paper_no_marked_line_is_cut_off(chromium: Browser, tmp_path: Path) -> None:
    why = "expected a page that is there and found none, " * 12
    test = change("t", "x86_64", Outcome.PASS, Outcome.FAIL, ChangeKind.REGRESSED, said=("ok 1\n", f"not ok 1 {why}\n"))
    page = chromium.new_page(viewport={"width": 700, "height": 900})
    page.goto(written(sample_run(tests=(test,)), tmp_path))
    page.emulate_media(media="print")
    assert why.strip() in page.locator("#rows pre mark").last.inner_text()
    right = "mark => mark.getBoundingClientRect().right - mark.parentElement.getBoundingClientRect().right"
    assert max(page.locator("#rows pre mark").evaluate_all(f"all => all.map({right})")) <= 0
    page.close()
