"""The changed lines that ran in real kernels, as their gcov counts them, on both architectures."""

import pytest

from tests.kernel.conftest import BUNDLED, Validate

pytestmark = pytest.mark.kernel
FILE = "mm/madvise.c"


def test_the_changed_lines_that_run_are_counted_on_both_architectures(validate: Validate) -> None:
    done = validate(BUNDLED, "--flavour", "coverage")
    assert done.process.returncode == 0, done.process.stderr
    assert "8 of 8 changed lines ran on both architectures" in done.process.stdout
    assert done.record["verdict"]["value"] == "validated"
    for arch in ("x86_64", "arm64"):
        lines = [line for line in done.record["coverage"] if (line["arch"], line["file"]) == (arch, FILE)]
        ran = [line for line in lines if line["state"] == "ran" and line["side"] == "patched"]
        assert len(ran) == 8
        assert {line["state"] for line in lines} == {"ran", "no code"}
        counted = [line for line in ran if line["times"]]
        assert all(line["by"]["madvise_locked"] > 0 and line["programs"] == 1 for line in counted)
        # the series' tests ask for the new advice, and for others
        assert any(line["branches"] == line["taken"] == 2 for line in ran)
