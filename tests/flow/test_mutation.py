"""Mutants on the fake tree: real git and make, guests that follow the script in their image, faults and all."""

import functools
import itertools
from pathlib import Path

import pytest

from orchestrator import job, mutation, pipeline, plan, store
from orchestrator.intake import git, series
from orchestrator.model import Fate, LineCoverage, LineState, MutantRecord, Run, Side
from orchestrator.mutation import Bounds
from tests import scripted
from tests.flow.conftest import git as run_git
from tests.flow.test_scripted import request_for, suite  # noqa: F401  (fixtures)

pytestmark = pytest.mark.long

TEXT = "{}\nprogram:\nsay 1..1\nsay ok 1 first\nexit 0\n"


def mutated(  # type: ignore[no-untyped-def]
    request_for,  # noqa: F811
    where: Path,
    bounds: Bounds,
    *numbers: int,
    base: str = "base",
    more: str = "",
    by: str = "example",
    **keys: str,
) -> Run:
    """Validate a series of which these lines ran, and try its mutants."""
    todo = plan.make(request_for(TEXT.format(base), TEXT.format("patched") + more, arches=["arm64"], **keys))
    with job.start(todo, store.given_directory(where), lambda *_: None, scripted.take) as started:
        pipeline.validate(started)
        lines = (
            LineCoverage(Side.PATCHED, "arm64", "fast", "mm/madvise.c", number, LineState.RAN, 1, {by: 1}, 1)
            for number in numbers
        )
        started.recorder.add("coverage", *lines)
        return mutation.look(started, bounds)


