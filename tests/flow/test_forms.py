"""What a run is told in, and to whom, by the command line."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from orchestrator import config, store
from orchestrator.model import Posting
from orchestrator.publish import formats
from orchestrator.publish.formats import FORMATS
from tests.conftest import ROOT, Kdelta, kdelta_argv
from tests.flow.conftest import git
from tests.peer import says, server
from tests.unit.runs import sample_run

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The directory of a run that is over."""
    (directory := tmp_path / "results" / "one").mkdir(parents=True)
    store.save(sample_run(), directory)
    return directory


def test_report_prints_each_form_and_writes_none_of_them(kdelta: Kdelta, saved: Path, tmp_path: Path) -> None:
    for form in config.FORMATS:
        done = kdelta("report", "--format", form)
        assert done.returncode == 0, done.stderr
        assert done.stdout == formats.write(form, store.load(saved))
    assert os.listdir(saved) == [store.RECORD]  # noqa: PTH208
    assert kdelta("report", saved, "--format", "junit", "--output", "out.xml").stdout == ""
    assert (tmp_path / "out.xml").read_text().startswith("<?xml")
    wrong = kdelta("report", "--output", "out.xml")
    assert (wrong.returncode, "--format is one of junit, ktap" in wrong.stderr) == (2, True)


def asks(tmp_path: Path, fakelinux: Path, **report: object) -> Path:
    """A pipeline.yaml for a series without patches, which needs neither build nor guest."""
    (tmp_path / "nothing").mkdir()
    asked = {"kernel": f"git:{fakelinux}", "series": "nothing", "arches": ["arm64"], "report": report}
    (tmp_path / "pipeline.yaml").write_text(json.dumps(asked))
    return tmp_path / "out"


