"""The jobs that are shipped for two CIs: the lines of one are run, which are those of the other."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import branch
from tests.branch import Branch
from tests.conftest import ROOT

pytestmark = pytest.mark.kernel

PIPELINE = """\
arches: [arm64]
suites: [madvise_locked]
nightly: {trees: [{kernel: "git:.", branches: [ci]}]}
"""
# Packages are this machine's; what the job asks for is told.
APT = '#!/bin/sh\necho "$@" >>"$HOME/asked"\n'


def test_a_night_of_the_job_names_the_commit_that_breaks_something(shared_cache: Path, tmp_path: Path) -> None:
    lab, home, project = (tmp_path / name for name in ("bin", "home", "linux"))
    for directory in (lab, home / ".cache", project):
        directory.mkdir(parents=True)
    (lab / "apt-get").write_text(APT)
    (lab / "apt-get").chmod(0o755)
    (home / ".cache" / "kdelta").symlink_to(shared_cache)
    (project / "pipeline.yaml").write_text(PIPELINE)
    tree = Branch(project / ".git", "main")
    tree.commit(tree.text.replace(branch.WORKS, branch.BREAKS), "mm/madvise: refuse locked memory always")

    given = {"GITHUB_WORKSPACE": str(project), "KDELTA_REPOSITORY": str(ROOT), "HOME": str(home)}
    env = {**os.environ, **given, "PATH": f"{lab}:{os.environ['PATH']}"}
    del env["KDELTA_HISTORY"]
    [job] = (ROOT / "contrib" / "github").iterdir()
    steps = [step["run"] for step in yaml.safe_load(job.read_text())["jobs"]["nightly"]["steps"] if "run" in step]
    argv = ["bash", "-euxo", "pipefail", "-c", "\n".join(steps)]
    done = subprocess.run(argv, cwd=project, env=env, capture_output=True, text=True, check=False, timeout=3000)
    assert done.returncode == 1, done.stderr
    assert "mm/madvise: refuse locked memory always" in done.stdout, done.stdout
    assert (project / "results" / "nightly").is_dir()
    assert (home / "asked").read_text().endswith(" ca-certificates git make\n")
