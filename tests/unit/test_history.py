"""The history of runs, in SQLite and in PostgreSQL: the same answers from both."""

import base64
import dataclasses
import datetime
import functools
import itertools
import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, func, select, text

from kvm.errors import InfraError, UserError
from orchestrator.history import ask, book, flaky, nights, schema, write
from orchestrator.history.book import Book
from orchestrator.model import (
    Change,
    ChangeKind,
    Evidence,
    LineCoverage,
    LineState,
    Observed,
    Outcome,
    Rate,
    Run,
    Series,
    Side,
    Verdict,
    VerdictValue,
)
from orchestrator.publish import index, past
from tests import postgres
from tests.unit.runs import change, sample_run

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP
DAY = 86400
NOON = 1_775_995_200  # 2026-04-12 12:00 UTC


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres.cluster() as url:
        yield url


_numbers = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A history that is not there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "history.sqlite")
    url, name = request.getfixturevalue("server"), f"history{next(_numbers)}"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:").replace("/?", "/postgres?"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name}"))
    engine.dispose()
    return str(url.replace("/?", f"/{name}?"))


@pytest.fixture
def history(where: str) -> Iterator[Book]:
    with book.opened(where) as opened:
        yield opened


def run(day: int, *tests: Change, images: str = "ab", **more: object) -> Run:
    """One of a day's runs, on images that are named by a letter: base's, and patched's."""
    empty = sample_run()
    sides = dict(zip(Side, images, strict=True))
    builds = tuple(
        dataclasses.replace(one, image_sha256=sides[one.side]) for one in empty.builds if one.arch == "arm64"
    )
    began = datetime.datetime.fromtimestamp(NOON + day * DAY, datetime.UTC).isoformat()
    fields = {"id": f"run-{day}", "started": began, "builds": builds, "tests": tests, **more}
    return dataclasses.replace(empty, **fields)


def arm(name: str, base: Outcome = PASS, patched: Outcome = PASS, **more: object) -> Change:
    kind = more.pop("kind", ChangeKind.SAME if base is patched else ChangeKind.REGRESSED)
    return change(name, "arm64", base, patched, kind, **more)  # type: ignore[arg-type]


def add(history: Book, *runs: Run) -> None:
    for one in runs:
        write.add(history, one, Path("/results") / one.id)


def seen(history: Book, name: str) -> list[tuple[str, str, str, int, int]]:
    """Of every run: its name, and outcomes and failures of both sides."""
    return [
        (one.name, sight.base.outcome, sight.patched.outcome, sight.base.failed, sight.patched.failed)
        for one, sight in ask.story(history, "madvise_locked", name)
    ]


def test_what_passed_failed_or_was_skipped_comes_back_from_every_run_that_had_it(history: Book) -> None:
    evidence = Evidence(Rate(0, 6, 0, 0.4), Rate(6, 6, 0.6, 1))
    add(
        history,
        run(2, arm("a"), arm("b", PASS, FAIL, evidence=evidence), arm("new")),
        run(1, arm("a"), arm("b"), arm("c", SKIP, SKIP)),
        run(3, arm("a", FAIL, FAIL, kind=ChangeKind.SAME_FAIL), arm("b")),
    )
    assert seen(history, "a") == [
        ("run-1", "pass", "pass", 0, 0),
        ("run-2", "pass", "pass", 0, 0),
        ("run-3", "fail", "fail", 1, 1),
    ]
    assert seen(history, "b")[1] == ("run-2", "pass", "fail", 0, 6)
    assert seen(history, "c") == [("run-1", "skip", "skip", 0, 0)]
    assert [name for name, *_ in seen(history, "new")] == ["run-2"]


def test_the_story_is_told_with_rates_first_seen_and_last_good(history: Book) -> None:
    add(history, run(1, arm("a")), run(2, arm("a")), run(3, arm("a", PASS, FAIL)))
    told = past.story("madvise_locked", "a", ask.story(history, "madvise_locked", "a")).splitlines()
    assert told[1] == "arm64-fast: failed 0 of 3 on base, failed 1 of 3 on patched, in 3 runs"
    assert told[2].startswith("  first seen 2026-04-13") and told[2].endswith("run-1")
    assert told[3].startswith("  last good  2026-04-14") and told[3].endswith("run-2")
    assert told[-1].split()[2:] == ["base", "pass", "patched", "fail", "1/1", "regressed", "run-3"]