def test_run_writes_the_forms_of_pipeline_yaml_beside_the_report(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    out = asks(tmp_path, fakelinux, formats=list(config.FORMATS), origin="mylab")
    done = kdelta("run", "--out", out, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert {form.file for form in FORMATS.values()} < {path.name for path in out.iterdir()}
    assert json.loads((out / "kcidb.json").read_text())["checkouts"][0]["origin"] == "mylab"


def test_whoever_pipeline_yaml_names_is_told_and_no_refusal_changes_the_exit_code(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    with server(says(204, b""), says(403)) as (url, told):
        out = asks(tmp_path, fakelinux, webhook=f"{url}/SECRET", patchwork={"url": url, "project": "mm"})
        env = {"KDELTA_CACHE": str(tmp_path / "cache"), "KDELTA_PATCHWORK_TOKEN": ""}
        assert kdelta("run", "--patchwork", **env).returncode == 2  # at once: nobody waits an hour to read that
        done = kdelta("run", "--out", out, **env)
        refused = kdelta("run", "--out", tmp_path / "again", "--patchwork", **env | {"KDELTA_PATCHWORK_TOKEN": "x"})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert [json.loads(one.body)["verdict"] for one in told] == ["clean", "clean"]
    assert (refused.returncode, "webhook was not told: 127.0.0.1 answers 403" in refused.stderr) == (0, True)
    assert "Patchwork was not told: the series came by no mail" in refused.stderr
    assert "SECRET" not in (out / "pipeline.yaml").read_text() + (out / "report.html").read_text()
    by_hand = kdelta("report", out, "--patchwork", **env | {"KDELTA_PATCHWORK_TOKEN": "x"})
    assert (by_hand.returncode, "the series came by no mail" in by_hand.stderr) == (2, True)


@pytest.mark.long
def test_a_series_that_came_by_mail_gets_checks_in_patchwork(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    (fakelinux / "drivers" / "foo.c").write_text("the same module\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "drivers: leave the image as it is")
    mail = git(fakelinux, "format-patch", "--stdout", "-1").replace("\nFrom: ", "\nMessage-ID: <1@x>\nFrom: ", 1)
    (tmp_path / "mail.mbox").write_text(f"{mail}\n")
    patchwork = says(200, [{"id": 7, "msgid": "<1@x>"}]), says(201), says(500)
    with server(*patchwork) as (url, asked):
        there = {"patchwork": {"url": url, "project": "mm"}, "address": "https://lab.example/results"}
        keys = {"kernel": f"git:{fakelinux}", "base": "HEAD^", "arches": ["arm64"], "report": there}
        (tmp_path / "pipeline.yaml").write_text(json.dumps(keys))
        env = {"KDELTA_CACHE": str(tmp_path / "cache"), "KDELTA_PATCHWORK_TOKEN": "x"}
        done = kdelta("run", "mail.mbox", "--patchwork", "--out", tmp_path / "out", **env)
        refused = kdelta("report", tmp_path / "out", "--patchwork", **env)
    assert (done.returncode, done.stdout.split()[0]) == (0, "CLEAN"), done.stderr
    assert [(one.command, one.path) for one in asked[:2]] == [
        ("GET", "/api/1.2/patches/?project=mm&msgid=1%40x"),
        ("POST", "/api/1.2/patches/7/checks/"),
    ]
    told = json.loads(asked[1].body)
    assert (told["state"], told["target_url"]) == ("success", "https://lab.example/results/out/report.html")
    assert (refused.returncode, "answers 500" in refused.stderr) == (125, True)


def test_a_form_that_is_not_known_is_named_with_its_place(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    asks(tmp_path, fakelinux, formats=["junit", "sarfi"])
    done = kdelta("run")
    assert done.returncode == 2
    assert "no format 'sarfi'; did you mean 'sarif'?" in done.stderr


@pytest.fixture
def posted(saved: Path) -> Path:
    """The same, of a series that came by mail."""
    posting = Posting("<2@example.org>", "[PATCH 0/2] mm: x", "Ada <ada@example.org>", ("linux-mm@kvack.org",))
    series = dataclasses.replace(sample_run().series, posting=posting)
    store.save(sample_run(series=series), saved)
    return saved


def sendmail(tmp_path: Path, *, status: int = 0) -> str:
    """A PATH on which sendmail keeps what it is given."""
    (program := tmp_path / "bin" / "sendmail").parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\ncat >{tmp_path}/sent\necho full >&2\nexit {status}\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_a_mail_is_shown_and_goes_only_when_told_to(kdelta: Kdelta, posted: Path, tmp_path: Path) -> None:
    path = sendmail(tmp_path)
    shown = kdelta("report", "--mail", PATH=path)
    assert "In-Reply-To: <2@example.org>" in shown.stdout
    assert "not sent" in shown.stderr
    assert not (tmp_path / "sent").exists()
    sent = kdelta("report", posted, "--mail", "--send", PATH=path)
    assert (sent.returncode, sent.stdout) == (0, "")
    assert (tmp_path / "words").read_text() == "-i -t\n"
    assert (tmp_path / "sent").read_text() == shown.stdout


def test_a_mail_that_cannot_go_is_said(kdelta: Kdelta, posted: Path, tmp_path: Path) -> None:
    refused = kdelta("report", "--mail", "--send", PATH=sendmail(tmp_path, status=75))
    assert (refused.returncode, "(exit 75): full" in refused.stderr) == (125, True)
    store.save(sample_run(), posted)
    nobody = kdelta("report", "--mail", "--send")
    assert (nobody.returncode, "nobody is there to answer" in nobody.stderr) == (2, True)
    assert kdelta("report", "--format", "ktap", "--send").returncode == 2


def test_b4_is_answered_from_the_run_that_knows_the_mail(posted: Path, tmp_path: Path) -> None:
    def check(message: str) -> list[dict[str, str]]:
        argv = kdelta_argv("b4-check", "--results", posted.parent)
        done = subprocess.run(argv, input=message, capture_output=True, text=True, check=True, env=ENV, cwd=tmp_path)
        answer: list[dict[str, str]] = json.loads(done.stdout)
        return answer

    [found] = check("From: a\nMessage-ID: <2@example.org>\nSubject: x\n\nwords\n")
    assert (found["tool"], found["status"]) == ("kdelta", "pass")
    assert found["url"] == f"file://{posted}/report.html"
    assert "VALIDATED: mm: add MADV_DONTNEED_LOCKED" in found["details"]
    assert check("Message-ID: <other@example.org>\n\n") == check("\n") == []


def test_under_github_actions_the_step_has_a_summary(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    out = asks(tmp_path, fakelinux)
    where = {"KDELTA_CACHE": str(tmp_path / "cache"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    (tmp_path / "summary").write_text("from the step before\n")
    assert kdelta("run", "--out", out, GITHUB_ACTIONS="true", **where).returncode == 0
    assert (tmp_path / "summary").read_text().startswith("from the step before\n## CLEAN:")
