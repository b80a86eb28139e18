"""The report of many tests: bytes, seconds to write it, and seconds until it can be used in chromium.

PYTHONPATH=. python benchmarks/report.py [TESTS] [CHANGED]

Every test runs on both architectures and says a few lines; CHANGED of them fail on patched. Usable is: from the
start of the navigation to a filter that has answered its first key, the page painted.
"""

import dataclasses
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator import store
from orchestrator.model import Change, ChangeKind, Observed, Outcome, Run
from orchestrator.publish import html
from tests.unit.runs import ARCHES, sample_run, write_files

TESTS, CHANGED, OPENINGS = 10_000, 100, 5
USABLE = """() => new Promise((resolve) => {
  const text = document.getElementById("filter-text");
  text.value = "number_77";
  text.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() / 1000)));
})"""


def test(number: int, arch: str, changed: int) -> Change:
    """One test of a hundred suites; the first `changed` ones fail on patched."""
    broken = number < changed
    said = f"# step one of {number}\n# step two of {number * 7919 % 10_007}\nok {number}\n"
    return Change(
        suite=f"suite_{number % 100:02}",
        name=f"group_{number % 7}.does_what_number_{number}_says",
        arch=arch,
        flavour="fast",
        base=Observed(Outcome.PASS, said),
        patched=Observed(Outcome.FAIL, f"# cannot\nnot {said}") if broken else Observed(Outcome.PASS, said),
        change=ChangeKind.REGRESSED if broken else ChangeKind.SAME,
    )


def large(tests: int, changed: int) -> Run:
    """A run of so many tests."""
    every = tuple(test(number, arch, changed) for number in range(tests) for arch in ARCHES)
    return dataclasses.replace(sample_run(), tests=every)


def opened(report: str) -> list[float]:
    """Seconds until it can be used, each time in a new page."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        seconds = [_opened(browser, report) for _ in range(OPENINGS + 1)]
        browser.close()
    return seconds[1:]  # the first one starts chromium's own processes


def _opened(browser: Any, report: str) -> float:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(report, wait_until="domcontentloaded")
    seconds: float = page.evaluate(USABLE)
    page.close()
    return seconds


def main() -> None:
    tests, changed = (int(word) for word in (*sys.argv[1:3], *(TESTS, CHANGED)[len(sys.argv) - 1 :]))
    run = large(tests, changed)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        write_files(run, directory)
        began = time.perf_counter(), time.process_time()
        path = store.save_report(html.render(run, directory), directory)
        wall, busy = time.perf_counter() - began[0], time.process_time() - began[1]
        size = path.stat().st_size
        print(f"{tests:,} tests on {len(ARCHES)} architectures, {changed:,} of them changed: {size:,} bytes")
        print(f"written in {wall:.2f} s ({busy:.2f} s of a processor)")
        usable = opened(path.as_uri())
        print(f"usable after {median(usable):.2f} s, median of {OPENINGS} ({min(usable):.2f} to {max(usable):.2f})")


if __name__ == "__main__":
    main()