def test_a_run_that_is_added_again_counts_once(history: Book) -> None:
    add(history, run(1, arm("a")), run(1, arm("a", PASS, FAIL)))
    assert seen(history, "a") == [("run-1", "pass", "fail", 0, 1)]


def test_runs_with_the_same_tests_share_them_and_what_passes_has_no_row(history: Book) -> None:
    add(history, *(run(day, *(arm(f"t{number}") for number in range(50))) for day in range(4)))
    with history.reading() as connection:
        members, results = (
            connection.scalar(select(func.count()).select_from(table)) for table in (schema.member, schema.result)
        )
    assert (members, results) == (50, 0)


def test_two_runs_are_compared_lane_by_lane_and_what_is_worse_comes_first(history: Book) -> None:
    add(
        history,
        run(1, arm("a"), arm("b", FAIL, FAIL), arm("gone"), arm("x86 alone", base=PASS)),
        run(2, arm("a", PASS, FAIL), arm("b", FAIL, PASS, kind=ChangeKind.FIXED), arm("x86 alone"), change("other")),
    )
    found = ask.compare(history, ask.find(history, "run-1"), ask.find(history, "/results/./run-2/"))
    assert [(one.name, one.worse, one.first, one.second) for one in found] == [
        ("a", True, (PASS, PASS), (PASS, FAIL)),
        ("b", False, (FAIL, FAIL), (FAIL, PASS)),
        ("gone", False, (PASS, PASS), None),
    ]
    assert "! arm64-fast madvise_locked/a" in past.moved(ask.runs(history)[0], ask.runs(history)[1], found)


def test_a_test_that_the_first_run_had_not_is_worse_if_base_passes_it(history: Book) -> None:
    add(
        history,
        run(1, arm("a")),
        run(2, arm("a"), arm("fails on both", FAIL, FAIL), arm("regressed", PASS, FAIL)),
    )
    found = ask.compare(history, ask.find(history, "run-1"), ask.find(history, "run-2"))
    assert [(one.name, one.worse) for one in found] == [("regressed", True), ("fails on both", False)]


def test_a_lane_in_which_one_run_tested_nothing_says_nothing(history: Book) -> None:
    add(history, run(1, images="aa"), run(2, arm("a", PASS, FAIL)))
    for first, second in (("run-1", "run-2"), ("run-2", "run-1")):
        assert not ask.compare(history, ask.find(history, first), ask.find(history, second))


def waits(history: Book, *runs: Run) -> list[list[str]]:
    """What regressed in each run, in this order, and does not pass yet."""
    add(history, *runs)
    found = ask.still_bad(history, [ask.find(history, one.id) for one in runs])
    with history.reading() as connection:
        names = ask.names_of(connection, {test for spots in found for _, test in spots})
    return [sorted(f"{arch} {names[test][1]}" for (arch, _), test in spots) for spots in found]


def test_what_regressed_in_one_lane_is_repaired_there_whatever_fails_in_another(history: Book) -> None:
    x86 = functools.partial(change, "t", arch="x86_64")
    broke = run(1, arm("t", PASS, FAIL), x86(base=FAIL, patched=FAIL, kind=ChangeKind.SAME))
    other = run(2, arm("t", FAIL, FAIL), x86(base=PASS, patched=PASS, kind=ChangeKind.SAME))
    fixed = run(3, arm("t", FAIL, PASS, kind=ChangeKind.FIXED), x86(base=FAIL, patched=FAIL, kind=ChangeKind.SAME))
    assert waits(history, broke, other) == [["arm64 t"], []]
    assert waits(history, broke, fixed) == [[], []]


def test_what_regressed_waits_until_it_is_seen_to_pass_or_is_looked_at_no_more(history: Book) -> None:
    broke = run(1, arm("a", PASS, FAIL), arm("b", PASS, FAIL))
    nothing = run(2, images="cc")  # the same kernel twice, or one that did not boot
    lost = run(3, arm("a", PASS, Outcome.LOST, kind=ChangeKind.INFRA), arm("b", SKIP, SKIP))
    fixed = run(4, arm("a", FAIL, PASS, kind=ChangeKind.FIXED), arm("b", FAIL, FAIL))
    other = run(5, arm("another"))
    assert waits(history, broke, nothing, lost) == [["arm64 a", "arm64 b"], [], []]
    assert waits(history, broke, nothing, lost, fixed, run(6, images="dd")) == [["arm64 b"], [], [], [], []]
    assert waits(history, broke, nothing, other)[0] == []  # such tests are no more