def test_a_fault_that_a_test_notices_is_caught_and_another_survives(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    run = mutated(request_for, tmp_path / "run", Bounds(9, 1e9), 1, 4, 5)
    assert [(one.line, one.words, one.fate, one.by) for one in run.mutants] == [
        (1, "1 line as base has it", Fate.SURVIVED, ""),  # base's own text: no test wants that line
        (4, "1 -> 2", Fate.SURVIVED, ""),
        (5, "0 -> 1", Fate.CAUGHT, "example/(exit)"),
    ]
    assert run.verdict
    assert run.verdict.strength.endswith("3 of 3 changed lines ran on arm64; 1 of 3 mutants caught")


def test_a_test_that_fails_by_chance_or_as_is_known_catches_no_fault(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    why = "reason: slow host, link: https://example.org/1, expiry: 2999-12-31"
    (tmp_path / "known.yaml").write_text(f"known: [{{match: {{test: 'example/.exit.'}}, {why}}}]\n")
    run = mutated(request_for, tmp_path / "run", Bounds(9, 1e9), 5, known=str(tmp_path / "known.yaml"))
    assert {one.fate for one in run.mutants} == {Fate.SURVIVED}


def test_what_one_guest_of_two_notices_is_neither_caught_nor_survived(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    flaky = "# {}\nprogram:\nsay 1..1\nmostly ok 1 first\nexit 0\n"
    todo = plan.make(request_for(flaky.format("base"), flaky.format("patched"), arches=["arm64"]))
    fails = itertools.chain([False, False], itertools.cycle([True, False]))  # not in the first pass
    take = functools.partial(scripted.take, draw=functools.partial(next, fails))
    with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, take) as started:
        pipeline.validate(started)
        ran = LineCoverage(Side.PATCHED, "arm64", "fast", "mm/madvise.c", 1, LineState.RAN, 1, {"example": 1})
        started.recorder.add("coverage", ran)
        run = mutation.look(started, Bounds(9, 1e9))
    assert [(one.fate, one.by) for one in run.mutants] == [(Fate.UNKNOWN, "noticed in one guest of two: example/first")]


def test_of_several_programs_those_run_that_ran_the_line_and_the_others_are_not_missed(
    request_for,  # type: ignore[no-untyped-def]  # noqa: F811
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (suite / "suite.yaml").write_text("{name: example, kind: exit, binaries: [early, reads, later]}\n")
    for name, text in (
        ("early", scripted.program("say x")),
        ("reads", "no script"),
        ("later", scripted.program("say x")),
    ):
        (suite / name).write_text(text)
    run = mutated(request_for, tmp_path / "run", Bounds(9, 1e9), 4, 5, by="example/002-reads")
    assert [(one.line, one.fate, one.by) for one in run.mutants] == [
        (4, Fate.SURVIVED, ""),
        (5, Fate.CAUGHT, "example/reads"),
    ]
    kept = [store.load_guest(path.parent) for path in tmp_path.glob("run/mutants/*/*/guest.json")]
    assert [[result.name for result in one.results] for one in kept if one] == [["reads"]] * 3


def test_what_was_tried_before_is_not_tried_again(request_for, suite: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    def look() -> tuple[MutantRecord, ...]:
        with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
            return mutation.look(resumed, Bounds(9, 1e9)).mutants

    def made(*names: str) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for name in names for path in tmp_path.glob(f"run/mutants/{name}")}

    first = mutated(request_for, tmp_path / "run", Bounds(2, 1e9), 1, 4, 5, base="SYNTAX").mutants
    assert [one.fate for one in first] == [Fate.BROKEN, Fate.SURVIVED, Fate.CAUGHT]
    files = made("1/build.log", "*/*/guest.json")
    assert len(files) == 4  # what a test alone catches it catches twice
    assert look() == first
    assert made("1/build.log", "*/*/guest.json") == files
    (suite / "main.c").write_text("int main(void) { return 1; }\n")  # another test, which may notice what none has
    look()
    assert len(made("*/*/guest.json")) == 6


def test_a_run_of_which_no_line_ran_says_that_it_has_no_mutants(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    run = mutated(request_for, tmp_path / "run", Bounds(9, 1e9))
    assert (run.mutants, run.notes[-1]) == ((), "no mutant was tried: no changed line was seen to run")


def test_a_hunk_of_which_no_line_ran_is_named_as_not_taken_out(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    run = mutated(request_for, tmp_path / "run", Bounds(9, 1e9), 1, more="# no code\n")
    assert [one.line for one in run.mutants] == [1]
    assert "1 of 2 hunks not taken out, as no line of theirs was seen to run: mm/madvise.c:6" in run.notes


def test_a_line_that_the_series_only_takes_away_is_put_back(request_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    texts = "program:\nsay 1..1\nsay ok 1 first\nexit 1\n", "program:\nsay 1..1\nsay ok 1 first\n"
    todo = plan.make(request_for(*texts, arches=["arm64"]))
    with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, scripted.take) as started:
        pipeline.validate(started)
        ran = LineCoverage(Side.BASE, "arm64", "fast", "mm/madvise.c", 4, LineState.RAN, 1, {"example": 1})
        started.recorder.add("coverage", ran)
        run = mutation.look(started, Bounds(9, 1e9))
    assert [(one.words, one.fate, one.by) for one in run.mutants] == [
        ("1 line put back as base has it", Fate.CAUGHT, "example/(exit)"),
    ]


@pytest.mark.parametrize(("bounds", "tried"), [(Bounds(1, 1e9), 1), (Bounds(9, 0), 0)])
def test_no_more_are_tried_than_was_asked_for(request_for, tmp_path: Path, bounds: Bounds, tried: int) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert len(mutated(request_for, tmp_path / "run", bounds, 4, 5).mutants) == tried


def test_a_tree_with_another_content_of_one_file_is_that_and_nothing_else(fakelinux: Path) -> None:
    commit, refs = run_git(fakelinux, "rev-parse", "HEAD"), run_git(fakelinux, "for-each-ref")
    source = plan.source.resolve(f"git:{fakelinux}", None, fakelinux.parent / "cache")
    tree = series.edited(source, commit, "mm/madvise.c", b'a "quoted"\n\nword\0\n')
    repository = git.Repository(source.git_dir)
    assert repository.changed_files(commit, tree) == ("mm/madvise.c",)
    assert repository.raw("cat-file", "blob", f"{tree}:mm/madvise.c") == b'a "quoted"\n\nword\0\n'
    assert run_git(fakelinux, "for-each-ref") == refs
