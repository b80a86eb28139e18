"""What Patchwork and a webhook are told of a run, by real servers on this machine that are told it."""

import dataclasses
import json
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kvm.errors import InfraError, UserError
from orchestrator import config, hooks
from orchestrator.model import Culprit, Patch, Run, Series, Suspect, Verdict, VerdictValue
from orchestrator.publish.formats import webhook
from tests.peer import says, server
from tests.unit.runs import sample_run, with_strength
from tests.unit.test_formats import hostile
from tests.unit.test_post import QUICK

PATCHES = tuple(Patch(f"mm: {number}", "A <a@x>", (), f"<{number}@x>") for number in (1, 2))
BLAMED = Culprit(("mm/t",), ("arm64",), (Suspect(2, "c", "mm: 2"),), 0.99, 1, 2, "kdelta", "")


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hooks.PATCHWORK_TOKEN, "sesame")
    monkeypatch.delenv(hooks.WEBHOOK_TOKEN, raising=False)


def mailed() -> Run:
    """A run of two patches that came by mail, the second of which is to blame."""
    verdict = Verdict(VerdictValue.REGRESSED, ("mm/t \x1b[2J",))
    return sample_run(series=Series("mm: x", PATCHES), verdict=verdict, culprits=(BLAMED,))


def patchwork_with(*known: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """One that knows these Message-IDs, and answers as Patchwork's API 1.2 does."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(to.path).query)
        if to.command == "POST":
            says(201, {"id": 1})(to)
        else:
            found = [name for name in known if query["msgid"] == [name]]
            says(200, [{"id": known.index(name) + 70, "msgid": f"<{name}>"} for name in found])(to)

    return answer


def to_patchwork(url: str) -> config.Report:
    return config.Report(patchwork=config.Patchwork(url=url, project="linux-mm"))


def test_patchwork_gets_a_check_of_each_patch() -> None:
    with server(patchwork_with("1@x", "2@x")) as (url, asked):
        assert hooks.tell_patchwork(mailed(), to_patchwork(url), "https://lab.example/r/report.html", QUICK) == 2
    assert [(one.command, one.path) for one in asked] == [
        ("GET", "/api/1.2/patches/?project=linux-mm&msgid=1%40x"),
        ("GET", "/api/1.2/patches/?project=linux-mm&msgid=2%40x"),
        ("POST", "/api/1.2/patches/70/checks/"),
        ("POST", "/api/1.2/patches/71/checks/"),
    ]
    assert {one.headers["Authorization"] for one in asked} == {"Token sesame"}
    first, second = (json.loads(one.body) for one in asked[2:])
    assert second == {
        "state": "fail",
        "context": "kdelta",
        "description": "regressed: mm/t ",
        "target_url": "https://lab.example/r/report.html",
    }
    assert (first["state"], "not by this patch" in first["description"]) == ("warning", True)


def test_a_patch_that_patchwork_does_not_know_is_told_and_the_others_are_checked() -> None:
    with server(patchwork_with("2@x")) as (url, asked), pytest.raises(InfraError, match="1 of 2 patches not in"):
        hooks.tell_patchwork(mailed(), to_patchwork(url), "", QUICK)
    assert [one.path for one in asked if one.command == "POST"] == ["/api/1.2/patches/70/checks/"]
    assert "target_url" not in json.loads(asked[-1].body)


@pytest.mark.parametrize("answer", [[{"id": 1, "msgid": "<other@x>"}], [{"id": 1}], {"detail": "odd"}, None, [7]])
def test_no_patch_of_somebody_else_is_checked(answer: object) -> None:
    with server(says(200, answer)) as (url, asked), pytest.raises(InfraError, match="2 of 2 patches not in"):
        hooks.tell_patchwork(mailed(), to_patchwork(url), "", QUICK)
    assert {one.command for one in asked} == {"GET"}


def test_what_patchwork_cannot_be_told_is_said_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="the series came by no mail"):
        hooks.tell_patchwork(sample_run(), to_patchwork("https://x"), "")
    with pytest.raises(UserError, match=r"pipeline\.yaml names no Patchwork"):
        hooks.tell_patchwork(mailed(), config.Report(), "")
    monkeypatch.delenv(hooks.PATCHWORK_TOKEN)
    with pytest.raises(UserError, match=r"\$KDELTA_PATCHWORK_TOKEN is not set"):
        hooks.patchwork_token(to_patchwork("https://x"))


def test_a_fault_of_others_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(says(403, "go away")) as (url, asked), caplog.at_level(logging.WARNING):
        report = to_patchwork(url).model_copy(update={"webhook": url})
        hooks.tell(mailed(), tmp_path / "run 1", report, to_patchwork=True)
        hooks.tell(mailed(), tmp_path, report.at_home(), to_patchwork=False)
    assert [one.command for one in asked] == ["POST", "GET"]
    webhook_said, patchwork_said = (one.getMessage() for one in caplog.records)
    assert 'the webhook was not told: 127.0.0.1 answers 403 Forbidden: "go away"' in webhook_said
    assert f"kdelta report '{tmp_path}/run 1' --patchwork" in patchwork_said


def test_a_webhook_is_told_the_verdict_and_where_the_report_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(hooks.WEBHOOK_TOKEN, "open")
    with server(says(200, b"ok")) as (url, asked):
        monkeypatch.setenv("LAB_HOOK", f"{url}/services/SECRET")
        report = config.Report(webhook="$LAB_HOOK", address="https://lab.example/results/")
        hooks.tell(mailed(), tmp_path / "run 1", report, to_patchwork=False)
    [one] = asked
    assert (one.path, one.headers["Authorization"]) == ("/services/SECRET", "Bearer open")
    told = json.loads(one.body)
    where = "https://lab.example/results/run%201/report.html"
    assert told["text"] == f"kdelta: regressed: mm: x (mm/t ) {where}"
    assert (told["verdict"], told["exit_code"], told["report"]) == ("regressed", 1, where)
    assert told["message_ids"] == ["<1@x>", "<2@x>"]
    assert told["culprits"] == ["patch 2 of 2 (mm: 2), 99 % sure after 1 build and 2 boots"]


def test_a_webhook_is_told_what_the_verdict_rests_on() -> None:
    told = webhook.body(with_strength("0 of 41 changed lines ran on arm64"), "")
    why = "3 of 3 declared tests fixed on x86_64 and arm64; 0 of 41 changed lines ran on arm64"
    assert told["text"] == f"kdelta: validated: mm: add MADV_DONTNEED_LOCKED ({why})"
    assert told["strength"] == "0 of 41 changed lines ran on arm64"
    assert webhook.body(mailed(), "")["strength"] is None


def test_a_webhook_whose_variable_is_not_set_is_told_by_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_HOOK", raising=False)
    hooks.tell(mailed(), tmp_path, config.Report(webhook="$LAB_HOOK"), to_patchwork=False)
    assert "$LAB_HOOK holds no http:// or https:// address" in caplog.text


@pytest.mark.parametrize("url", ["https://[::1/SECRET", "https://./SECRET", "https://x:port/SECRET"])
def test_an_address_that_is_none_is_a_warning_and_not_repeated(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hooks.tell(mailed(), tmp_path, config.Report(webhook=url, patchwork=to_patchwork(url).patchwork), to_patchwork=True)
    assert "the webhook was not told: " in caplog.text and "Patchwork was not told: " in caplog.text
    assert "SECRET" not in caplog.text


def test_a_chat_is_called_by_no_word_of_a_guest() -> None:
    text = webhook.body(hostile(), "")["text"]
    assert not set("<>@[]`*|~\n\x1b") & set(text)
    assert "http:x" in text  # no link
    interrupted = dataclasses.replace(mailed(), verdict=None)
    assert (webhook.body(interrupted, "")["verdict"], webhook.body(interrupted, "")["exit_code"]) == (None, 125)
