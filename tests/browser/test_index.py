"""The page of all runs in a real browser: what it asks for, and what it gives a keyboard and a screen reader."""

import itertools
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from orchestrator.history import ask, book, flaky, write
from orchestrator.model import Outcome
from orchestrator.publish import index
from tests.browser.conftest import Watch
from tests.unit.full import EVIL
from tests.unit.test_history import arm, run

pytestmark = pytest.mark.browser


@pytest.fixture
def page_of_all(tmp_path: Path) -> str:
    """Four runs, a test of which flakes and has a hostile name."""
    with book.opened(str(tmp_path / "history.sqlite")) as opened:
        for day, outcome in enumerate(itertools.islice(itertools.cycle((Outcome.PASS, Outcome.FAIL)), 4)):
            write.add(opened, run(day, arm(EVIL + "long" * 40, outcome, outcome)), tmp_path / "results" / f"run #{day}")
        words = index.render(ask.trends(opened, 4), flaky.flakes(opened), tmp_path / "results")
    (file := tmp_path / "index.html").write_text(words, encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")])
def test_the_page_of_all_runs_fits_asks_nothing_and_breaks_no_rule_of_axe(
    chromium: Browser, page_of_all: str, width: int, scheme: str
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    watch = Watch(page, page_of_all)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
    assert page.get_by_text(EVIL).first.is_visible()
    assert watch.nothing()
    page.close()
