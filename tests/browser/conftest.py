"""Browser tests drive the host's own chromium; nothing is downloaded, and nothing is asked of the network."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from orchestrator import store
from orchestrator.model import ChangeKind, Outcome, Run, Splat
from orchestrator.publish import html
from tests.unit.full import EVIL, full_run
from tests.unit.runs import change, write_files
from tests.unit.test_annotated import DIFF, covered

QUIET = [
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with some of everything, hostile words among it."""
    said = ("ok\n<img src=x onerror=alert(1)>\n", "not ok\n<img src=x onerror=alert(1)>\n")
    tests = (
        change("mremap.locked", "arm64", Outcome.PASS, Outcome.FAIL, ChangeKind.REGRESSED, said=said),
        change(f"{EVIL}\x1b[2J", said=("<img src=x onerror=alert(1)>", "\u202eabc")),
    )
    run = full_run()
    return written(dataclasses.replace(run, tests=(*run.tests, *tests)), tmp_path_factory.mktemp("run"))


def written(run: Run, directory: Path) -> str:
    """The report's address; the patched guest on x86_64 reported something."""
    splat = Splat("WARNING", f"at {EVIL}", f"WARNING: CPU: 0 at {EVIL}\nCall Trace:\n foo+0x1/0x2", ("foo mm/a.c:5",))
    guests = (run.guests[0], dataclasses.replace(run.guests[1], splats=(splat,)), *run.guests[2:])
    run = dataclasses.replace(run, guests=guests, coverage=covered().coverage)
    write_files(run, directory)
    (directory / store.DIFF).write_text(DIFF)
    return store.save_report(html.render(run, directory), directory).as_uri()


class Watch:
    """What a page asked for and what it complained of."""

    def __init__(self, page: Page, report: str) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(dialog.message))
        page.goto(report)
        self.report = report

    def nothing(self) -> bool:
        """Was nothing asked for but the report, and nothing said?"""
        return [url for url in self.asked if url not in (self.report, "data:,")] == [] and self.said == []
