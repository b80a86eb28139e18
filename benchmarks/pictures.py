"""The pictures of docs/images: the report of a run as chromium shows it, in three widths.

PYTHONPATH=. python benchmarks/pictures.py RUN

RUN is the directory of a run with something to show; look at the pictures before they are committed.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import sync_playwright

from orchestrator import store
from orchestrator.publish import html

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLOURS = 256  # enough for text and flat colours, and a third of the bytes


class Picture(NamedTuple):
    """What is shown of the report: so much of the window, from `at` on; `opened` is clicked first."""

    name: str
    width: int
    height: int
    scheme: str
    at: str = ""
    opened: str = ""


PICTURES = (
    Picture("report-360", 360, 1100, "light"),
    Picture("report-800", 800, 1100, "dark"),
    Picture("report-1440", 1440, 1100, "light"),
    Picture("test-1440", 1440, 800, "light", at="tests", opened="#rows .switch summary"),
    Picture("patch-1440", 1440, 900, "light", at="patch"),
    Picture(
        "metrics-800", 800, 900, "dark", at="by-boot", opened=".measured summary:has-text('munlock_mlock.time_ns')"
    ),
    Picture("timeline-800", 800, 700, "light", at="timeline"),
)


def taken(browser: Any, report: str, picture: Picture) -> bytes:
    """The picture as a small PNG."""
    page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme=picture.scheme,
        reduced_motion="reduce",
    )
    page.goto(f"{report}#{picture.at}")
    if picture.opened:
        page.locator(picture.opened).first.click()
        page.mouse.move(0, 0)
    out, shown = io.BytesIO(), Image.open(io.BytesIO(page.screenshot()))
    rare = Image.Quantize.MAXCOVERAGE  # a colour that few pixels have stays what it is
    shown.convert("RGB").quantize(COLOURS, rare, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    page.close()
    return out.getvalue()


def main() -> None:
    run = Path(sys.argv[1])
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        report = store.save_report(html.render(store.load(run), run), Path(place)).as_uri()
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for picture in PICTURES:
            path = IMAGES / f"{picture.name}.png"
            path.write_bytes(taken(browser, report, picture))
            print(f"{path.name}: {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