def test_the_beginning_of_a_run_names_it_unless_it_begins_several(history: Book) -> None:
    add(history, run(1), run(12), run(20))
    assert ask.find(history, "run-1").name == "run-1"  # the whole name of one
    assert ask.find(history, "run-2").name == "run-20"
    for word, said in (("run-", "beginning of 3 runs"), ("run%", "no run"), ("", "beginning of 3 runs")):
        with pytest.raises(UserError, match=said):
            ask.find(history, word)


def test_a_flake_failed_and_passed_on_one_image_and_a_broken_test_is_none(history: Book) -> None:
    twice = {"evidence": Evidence(Rate(0, 5, 0, 1), Rate(1, 5, 0, 1)), "kind": ChangeKind.FLAKY_ON_PATCHED}
    add(
        history,
        run(
            1, arm("flaky base", FAIL, PASS), arm("broken", FAIL, FAIL), arm("series broke"), arm("skipped", FAIL, FAIL)
        ),
        run(2, arm("flaky base"), arm("broken", FAIL, FAIL), arm("series broke", PASS, FAIL), images="ac"),
        run(3, arm("flaky base"), arm("pairs", PASS, PASS, **twice), arm("skipped", SKIP, SKIP), images="ad"),
        run(4, arm("flaky base"), images="ef"),  # another base says nothing of the first
    )
    assert [(one.name, one.failed, one.runs, one.images) for one in flaky.flakes(history)] == [
        ("flaky base", 1, 3, 1),
        ("pairs", 1, 5, 1),
    ]
    assert [one.name for one in flaky.flakes(history, since=NOON + 2 * DAY)] == ["pairs"]


def test_a_test_that_fails_on_both_sides_each_in_its_own_way_is_no_flake(history: Book) -> None:
    alone = Evidence(Rate(0, 5, 0, 0.6), Rate(5, 5, 0.4, 1), 21.0)  # how often patched's failure came
    add(history, run(1, arm("a", FAIL, FAIL)), run(2, arm("a", FAIL, FAIL, kind=ChangeKind.REGRESSED, evidence=alone)))
    assert seen(history, "a") == [(f"run-{day}", FAIL, FAIL, 1, 1) for day in (1, 2)]
    assert flaky.flakes(history) == []


def test_repeats_that_passed_count_as_often_as_they_ran(history: Book) -> None:
    thrice = Observed(PASS, "", (PASS,) * 3)
    once = dataclasses.replace(arm("a"), base=Observed(FAIL, "", (PASS, FAIL, PASS)), patched=thrice)
    steady = [dataclasses.replace(arm(f"t{number}"), base=thrice, patched=thrice) for number in range(3)]
    add(history, run(1, dataclasses.replace(steady[0], name="a"), *steady), run(2, once, *steady))
    assert [(one.name, one.failed, one.runs) for one in flaky.flakes(history)] == [("a", 1, 6)]


def test_hostile_names_are_kept_as_one_safe_line_of_bounded_length(history: Book) -> None:
    names = [
        "nul\0 and \x1b[31m red",
        "\udcff no utf-8",
        "long " * 2000,
        "long " * 2001,
        "two\nlines",
        "%_'\"; drop table",
    ]
    add(history, run(1, *(arm(name, PASS, FAIL) for name in names), verdict=Verdict(VerdictValue.REGRESSED, ())))
    for name in names:
        [(suite, kept)] = ask.tests(history, f"madvise_locked/{name}")
        assert len(kept) <= 500 and kept.isprintable()
        assert len(ask.story(history, suite, kept)) == 1
    assert len({ask.tests(history, name)[0] for name in names}) == len(names)


def test_of_names_that_look_alike_the_worst_is_kept(history: Book) -> None:
    add(
        history,
        run(1, arm("a\x01", FAIL, PASS, kind=ChangeKind.FIXED), arm("a^A", PASS, FAIL), arm("a\x01", PASS, PASS)),
    )
    assert seen(history, "a^A") == [("run-1", "pass", "fail", 0, 1)]


def test_an_unknown_test_is_named_with_the_nearest_one(history: Book) -> None:
    add(history, run(1, arm("drops_mlock")))
    with pytest.raises(UserError, match="did you mean 'madvise_locked/drops_mlock'"):
        ask.tests(history, "madvise_locked/drop_mlock")


def test_the_tables_are_what_the_steps_make_and_the_newest_step_is_the_one_that_is_looked_for(history: Book) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with history.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert ScriptDirectory(str(book._MIGRATIONS)).get_current_head() == schema.HEAD


