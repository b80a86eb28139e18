"""Guests that say what they should not: nothing of it becomes a path, markup, or a terminal's command."""

# ruff: noqa: F811  (fixtures are arguments)

import re
from pathlib import Path

from orchestrator import show, store
from orchestrator.publish import html, text
from tests.flow.test_scripted import PASSES, Validate, request_for, suite, validate  # noqa: F401

NAMES = (
    "../../../../escaped",
    "/etc/passwd",
    "..",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31mred",
    "\u202eright to left",
    "x" * 5000,
    "# SKIP ../x",
)
HOSTILE = "program:\n" + "".join(f"say not ok {number} {name}\n" for number, name in enumerate(NAMES, 1)) + "exit 1\n"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_names_of_tests_are_words_in_the_record_and_nothing_else(validate: Validate, tmp_path: Path) -> None:
    run = validate(PASSES, HOSTILE, arches=["arm64"])
    names = {change.name for change in run.tests}
    assert "../../../../escaped" in names
    where = tmp_path / "run"
    kept = [path.relative_to(where).as_posix() for path in (where / "patched").rglob("*")]
    said = [path for path in kept if "tests/" in path and not path.startswith("patched/arm64-fast/again/")]
    assert said == ["patched/arm64-fast/tests/example.ktap"]
    again = {path.name.split("@")[0] for path in (where / "patched" / "arm64-fast" / "again").glob("*/tests/*")}
    assert again == {"example"}
    assert not [path for path in tmp_path.rglob("*") if path.name in ("escaped", "passwd")]
    page = html.render(store.load(where), where)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    summary = text.summary(run, where / "report.html")
    for shown in (page, summary, show.guests(run)):
        assert not COMMANDS.search(shown)
