"""What is shipped for other programs: units for systemd, jobs for two CIs and Slurm; each is read by what reads it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import main
from orchestrator.cluster import tls

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
JOBS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
PROGRAMS = Path(sys.executable).parent
SLURM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$ASKED"
case $0 in
*/sbatch) cp "$1" "$ASKED.job" && echo "Submitted batch job 4711" ;;
esac
"""
ONE_JOB = """\
import runpy, sys
with runpy.run_path(sys.argv[1])["cluster"]() as cluster:
    cluster.scale(jobs=1)
    cluster.sync(lambda: cluster)  # awaits that the job is there
"""


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
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
    for argv in (
        [PROGRAMS / "check-jsonschema", "--builtin-schema", JOBS[which], job],
        [PROGRAMS / "yamllint", "--strict", "-d", "{extends: default, rules: {line-length: {max: 130}}}", job],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_no_fault_in_the_job_for_github() -> None:
    """Nor in the shell's words in it."""
    assert shutil.which("shellcheck"), "shellcheck is not installed: .ci/packages names it"
    done = subprocess.run(
        [PROGRAMS / "actionlint", "-oneline", *(CONTRIB / "github").iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_a_night_did_is_kept_on_github_when_it_ends_with_a_regression() -> None:
    """The step fails then; and actions/cache takes no path with `..` in it."""
    [job] = (CONTRIB / "github").iterdir()
    steps = yaml.safe_load(job.read_text())["jobs"]["nightly"]["steps"]
    kept = {step["uses"].split("@")[0]: step for step in steps if step.get("uses", "").startswith("actions/")}
    restored, saved = (kept[f"actions/cache/{what}"] for what in ("restore", "save"))
    assert (saved["if"], restored["with"]["path"]) == ("always()", saved["with"]["path"])
    assert ".." not in saved["with"]["path"]


def test_both_ci_run_the_same() -> None:
    """In any order; a container of GitHub's is another user's than its checkout, of which git must be told."""
    [github, gitlab] = (yaml.safe_load(next((CONTRIB / which).iterdir()).read_text()) for which in JOBS)
    steps = [step["run"] for step in github["jobs"]["nightly"]["steps"] if "run" in step]
    lines = {line for step in steps for line in step.splitlines() if "safe.directory" not in line}
    assert lines == {*gitlab["kdelta-nightly"]["before_script"], *gitlab["kdelta-nightly"]["script"]}


def test_the_commands_that_are_run_there_exist() -> None:
    for path in (path for which in ("systemd", *JOBS) for path in (CONTRIB / which).iterdir()):
        if path.suffix != ".timer":
            found = re.findall(r"(?:ExecStart=|run: |- )\S*(?:env |/)kdelta (.+)", path.read_text())
            assert [words.split()[0] for words in found if words.split()[0] in main.commands] == ["nightly"], path


def test_the_cluster_of_kubernetes_starts_commands_that_exist_with_the_certificates() -> None:
    spec = yaml.safe_load((CONTRIB / "kubernetes" / "cluster.yaml").read_text())["spec"]
    started = {role: spec[role]["spec"]["containers"][0]["args"] for role in ("scheduler", "worker")}
    for role, words in started.items():
        assert words[:2] == ["kdelta", role]
        with main.commands[role].make_context(role, words[2:]) as context:
            assert context.params["url"].startswith("tls://")
            assert context.params["certificates"] == Path("/tls")


def test_slurm_is_given_a_job_that_is_a_worker_of_ours_with_the_certificates_and_told_to_end_it(tmp_path: Path) -> None:
    for name in ("sbatch", "scancel"):
        (tmp_path / name).write_text(SLURM)
        (tmp_path / name).chmod(0o755)
    certificates = tmp_path / ".config" / "kdelta" / "cluster"
    tls.make(certificates)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "ASKED": str(tmp_path / "asked")}
    argv = [sys.executable, "-c", ONE_JOB, CONTRIB / "slurm" / "workers.py"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["sbatch", "scancel"] and asked[1] == "scancel 4711"
    job = (tmp_path / "asked.job").read_text()
    for words in (
        "#SBATCH --cpus-per-task=8\n",
        "#SBATCH --mem=16G\n",
        "#SBATCH -t 08:00:00\n",
        " -m distributed.cli.dask_worker tls://",
        ":8786 ",
        " --nthreads 2 ",
        " --no-nanny ",
        " --preload orchestrator.cluster.preload ",
        f" --tls-ca-file {certificates / tls.AUTHORITY} ",
    ):
        assert words in job, job
    subprocess.run(["shellcheck", "--shell=bash", tmp_path / "asked.job"], check=True)
