"""Nights on the fake tree: real git and make, guests that follow the script in their image."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvm import disk, proc
from kvm.errors import BootError, InfraError, Interrupted, UserError
from kvm.qemu import Machine
from orchestrator import store
from orchestrator.cluster.where import Where
from orchestrator.config import Accept, Nightly, NightlyKeep, NightlyQueue, NightlyTree
from orchestrator.history import ask, book, nights
from orchestrator.job import Job
from orchestrator.model import ItemEnd, ItemReport, NightReport, RunStatus
from orchestrator.nightly import night
from orchestrator.nightly.place import Place
from orchestrator.publish import html
from orchestrator.publish import night as words
from orchestrator.publish.formats import FORMATS
from tests import clusters, scripted
from tests.conftest import ROOT, Kdelta
from tests.flow.conftest import git
from tests.flow.test_scripted import FAILS, PASSES, request_for, suite  # noqa: F401  (fixtures)
from tests.peer import says, server

pytestmark = pytest.mark.long

Night = Callable[..., NightReport]


def commit(where: Path, text: str) -> None:
    (where / "mm" / "madvise.c").write_text(text)
    git(where, "commit", "-q", "-a", "-m", f"mm: {text.splitlines()[0]}")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[book.Book]:
    with book.opened(str(tmp_path / "history.sqlite")) as opened:
        yield opened


@pytest.fixture
def spend(request_for, history: book.Book, results: Path, fakelinux: Path) -> Night:  # type: ignore[no-untyped-def]  # noqa: F811
    """Have a night of `main`, and of a queue if there is one."""

    def run(
        *,
        take=scripted.take,
        queues: tuple[NightlyQueue, ...] = (),
        trees: bool = True,
        asks: dict[str, object] | None = None,
        there: Where | None = None,
        told: Callable[[ItemReport], object] = lambda _: None,
        **keys: object,
    ) -> NightReport:
        tree = NightlyTree(kernel=f"git:{fakelinux}", branches=["ma*"])
        nightly = Nightly(trees=[tree] if trees else [], queues=list(queues), **keys)
        asked = request_for(None, nightly=nightly, **{"arches": ["arm64"], **(asks or {})})
        return night.run(asked, Place(history, results, published, lambda *_: None, take, there, told))

    def published(of: Job) -> None:
        assert of.run.status is RunStatus.DONE  # a report that says it still runs would be wrong for ever

    return run


def ends(report: NightReport) -> list[str]:
    return [one.verdict if one.end is ItemEnd.RAN else one.end.value for one in report.items]


def test_a_branch_is_compared_with_its_last_tip_and_a_regression_is_bisected_once(
    spend: Night, fakelinux: Path, history: book.Book
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"first night\n{PASSES}")
    assert ends(spend()) == ["clean"]
    assert [one.seconds > 0 for one in ask.runs(history)] == [True]
    assert ends(spend()) == ["known"]
    for text in ("harmless\n" + PASSES, "breaks it\n" + FAILS, "later\n" + FAILS):
        commit(fakelinux, text)
    third = spend()
    [item] = third.items
    assert (item.verdict, third.exit_code) == ("regressed", 1)
    assert "arm64-fast example/second" in item.worse
    assert [who.split(" ", 1)[1] for who in item.culprits] == ["mm: breaks it"]
    assert "brought by" in words.summary(third) and "open regressions:" in words.summary(third)
    fourth = spend()
    assert (ends(fourth), fourth.exit_code, len(fourth.open)) == (["known"], 0, 1)


def test_the_report_of_a_branch_shows_its_patch_or_says_that_it_is_too_large(
    spend: Night, fakelinux: Path, kdelta: Kdelta
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"first\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    too_much: dict[str, object] = {"accept": Accept(series_size=100), "repeats": 2}
    first, second = (Path(spend(asks=asks).items[0].directory) for asks in ({}, too_much))
    shown, none = (html.render(store.load(where), where) for where in (first, second))
    assert 'id="patch"' in shown and "mm/madvise.c: every changed line" in shown
    assert 'id="patch"' not in none
    assert re.search(r"the patch is not shown: it has \d+ bytes, and accept.series_size is 100", none)
    base, tip = git(fakelinux, "rev-parse", "HEAD~1"), git(fakelinux, "rev-parse", "HEAD")
    planned = kdelta("plan", "--pipeline", first / "pipeline.yaml", "--json")
    assert json.loads(planned.stdout)["series"] == f"{base}..{tip}", planned.stderr


def test_a_regression_stays_open_until_what_failed_passes(spend: Night, fakelinux: Path) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"breaks it\n{FAILS}")
    opened = spend().open
    commit(fakelinux, f"touches it\n{FAILS}")
    report = spend(keep=NightlyKeep(runs=1))
    assert (ends(report), report.open, report.pruned) == (["clean"], opened, ())
    assert all(Path(where).is_dir() for [where] in opened.values())
    commit(fakelinux, f"repairs it\n{PASSES}")
    report = spend(keep=NightlyKeep(runs=1))
    assert (ends(report), report.open) == (["clean"], {})
    assert {where for [where] in opened.values()} < set(report.pruned)


def test_every_run_of_an_item_stays_open_whose_regressions_still_fail(spend: Night, fakelinux: Path) -> None:
    def tonight(text: str, first: str, second: str) -> list[str]:
        commit(fakelinux, f"{text}\nprogram:\nsay 1..2\nsay {first} 1 t1\nsay {second} 2 t2\n")
        report = spend(keep=NightlyKeep(runs=1), asks={"bisect": False})
        ran.append(report.items[0].directory)
        named = [where for some in report.open.values() for where in some]
        assert all(Path(where).is_dir() for where in named)
        assert named == re.findall(r"^  git:.* (/\S+)$", words.summary(report), re.MULTILINE)
        return [f"run {ran.index(where) + 1}" for where in named]

    ran: list[str] = []
    commit(fakelinux, f"start\n{PASSES.replace('first', 't1').replace('second', 't2')}")
    assert tonight("breaks t1", "not ok", "ok") == ["run 1"]
    assert tonight("breaks t2", "not ok", "not ok") == ["run 1", "run 2"]
    assert tonight("repairs t2", "not ok", "ok") == ["run 1"]
    assert tonight("breaks t2 again", "not ok", "not ok") == ["run 1", "run 4"]
    assert tonight("repairs t1", "ok", "not ok") == ["run 4"]
    assert tonight("repairs all", "ok", "ok") == []


def test_a_run_is_not_open_beside_a_newer_one_in_which_all_of_it_regressed_again(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    where = (NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}"),)
    for version in ("first", "second"):
        make_series(f"{version} version\n{FAILS}").rename(queue / "one")
        report = spend(queues=where, trees=False)
        assert list(report.open.values()) == [(report.items[0].directory,)]
        shutil.rmtree(queue / "one")


def test_what_cannot_be_read_for_one_night_keeps_its_regressions_open(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    git(fakelinux, "tag", "good")
    (queue := tmp_path / "queue").mkdir()
    make_series(f"breaks it, too\n{FAILS}").rename(queue / "one")
    commit(fakelinux, f"breaks it\n{FAILS}")
    where = (NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}", base="good"),)
    opened = spend(queues=where).open
    assert len(opened) == 2
    for path in (fakelinux, queue):
        path.rename(path.with_name(f"{path.name}-away"))
    report = spend(queues=where, keep=NightlyKeep(runs=1, days=1e-6))
    assert (ends(report), report.open, report.pruned) == (["failed", "failed"], opened, ())
    for path in (fakelinux, queue):
        path.with_name(f"{path.name}-away").rename(path)
    shutil.rmtree(queue / "one")
    assert set(spend(queues=where).open.values()) < set(opened.values())  # a series that has gone is no failed queue


def test_a_branch_that_has_gone_is_told_and_one_that_was_never_there_is_a_failure(
    spend: Night, fakelinux: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"breaks it\n{FAILS}")
    [[opened]] = spend().open.values()
    git(fakelinux, "branch", "-m", "main", "trunk")
    report = spend()
    assert (sorted(ends(report)), report.exit_code, report.open) == (["failed", "gone"], 125, {})
    assert {one.item.split(" ")[-1] for one in report.items} == {"ma*", "main"}
    assert f"nobody waits for {opened}" in words.summary(report) and "there is no such branch" in words.summary(report)


def test_each_branch_that_cannot_be_looked_at_is_a_failure_by_itself(
    spend: Night, fakelinux: Path, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    git(fakelinux, "checkout", "-q", "--orphan", "ma-notes")
    git(fakelinux, "commit", "-q", "-m", "without a parent")
    git(fakelinux, "checkout", "-q", "main")
    queue = NightlyQueue(branches=["topic", "series/*"], kernel=f"git:{fakelinux}", base="main")
    report = spend(queues=(queue,))
    found = {one.item.split(" ")[-1]: (one.end.value, one.words) for one in report.items}
    assert {name: end for name, (end, _) in found.items()} == {"main": "ran", "ma-notes": "failed", "topic": "failed"}
    assert "has no parent" in found["ma-notes"][1] and "no such branch" in found["topic"][1]


def test_a_branch_that_is_pushed_back_to_a_known_tip_regresses_no_more_and_grows_on_from_there(
    spend: Night, fakelinux: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"good\n{PASSES}")
    spend()
    commit(fakelinux, f"breaks it\n{FAILS}")
    assert len(spend().open) == 1
    git(fakelinux, "reset", "-q", "--hard", "HEAD~1")
    report = spend()
    assert (ends(report), report.open) == (["known"], {})
    commit(fakelinux, f"breaks it, too\n{FAILS}")
    assert ends(spend()) == ["regressed"]  # compared with the good tip, not with the one that was dropped
    git(fakelinux, "reset", "-q", "--hard", "HEAD~1")
    spend()
    git(fakelinux, "reset", "-q", "--hard", "HEAD@{1}")
    report = spend()
    assert (ends(report), len(report.open)) == (["known"], 1)  # it is there again


def test_another_matrix_config_or_suite_is_new_and_is_compared_with_what_it_was(
    spend: Night,
    fakelinux: Path,
    make_series,
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    for text in (f"start\n{PASSES}", f"first night\n{PASSES}"):
        commit(fakelinux, text)
    spend()
    for text in (f"breaks it\n{FAILS}", f"later\n{FAILS}"):
        commit(fakelinux, text)
    assert ends(spend()) == ["regressed"]
    (queue := tmp_path / "queue").mkdir()
    make_series(f"a series\n{FAILS}").rename(queue / "one")
    where = (NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}"),)
    (fragment := tmp_path / "more.config").write_text("CONFIG_KSM=y\n")
    spend(queues=where)
    new = ["regressed", "clean"]
    assert ends(spend(queues=where, arches=["x86_64", "arm64"])) == new
    assert ends(spend(queues=where, arches=["arm64", "x86_64"])) == ["known", "known"]
    assert ends(spend(queues=where, asks={"repeats": 2})) == new
    assert ends(spend(queues=where, asks={"fragments": [str(fragment)]})) == new
    fragment.write_text("CONFIG_KSM=n\n")
    assert ends(spend(queues=where, asks={"fragments": [str(fragment)]})) == new
    (suite / "main.c").write_text("int main(void) { return 1; }\n")
    (suite / ".cache").write_text("is nobody's\n")
    assert ends(spend(queues=where)) == new
    assert ends(spend(queues=where)) == ["known", "known"]


@pytest.mark.parametrize("broken", ["SYNTAX\n", "boot: panic\n", "program:\nsay 1..2\nsay ok 1 first\npanic\n"])
def test_a_tip_that_does_not_build_or_boot_or_dies_is_compared_with_no_other_one(
    spend: Night, fakelinux: Path, broken: str
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"breaks it\n{broken}{PASSES}")
    first = spend()
    assert (ends(first), len(first.open)) == (["regressed"], 1)
    commit(fakelinux, f"touches it\n{broken}{PASSES}")
    second = spend()
    assert (ends(second), len(second.open)) == (["regressed"], 1)
    assert [len(one.culprits) for one in (*first.items, *second.items)] == [1, 0]  # it is known who did it
    commit(fakelinux, f"repairs it\n{PASSES}")
    third = spend()
    assert (ends(third), third.open) == (["clean"], {})


def test_an_item_that_fails_keeps_no_other_from_running_and_is_tried_again(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    (queue / "0-broken.patch").write_text("no patch\n")
    make_series(f"a series\n{PASSES}").rename(queue / "1-fine")
    where = NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}")
    gone = NightlyQueue(directory=str(tmp_path / "gone"))
    report = spend(queues=(gone, where))
    assert sorted(ends(report)) == ["clean", "clean", "failed", "failed"]
    assert report.exit_code == 125
    assert sorted(ends(spend(queues=(gone, where)))) == ["failed", "failed", "known", "known"]
    shutil.rmtree(queue / "1-fine")
    make_series(f"another version\n{FAILS}").rename(queue / "1-fine")
    report = spend(queues=(where,))
    [item] = [one for one in report.items if one.end is ItemEnd.RAN]
    assert (item.verdict, report.exit_code) == ("regressed", 1)
    assert "arm64-fast example/second" in item.worse  # than the version before


def test_any_fault_as_a_queue_is_listed_or_somebody_told_ends_that_and_not_the_night(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    for name in ("a", "b"):
        make_series(f"series {name}\n{PASSES}").rename(queue / name)
    heard: list[str] = []

    def told(one: ItemReport) -> None:
        heard.append(one.verdict)
        raise ValueError("nobody listens")

    broken, fine = NightlyQueue(directory="no\0path"), NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}")
    report = spend(queues=(broken, fine), trees=False, told=told)
    assert (ends(report), heard) == (["failed", "clean", "clean"], ["clean", "clean"])
    assert sum("nobody listens" in line for line in caplog.messages) == 2


def test_a_machine_that_fails_in_one_item_works_for_the_next(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    make_series(f"a series\n{PASSES}").rename(queue / "one")
    calls: list[int] = []

    def take(machine: Machine, **asked: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise InfraError("the disk is full")
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    report = spend(take=take, queues=(NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}"),))
    assert sorted(ends(report)) == ["clean", "failed"]
    assert "the disk is full" in words.summary(report)


def test_series_come_from_a_maildir_and_from_branches(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    box = tmp_path / "mail"
    for part in ("cur", "new", "tmp"):
        (box / part).mkdir(parents=True)
    for number, patch in enumerate(sorted(make_series(f"mailed\n{PASSES}", f"twice\n{PASSES}").glob("*.patch"))):
        head = f"Message-ID: <{number}@x>\n" + ("References: <0@x>\n" if number else "")
        (box / "new" / f"{number}.host").write_text(head + patch.read_text().split("\n", 1)[1])
    (box / "new" / "9.host").write_text("From: a@b\nMessage-ID: <9@x>\nSubject: lunch?\n\nno patch\n")
    (box / "new" / "8.host").write_text("From: a@b\nMessage-ID: <8@x>\nIn-Reply-To: <0@x>\nSubject: Re: it\n\nnice\n")
    (box / "cur" / "7.host:2,T").write_text("From: a@b\nMessage-ID: <7@x>\nSubject: [PATCH] deleted\n\nno\n")
    queues = (
        NightlyQueue(maildir=str(box), kernel=f"git:{fakelinux}", base="main"),
        NightlyQueue(branches=["top*"], kernel=f"git:{fakelinux}", base="main"),
    )
    report = spend(queues=queues, trees=False)
    assert [(one.end, one.verdict) for one in report.items] == [(ItemEnd.RAN, "clean")] * 2
    assert [one.item.split(": ")[1] for one in report.items] == ["<0@x>", "topic"]
    assert ends(spend(queues=queues, trees=False)) == ["known", "known"]
    assert not (tmp_path / "results" / "nightly" / "mail").exists()


def test_series_come_from_a_search_of_an_archive(spend: Night, fakelinux: Path, make_series) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    [patch] = make_series(f"mailed\n{PASSES}", cover=False).glob("*.patch")
    mbox = patch.read_text().replace("\nFrom: ", "\nMessage-ID: <1@x>\nFrom: ", 1)
    with server(says(200, mbox.encode()), says(404), says(403)) as (url, _):
        queues = [NightlyQueue(search="s:mailed", archive=url, kernel=f"git:{fakelinux}", base="main")]
        found, nothing, refused = (spend(queues=tuple(queues), trees=False) for _ in range(3))
    assert [(one.item, one.verdict) for one in found.items] == [("search s:mailed: <1@x>", "clean")]
    assert nothing.items == ()
    assert [(one.end, "403" in one.words) for one in refused.items] == [(ItemEnd.FAILED, True)]


def test_b4_is_named_where_it_is_missing(spend: Night, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    [item] = spend(queues=(NightlyQueue(b4=["20260101-x@example.org"]),), trees=False).items
    assert item.end is ItemEnd.FAILED and "b4 is needed" in item.words


def test_what_is_cut_off_goes_on_the_next_night(
    spend: Night, fakelinux: Path, results: Path, history: book.Book
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")

    def killed(machine: Machine, **asked: object) -> object:
        raise Interrupted

    with pytest.raises(Interrupted):
        spend(take=killed)
    proc.stop.clear()
    [begun] = nights.entries(history)
    assert begun.verdict == ""
    report = spend()
    assert (ends(report), report.items[0].directory) == (["clean"], begun.directory)
    assert len(list(results.glob("*/run.json"))) == 1


@pytest.mark.usefixtures("regressed")
def test_a_bisection_that_is_cut_off_goes_on_the_next_night(spend: Night) -> None:
    def killed_between(machine: Machine, **asked: object) -> object:
        if between(machine):
            raise Interrupted
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    with pytest.raises(Interrupted):
        spend(take=killed_between)
    proc.stop.clear()
    [item] = spend().items
    assert (item.verdict, [who.split(" ", 1)[1] for who in item.culprits]) == ("regressed", ["mm: breaks it"])


def between(machine: Machine) -> bool:
    """Is it a kernel that the bisection of `regressed` boots?"""
    image = machine.image.read_bytes()
    return b"first night" not in image and b"later" not in image


@pytest.fixture
def regressed(spend: Night, fakelinux: Path) -> None:
    """A night, and three commits later, of which one breaks a test."""
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"first night\n{PASSES}")
    spend()
    for text in ("harmless\n" + PASSES, "breaks it\n" + FAILS, "later\n" + FAILS):
        commit(fakelinux, text)


@pytest.mark.usefixtures("regressed")
def test_a_bisection_that_the_budget_ends_keeps_the_verdict_and_goes_on_the_next_night(
    spend: Night,
) -> None:
    def endless_between(machine: Machine, **asked: object) -> object:
        if between(machine):
            proc.wait_readable([], 600)
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    report = spend(take=endless_between, budget=20)
    [item] = report.items
    assert (ends(report), report.exit_code, list(report.open.values())) == (["regressed"], 1, [(item.directory,)])
    assert item.words.endswith("not looked for to the end: the time was spent, and the next night goes on")
    assert list(report.open.values()) == list(spend(budget=0.01).open.values())  # nobody has looked at it since
    again = spend()
    [item] = again.items
    assert (ends(again), [who.split(" ", 1)[1] for who in item.culprits]) == (["regressed"], ["mm: breaks it"])
    assert "to the end" not in item.words
    assert ends(spend()) == ["known"]


@pytest.mark.usefixtures("regressed")
def test_a_fault_of_a_bisection_is_told_and_keeps_the_verdict(spend: Night) -> None:
    def broken_between(machine: Machine, **asked: object) -> object:
        if between(machine):
            raise InfraError("QEMU did not start")
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    report = spend(take=broken_between)
    assert (ends(report), report.exit_code, len(report.open)) == (["regressed"], 1, 1)
    assert "the culprit was not looked for to the end: QEMU did not start" in words.summary(report)
    assert ends(spend()) == ["known"]


def test_a_branch_that_loses_a_repair_is_regressed_and_it_is_said_that_no_commit_brought_it(
    spend: Night, fakelinux: Path
) -> None:
    commit(fakelinux, f"broken\n{FAILS}")
    commit(fakelinux, f"repaired\n{PASSES}")
    spend()
    git(fakelinux, "reset", "-q", "--hard", "HEAD~1")
    for text in ("one", "two"):
        commit(fakelinux, f"{text}\n{FAILS}")
    report = spend()
    assert (ends(report), report.exit_code, len(report.open)) == (["regressed"], 1, 1)
    assert "is repaired by a commit that base has and patched has not" in words.summary(report)


def test_a_budget_that_is_spent_stops_what_runs_and_the_next_night_begins_with_what_waited(
    spend: Night, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    for name in ("a", "b"):
        make_series(f"series {name}\n{PASSES}").rename(queue / name)
    where = (NightlyQueue(directory=str(queue), kernel=f"git:{fakelinux}"),)

    def endless(machine: Machine, **asked: object) -> object:
        proc.wait_readable([], 600)
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    report = spend(take=endless, queues=where, trees=False, budget=4)
    assert (ends(report), report.exit_code) == (["left", "left"], 0)
    assert "the time was spent" in words.summary(report)
    assert not proc.stop.is_set()
    report = spend(queues=where, trees=False)
    assert ends(report) == ["clean", "clean"]
    assert report.items[0].item.endswith("b")


def killed_from_outside(machine: Machine, **asked: object) -> object:
    raise BootError("QEMU was killed", kind="killed", log=_console(**asked), hint="was it the OOM killer?")


def _console(*, workdir: Path, **_: object) -> Path:
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "console.log").touch()
    return workdir / "console.log"


def test_what_gave_no_answer_is_tried_again_and_has_the_one_that_it_gives_then(
    spend: Night, fakelinux: Path, history: book.Book
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"breaks it\n{FAILS}")
    first = spend(take=killed_from_outside)
    assert (ends(first), first.exit_code) == (["inconclusive"], 125)
    second = spend()
    [item] = second.items
    assert (ends(second), second.exit_code, len(item.culprits)) == (["regressed"], 1, 1)
    assert item.directory != first.items[0].directory
    assert [one.verdict for one in nights.entries(history)] == ["inconclusive", "regressed"]
    third = spend(keep=NightlyKeep(runs=1))
    assert (ends(third), third.pruned) == (["known"], (first.items[0].directory,))


def test_what_never_gives_an_answer_is_told_every_night_and_not_tried_for_ever(
    spend: Night, fakelinux: Path, results: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    tries = [spend(take=killed_from_outside) for _ in range(3)]
    assert [ends(one) for one in tries] == [["inconclusive"]] * 3
    for _ in range(2):
        report = spend(keep=NightlyKeep(runs=1))
        [item] = report.items
        assert (ends(report), report.exit_code) == (["unjudged"], 125)
        assert f"inconclusive 3 times, and not run again as it is: {item.directory}" in words.summary(report)
    assert [str(path.parent) for path in results.glob("*/run.json")] == [item.directory]
    commit(fakelinux, f"next\n{PASSES}")
    assert ends(spend()) == ["clean"]


def test_a_second_try_that_is_cut_off_goes_on_the_next_night(spend: Night, fakelinux: Path, history: book.Book) -> None:
    def stopped(machine: Machine, **asked: object) -> object:
        raise Interrupted

    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"tip\n{PASSES}")
    spend(take=killed_from_outside)
    with pytest.raises(Interrupted):
        spend(take=stopped)
    proc.stop.clear()
    [_, begun] = nights.entries(history)
    report = spend()
    assert (ends(report), report.items[0].directory) == (["clean"], begun.directory)
    assert [one.verdict for one in nights.entries(history)] == ["inconclusive", "clean"]


def test_a_night_on_a_cluster_that_is_cut_off_goes_on_there_and_bisects_here(
    spend: Night, fakelinux: Path, results: Path, tmp_path: Path
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"first night\n{PASSES}")
    with clusters.running(tmp_path / "cluster", "one") as cluster:
        assert ends(spend(there=cluster.where())) == ["clean"]
        assert len(cluster.boots()) == 2
        for text in (f"breaks it\n{FAILS}", f"later\n{FAILS}"):
            commit(fakelinux, text)
        (hold := cluster.top / "hold").touch()
        once: dict[str, object] = {"rerun": {"pairs": 0}}
        left = spend(there=cluster.where(), asks=once, budget=15)
        assert (ends(left), len(cluster.boots())) == (["left"], 4)
        cluster.until(lambda: not cluster.busy(), "the errand goes on")
        hold.unlink()
        [item] = spend(there=cluster.where(), asks=once).items
        boots = len(cluster.boots())
    assert (item.verdict, [who.split(" ", 1)[1] for who in item.culprits]) == ("regressed", ["mm: breaks it"])
    assert boots == 6
    run = store.load(Path(item.directory))
    assert len(list(results.glob("*/run.json"))) == 2
    assert [one.task.partition(" on ")[0] for one in run.timeline if " on " in one.task] == ["guests arm64-fast"]


def test_two_nights_never_run_at_once(spend: Night, results: Path, fakelinux: Path) -> None:
    (results / "nightly").mkdir(parents=True)
    with disk.alone(results / "nightly"), pytest.raises(UserError, match="another nightly runs"):
        spend()


def test_the_command_prints_and_writes_one_summary_and_the_page(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    (tmp_path / "queue" / "empty").mkdir(parents=True)
    (tmp_path / "pipeline.yaml").write_text(
        f"kernel: git:{fakelinux}\nnightly:\n  queues:\n  - directory: queue\n  keep: {{runs: 3}}\n"
        "report:\n  formats: [junit, ktap, kcidb, sarif, markdown, mail]\n  webhook: $HOOK\n"
    )
    with server(says(200)) as (url, told):
        github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        done = kdelta("nightly", KDELTA_HISTORY="", KDELTA_CACHE=str(tmp_path / "cache"), HOOK=url, **github)
    assert [json.loads(one.body)["verdict"] for one in told] == ["clean"]
    [run] = (tmp_path / "results").glob("*/run.json")
    assert {form.file for form in FORMATS.values()} < {file.name for file in run.parent.iterdir()}
    assert done.returncode == 0, done.stderr
    assert "1 clean" in done.stdout
    [written] = (tmp_path / "results" / "nightly").glob("*.txt")
    assert written.read_text() == done.stdout
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("\n    kdelta nightly 20") and "\n\n## CLEAN:" in summary
    assert json.loads(written.with_suffix(".json").read_text())["items"][0]["item"] == "directory queue: empty"
    assert "1 runs" in (tmp_path / "results" / "index.html").read_text()
    again = kdelta("nightly", "--json", KDELTA_HISTORY="", KDELTA_CACHE=str(tmp_path / "cache"))
    assert json.loads(again.stdout)["items"][0]["end"] == "known"


SCRIPTED = (
    "from kvm import snapshot; from tests import scripted; snapshot.take = scripted.take; "
    "from orchestrator.cli import entry; entry()"
)


@contextlib.contextmanager
def nightly(where: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process of its own, whose guests follow a script; it is killed where it still runs."""
    with (where / "said").open("ab") as said:
        command = [sys.executable, "-c", SCRIPTED, "nightly"]
        own = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        process = subprocess.Popen(command, cwd=where, env=own, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def asleep(night: subprocess.Popen[bytes]) -> int:
    """The process for which a build waits, once it does."""
    found: list[int] = []

    def look() -> bool:
        found.extend(int(pid) for pid, name in clusters.below(night.pid).items() if name == "sleep")
        return bool(found)

    clusters.until(look, "no build waits", seconds=600)
    return found[0]


def test_a_night_that_is_killed_in_a_build_goes_on_in_the_same_run_and_does_nothing_twice(
    request_for,  # type: ignore[no-untyped-def]  # noqa: F811
    make_series,
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
    results: Path,
    history: book.Book,
) -> None:
    makefile = fakelinux / "Makefile"
    waits = "\t@! grep -q SLOW $< || sleep 999 || true\n"
    makefile.write_text(makefile.read_text().replace("\t@echo COMPILED", f"{waits}\t@echo COMPILED"))
    commit(fakelinux, f"start\n{PASSES}")
    (queue := tmp_path / "queue").mkdir()
    for name, text in (("a", "quick"), ("b", "SLOW")):
        make_series(f"{text}\n{PASSES}").rename(queue / name)
    (tmp_path / "pipeline.yaml").write_text(
        f"kernel: git:{fakelinux}\nsuites: [{suite}]\narches: [arm64]\nnightly: {{queues: [{{directory: queue}}]}}\n"
    )
    env = {"KDELTA_HISTORY": str(tmp_path / "history.sqlite"), "KDELTA_CACHE": request_for(None).cache}
    with nightly(tmp_path, **env) as killed:
        asleep(killed)
    first, cut_off = nights.entries(history)
    assert (first.verdict, cut_off.verdict) == ("clean", "")
    with nightly(tmp_path, **env) as again:
        os.kill(asleep(again), signal.SIGTERM)
        assert again.wait(600) == 0, (tmp_path / "said").read_text()
    [written] = (results / "nightly").glob("*.json")
    known, ran = sorted(json.loads(written.read_text())["items"], key=lambda one: one["item"])
    assert (known["end"], known["directory"]) == ("known", first.directory)
    assert (ran["end"], ran["verdict"], ran["directory"]) == ("ran", "clean", cut_off.directory)
    assert [one.verdict for one in nights.entries(history)] == ["clean", "clean"]
    assert {str(path.parent) for path in results.glob("*/run.json")} == {first.directory, cut_off.directory}
    assert len(ask.runs(history)) == 2


def test_what_cannot_be_written_takes_neither_the_summary_nor_the_exit_code(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    (tmp_path / "queue" / "empty").mkdir(parents=True)
    (tmp_path / "results" / "index.html").mkdir(parents=True)
    (tmp_path / "pipeline.yaml").write_text(f"kernel: git:{fakelinux}\nnightly: {{queues: [{{directory: queue}}]}}\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}
    done = kdelta("nightly", KDELTA_HISTORY="", KDELTA_CACHE=str(tmp_path / "cache"), **github)
    assert (done.returncode, "1 clean" in done.stdout) == (0, True), done.stderr
    assert "the page of all runs is as it was: " in done.stderr and "GitHub is not told: " in done.stderr


def test_the_summary_shows_hostile_words_as_text() -> None:
    item = ItemReport("queue: \x1b[2J", ItemEnd.FAILED, words="says \x1b]0;x\x07 and\nmore")
    said = words.summary(NightReport("now", 1.0, (item,), {}, ()))
    assert "\x1b" not in said and len(said.splitlines()) == 3


def test_the_summary_says_what_a_verdict_rests_on() -> None:
    item = ItemReport("q", ItemEnd.RAN, "mm: x", "clean", "nothing regressed", "0 of 41 changed lines ran", "results/1")
    said = words.summary(NightReport("now", 1.0, (item,), {}, ()))
    assert said.splitlines()[1:] == [
        "  clean        q",
        "    mm: x, 0.0 s: results/1",
        "    0 of 41 changed lines ran",
    ]


def test_what_is_kept_of_a_night(tmp_path: Path) -> None:
    def entry(number: int, verdict: str = "clean", item: str = "") -> nights.Entry:
        (where := tmp_path / f"run{number}").mkdir()
        return nights.Entry(item or f"item{number}", "c", "", number, str(where), verdict)

    found = [entry(0, ""), entry(1), entry(2, "", "again"), entry(3, "clean", "again"), entry(4)]
    going = nights.prune(found, {str(tmp_path / "run1")}, runs=1, oldest=0)
    assert [path.name for path in going] == ["run3", "run2"]
    assert [path.name for path in nights.prune(found, (), runs=9, oldest=4)] == ["run3", "run2", "run1"]


def test_the_command_spends_its_night_on_the_cluster_that_the_file_names(
    kdelta: Kdelta,
    request_for,  # type: ignore[no-untyped-def]  # noqa: F811
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    commit(fakelinux, f"start\n{PASSES}")
    commit(fakelinux, f"breaks it\n{FAILS}")
    cache = request_for(None).cache
    with clusters.running(tmp_path / "cluster", "one", scheme="tls") as cluster:
        (tmp_path / "pipeline.yaml").write_text(
            f"kernel: git:{fakelinux}\nsuites: [{suite}]\narches: [arm64]\nbisect: false\nrerun: {{pairs: 0}}\n"
            f"nightly:\n  trees: [{{kernel: 'git:{fakelinux}', branches: [main]}}]\n"
            f"  cluster: {{scheduler: '{cluster.url}', store: cluster/store, tls: cluster/tls}}\n"
        )
        done = kdelta("nightly", KDELTA_HISTORY="", KDELTA_CACHE=cache)
        assert done.returncode == 1, done.stderr
        assert len(cluster.boots()) == 2
    [run] = (tmp_path / "results").glob("*/run.json")
    assert json.loads((run.parent / store.CLUSTER).read_bytes())["scheduler"] == cluster.url


def test_a_cluster_that_cannot_be_used_is_a_fault_before_anything_runs(kdelta: Kdelta, tmp_path: Path) -> None:
    head = "nightly:\n  queues: [{directory: .}]\n  cluster: "
    for named, said in (
        ("{scheduler: 'tls://10.0.0.1:8786'}", "pipeline.yaml:3:3: nightly.cluster.store: field required"),
        ("{scheduler: 'tcp://10.0.0.1:8786', store: here}", "without TLS anybody who reaches it"),
        ("{scheduler: 'tls://10.0.0.1:8786', store: here, tls: none}", f"no such file: {tmp_path}/none/ca.pem"),
    ):
        (tmp_path / "pipeline.yaml").write_text(f"{head}{named}\n")
        done = kdelta("nightly", KDELTA_HISTORY="")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_queue_that_is_two_things_is_a_fault_with_its_place(kdelta: Kdelta, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("nightly:\n  queues:\n  - directory: a\n    maildir: b\n")
    done = kdelta("nightly", KDELTA_HISTORY="")
    assert done.returncode == 2
    assert "pipeline.yaml:3:5: a queue is one of directory, maildir, branches, b4, search" in done.stderr
