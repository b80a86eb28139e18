"""What is shipped for other programs: units for systemd, jobs for two CIs; each is read by a checker of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
JOBS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = sorted((CONTRIB / "systemd").iterdir())
    assert [unit.suffix for unit in units] == [".service", ".timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *units],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("which", JOBS)
def test_the_ci_jobs_are_what_their_schema_says_and_tidy(which: str) -> None:
    [job] = (CONTRIB / which).iterdir()
    programs = Path(sys.executable).parent
    for argv in (
        [programs / "check-jsonschema", "--builtin-schema", JOBS[which], job],
        [programs / "yamllint", "--strict", "-d", "{extends: default, rules: {line-length: {max: 130}}}", job],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_that_are_run_there_exist() -> None:
    for path in CONTRIB.glob("*/*"):
        if path.suffix != ".timer":
            found = re.findall(r"(?:ExecStart=|run: |- )\S*(?:env |/)kdelta (.+)", path.read_text())
            assert [words.split()[0] for words in found if words.split()[0] in main.commands] == ["nightly"], path
