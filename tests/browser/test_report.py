import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import store
from orchestrator.model import ChangeKind, Outcome
from orchestrator.publish import html
from tests.unit.runs import change, sample_run, write_files
from tests.unit.test_annotated import DIFF, covered

pytestmark = pytest.mark.browser

QUIET = [
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright for Python is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = sample_run()
    broken = change(
        "mremap.locked", "arm64", Outcome.PASS, Outcome.FAIL, ChangeKind.REGRESSED, said=("ok\n", "not ok\n")
    )
    hostile = change(
        "<script>alert(1)</script>\x1b[2J" + "long" * 40, said=("<img src=x onerror=alert(1)>", "\u202eabc")
    )
    run = sample_run(tests=(*run.tests, broken, hostile), coverage=covered().coverage)
    directory: Path = tmp_path_factory.mktemp("run")
    write_files(run, directory)
    (directory / store.DIFF).write_text(DIFF)
    return store.save_report(html.render(run, directory), directory).as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1440])
def test_the_report_fits_its_window_asks_nothing_and_breaks_no_rule(
    chromium: Any, report: str, width: int, scheme: str, tmp_path: Path
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(report)
    for summary in page.query_selector_all("summary"):
        summary.evaluate("summary => summary.parentElement.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if url not in (report, "data:,")] == []
    assert said == []
    assert page.locator(".answer").inner_text().strip() == "Validated"
    page.screenshot(path=tmp_path / f"report-{width}-{scheme}.png", full_page=True)
    page.close()


def test_the_filter_narrows_by_text_arch_and_outcome_and_opens_what_fits(chromium: Any, report: str) -> None:
    page = chromium.new_page()
    page.goto(report)
    shown = page.locator("#tests tbody.test:visible")
    count = page.locator("#filter-count")
    assert count.inner_text() == "14 of 14 tests"
    page.fill("#filter-text", "LOCKED pages")
    assert (count.inner_text(), shown.count()) == ("1 of 14 tests", 1)
    page.fill("#filter-text", "")
    page.select_option("#filter-outcome", "fail")
    assert count.inner_text() == "4 of 14 tests"
    page.select_option("#filter-arch", "x86_64")
    assert count.inner_text() == "3 of 14 tests"
    page.select_option("#filter-outcome", "changed")
    assert shown.locator("th").all_inner_texts() == ["drops_locked_pages", "keeps_vm_locked", "refaults_zero_filled"]
    page.close()


def test_the_patch_says_in_words_what_ran_and_needs_no_colour(chromium: Any, report: str) -> None:
    page = chromium.new_page()
    page.goto(report)
    row = page.locator("#patch tr.line-part")
    assert row.locator("td").all_inner_texts()[:4] == ["", "6", "never ran", "ran"]
    assert page.locator("#patch .line-ran .text").inner_text() == "+\tnew(<script>alert(1)</script>);"
    page.close()


def test_a_key_opens_the_output_across_the_table(chromium: Any, report: str) -> None:
    page = chromium.new_page()
    page.goto(report)
    output = page.locator("#change-1 .opened")
    assert not output.is_visible()
    page.locator("#change-1 .switch summary").focus()
    page.keyboard.press("Enter")
    assert output.is_visible()
    assert output.locator("mark").all_inner_texts() == ["ok\n", "not ok\n"]
    page.close()


def test_without_javascript_everything_is_there_and_no_dead_filter(chromium: Any, report: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report)
    assert page.locator("#filter").is_hidden()
    assert page.locator("#tests tbody.test:visible").count() == 14
    page.locator("#change-1 .switch summary").click()
    assert page.locator("#change-1 .opened").is_visible()
    context.close()