# What each revision's kdelta could put into a history, beside what those before it could.
KEPT = {
    "0001": (
        "insert into test (suite, name) values ('madvise_locked', 'a'), ('madvise_locked', 'b'),"
        " ('madvise_locked', 'c')",
        "insert into test_set (digest) values ('all of them'), ('the skipped')",
        "insert into member values (1, 1), (1, 2), (1, 3), (2, 3)",
        "insert into run (name, began, verdict, title, directory, release, base_commit, seconds) values"
        f" ('run-1', {NOON + DAY}, 'regressed', 'mm: a title', '/results/run-1', '5.10.223', 'f2a6c1b8de04', 548.2)",
        "insert into lane (run_id, arch, flavour, base_image, patched_image, repeats, tests, skipped) values"
        " (1, 'arm64', 'fast', 'a', 'b', 3, 1, 2)",
        "insert into result values (1, 2, 'regressed', 'pass', 0, 5, 'fail', 4, 5)",
    ),
    "0002": (
        "insert into night (item, content, tip, began, directory, verdict) values"
        f" ('series x', 'digest', 'f2a6c1b8de04', {NOON}, '/results/run-1', 'regressed')",
    ),
    "0003": (
        "insert into night (item, content, tip, began, directory, verdict) values"
        f" ('series x', 'digest', 'f2a6c1b8de04', {NOON + DAY}, '/results/run-2', 'clean')",
    ),
    "0004": ("update run set never_ran = '1 changed line never ran'",),
}
REVISIONS = [step.revision for step in ScriptDirectory(str(book._MIGRATIONS)).walk_revisions()][::-1]


def _make(where: str, to: str) -> None:
    """A history as a kdelta left it whose newest schema was `to`."""
    settings, made = Config(), Book(book._engine(book._url(where)))
    settings.set_main_option("script_location", str(book._MIGRATIONS))
    with made.writing() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, to)
        for statement in itertools.chain(*(KEPT[one] for one in REVISIONS[: REVISIONS.index(to) + 1])):
            connection.execute(text(statement))
    made._engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_history_of_any_earlier_schema_is_brought_up_to_date_with_all_that_it_holds(
    where: str, revision: str
) -> None:
    _make(where, revision)
    with book.opened(where) as opened:
        assert seen(opened, "a") == [("run-1", PASS, PASS, 0, 0)]
        assert seen(opened, "b") == [("run-1", PASS, FAIL, 0, 4)]
        assert seen(opened, "c") == [("run-1", SKIP, SKIP, 0, 0)]
        [kept] = ask.runs(opened)
        assert (kept.verdict, kept.title, kept.seconds) == ("regressed", "mm: a title", 548.2)
        known = [(one.item, one.verdict) for one in nights.entries(opened)]
        assert kept.never_ran == ("1 changed line never ran" if revision >= "0004" else "")
        nights_of = {"0001": [], "0002": ["regressed"]}.get(revision, ["regressed", "clean"])
        assert known == [("series x", verdict) for verdict in nights_of]
        for number in range(2):  # the same content twice is two runs of it
            nights.begin(opened, nights.Entry("series y", "digest", "", NOON, f"/results/run-{number}", "inconclusive"))
        assert len(nights.entries(opened)) == len(known) + 2
        add(opened, run(2, arm("a"), arm("b")))
        assert [(one.name, one.worse) for one in ask.compare(opened, kept, ask.find(opened, "run-2"))] == [
            ("b", False),
            ("c", False),
        ]


def test_a_history_of_a_newer_kdelta_is_left_alone(history: Book, where: str) -> None:
    with history.writing() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(UserError, match="schema 9999, which this kdelta does not know"), book.opened(where):
        pass


def _add_one(where: str, day: int) -> None:
    with book.opened(where) as opened:
        add(opened, run(day, *(arm(f"t{number}") for number in range(day, day + 30))))


