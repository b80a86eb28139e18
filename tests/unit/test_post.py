"""Real servers on this machine that fail in the ways servers do, and what is said to them."""

import json
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import InfraError, Interrupted, UserError
from orchestrator.post import ANSWER_BYTES, Patience, Peer
from tests.peer import drips, hangs_up, is_silent, says, server

QUICK = Patience(connect=2, answer=2, whole=30, pause=0.02)


def test_a_flaky_server_is_asked_again_until_it_answers() -> None:
    with server(says(503), hangs_up, says(429, Retry_After="86400"), says(201, {"id": 7})) as (url, asked):
        assert Peer(url, "Token x", QUICK).post("/checks/", {"state": "fail"}) == {"id": 7}
    assert [json.loads(one.body) for one in asked] == [{"state": "fail"}] * 4
    assert {one.headers["Authorization"] for one in asked} == {"Token x"}


def test_a_server_that_stays_broken_is_asked_so_often_and_no_more() -> None:
    with server(says(500, b"<h1>\x1b[2J</h1>")) as (url, asked), pytest.raises(InfraError, match="answers 500"):
        Peer(url, "", QUICK).post("/", {})
    assert len(asked) == QUICK.tries


def test_a_refusal_is_told_and_not_asked_again() -> None:
    with server(says(403, {"detail": "no such token"})) as (url, asked), pytest.raises(InfraError) as fault:
        Peer(url, "", QUICK).post("/secret/path", {})
    assert fault.value.message == '127.0.0.1 answers 403 Forbidden: {"detail": "no such token"}'
    assert len(asked) == 1


def test_no_redirect_is_followed_and_none_gets_the_token() -> None:
    away = pytest.raises(InfraError, match="redirects to another address, which is not followed")
    with server(says(200)) as (other, reached), server(says(307, Location=other)) as (url, asked), away:
        Peer(url, "Token x", QUICK).post("/", {})
    assert (len(asked), reached) == (1, [])


def test_a_silent_server_and_one_that_drips_are_waited_for_so_long_and_no_longer() -> None:
    with server(is_silent) as (url, asked), pytest.raises(InfraError, match="Read timed out"):
        Peer(url, "", Patience(answer=0.1, tries=2)).get("/")
    assert len(asked) == 2
    with server(drips) as (url, _), pytest.raises(InfraError, match=r"not done after 0\.3 s"):
        Peer(url, "", Patience(whole=0.3)).get("/")


def test_a_person_who_wants_to_stop_waits_for_no_server() -> None:
    with server(is_silent) as (url, _):
        proc.stop.set()
        with pytest.raises(Interrupted):
            Peer(url).get("/")


def test_nobody_there_is_told_without_the_address_that_may_be_a_secret() -> None:
    with server(says(200)) as (url, _):
        pass
    with pytest.raises(InfraError) as fault:
        Peer(url, "", QUICK).post("/services/SECRET", {})
    assert "Connection refused" in fault.value.message
    assert "SECRET" not in fault.value.message


def test_a_token_goes_to_nobody_in_plain_words() -> None:
    with pytest.raises(UserError, match=r"lab\.example would get a token that anybody can read"):
        Peer("http://lab.example/api", "Token x")
    Peer("http://lab.example/hook")
    Peer("https://lab.example/api", "Token x")


def test_what_netrc_says_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with server(says(204, b"")) as (url, asked):
        assert Peer(url, "", QUICK).post("/", {}) is None
    assert asked[0].headers["Authorization"] is None


def test_of_an_endless_answer_no_more_is_read_than_anybody_says() -> None:
    with server(says(200, b" " * (ANSWER_BYTES + 9) + b"{}")) as (url, _):
        assert Peer(url, "", QUICK).get("/") is None