@pytest.mark.long
def test_processes_that_open_a_new_history_at_once_lose_nothing(where: str) -> None:
    several = [multiprocessing.get_context("fork").Process(target=_add_one, args=(where, day)) for day in range(6)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert [one.exitcode for one in several] == [0] * 6
    with book.opened(where) as opened:
        assert [one.name for one in ask.runs(opened)] == [f"run-{day}" for day in range(6)]
        assert len(ask.story(opened, "madvise_locked", "t5")) == 6


def test_what_is_no_database_is_a_fault_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_text("something else\n" * 100)
    with pytest.raises(InfraError, match="not a database") as fault, book.opened(str(tmp_path / "history.sqlite")):
        pass
    assert "--add" in str(fault.value.hint)


@pytest.mark.parametrize("url", ["mysql://somewhere/x", "postgresql://a:secret@127.0.0.1:1/x", "://"])
def test_a_url_that_leads_nowhere_is_a_fault_without_its_password(url: str) -> None:
    with pytest.raises((UserError, InfraError)) as fault, book.opened(url):
        pass
    assert "secret" not in str(fault.value)


def test_a_line_of_the_page_joins_runs_of_one_title_alone_and_what_is_not_drawn_is_named(tmp_path: Path) -> None:
    def of(day: int, title: str, outcome: Outcome) -> Run:
        return run(day, arm("t", outcome, outcome), series=Series(title, ()))

    with book.opened(str(tmp_path / "history.sqlite")) as opened:
        add(opened, *(of(day, "good" if day % 2 else "bad", PASS if day % 2 else FAIL) for day in range(8)))
        add(opened, *(of(day, f"once <{day}>", PASS) for day in range(8, 12)))
        page = index.render(ask.trends(opened, 20), [], tmp_path)
    image = base64.b64decode(re.findall(r"svg\+xml;base64,([^\"]*)", page)[0]).decode()
    paths = re.findall(r'<path d="([^"]+)" clip-path[^>]*none', image)
    joined = [re.findall(r"[ML] \S+ (\S+)", path) for path in paths]
    runs = [heights for heights in joined if len(heights) == 4]
    assert len(runs) == 4  # base and patched, of each
    assert all(len(set(heights)) == 1 for heights in runs)
    assert all(f">{title}<" in image for title in ("good", "bad", "once &lt;10&gt;"))
    assert "once &lt;11&gt;" not in image
    assert "ran less often: once &lt;11&gt;." in page


def test_a_good_answer_stands_nowhere_without_what_never_ran(tmp_path: Path) -> None:
    good, bad = (Verdict(value, ("why",)) for value in (VerdictValue.CLEAN, VerdictValue.REGRESSED))
    idle = (LineCoverage(Side.PATCHED, "arm64", "coverage", "mm/a.c", 7, LineState.IDLE),)
    with book.opened(str(tmp_path / "history.sqlite")) as opened:
        add(opened, run(1, verdict=good, coverage=idle), run(2, verdict=bad, coverage=idle), run(3, verdict=good))
        told = ["clean (1 changed line never ran)", "regressed", "clean"]
        assert [one.answer for one in ask.runs(opened)] == told
        listed = past.runs(ask.runs(opened)).splitlines()
        page = index.render(ask.trends(opened, 3), [], tmp_path)
    assert [line[18:].partition("  run-")[0].strip() for line in listed] == told
    assert all(f'<td class="{words.split()[0]}">{words}</td>' in page for words in told)


def test_the_page_of_all_runs_shows_hostile_names_as_text_and_links_only_what_lies_below_it(tmp_path: Path) -> None:
    name = "<script>alert(1)</script> $x^{2$ \x1b[31m \u202e"
    with book.opened(str(tmp_path / "history.sqlite")) as opened:
        for day, outcome in enumerate((PASS, FAIL, PASS)):
            write.add(opened, run(day, arm(name, outcome, outcome)), tmp_path / "results" / f"run #{day}")
        (tmp_path / "results" / "run #1").mkdir(parents=True)
        (tmp_path / "results" / "run #1" / "report.html").touch()
        trends = ask.trends(opened, 2)
        page = index.render(trends, flaky.flakes(opened), tmp_path / "results")
    assert [(one.run.name, one.tests, one.base_failed, one.patched_failed) for one in trends] == [
        ("run-1", 1, 1, 1),
        ("run-2", 1, 0, 0),
    ]
    assert "<script" not in page and "&lt;script&gt;" in page
    assert re.findall(r'(?:href|src)="(?!data:)([^"]*)"', page) == ["./run%20%231/report.html"]
    images = [base64.b64decode(image).decode() for image in re.findall(r"svg\+xml;base64,([^\"]*)", page)]
    assert len(images) == 3 and "&lt;script&gt;alert(1)" in images[2]
    assert not any(re.search(r"href=\"(?!#)|url\((?!#)|@import", image) for image in images)
    assert "default-src &#39;none&#39;" in page
