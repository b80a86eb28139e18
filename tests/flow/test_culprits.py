"""Which patch of a series did it, on the fake tree: real git and make, guests that follow the script in their image."""

import math
import random
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvm import proc
from kvm.errors import InfraError, Interrupted
from kvm.qemu import Machine
from orchestrator import culprits, job, pipeline, plan, store
from orchestrator.commands import opening
from orchestrator.commands.run import plan as planned
from orchestrator.judge.culprit import MOST_RUNS
from orchestrator.model import Culprit, Run
from orchestrator.plan import Plan
from tests import scripted
from tests.conftest import Kdelta
from tests.flow.conftest import git
from tests.flow.test_pairs import WARNS
from tests.flow.test_scripted import FAILS, PASSES, request_for, suite  # noqa: F401  (fixtures)

pytestmark = pytest.mark.long

Look = Callable[..., Run]


@pytest.fixture
def look(request_for, tmp_path: Path) -> Look:  # type: ignore[no-untyped-def]  # noqa: F811
    """Validate a series and find the culprits."""

    def run(base: str | None, *patches: str, take: object = scripted.take, **keys: object) -> Run:
        todo = plan.make(request_for(base, *patches, **{"arches": ["arm64"], **keys}))
        with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, take) as started:
            pipeline.validate(started)
            return culprits.look(started)

    return run


def series(bad_from: int, count: int = 8, bad: str = FAILS) -> list[str]:
    """Texts of which each differs, and the program of which fails from a patch on, counted from 1."""
    return [f"{number}\n{bad if number >= bad_from else PASSES}" for number in range(1, count + 1)]


def test_a_good_tree_that_fails_once_by_chance_is_no_culprit(look: Look) -> None:
    def take(machine: Machine, *, workdir: Path, **asked: object) -> object:
        unlucky = {"bisect", "0"} <= {*workdir.parts}  # the first boot of each tree
        return scripted.take(machine, workdir=workdir, draw=lambda: unlucky, **asked)  # type: ignore[arg-type]

    flaky = "program:\nsay 1..2\nsay ok 1 first\nmostly ok 2 second\n"
    texts = [f"{number}\n{FAILS if number >= 7 else flaky}" for number in range(1, 9)]
    [culprit] = look(flaky, *texts, take=take).culprits
    assert [suspect.number for suspect in culprit.suspects] == [7]
    assert (culprit.builds, culprit.boots <= 20, culprit.confidence > 0.95) == (3, True, True)


@pytest.mark.parametrize("number", [1, 3, 8])
def test_the_first_bad_patch_of_eight_is_found_in_three_builds(number: int, look: Look) -> None:
    [culprit] = look(PASSES, *series(number)).culprits
    [suspect] = culprit.suspects
    assert (suspect.number, suspect.subject) == (number, f"mm: step {number - 1}")
    assert culprit.builds == 3
    assert set(culprit.symptoms) == {"example/second (pass -> fail)"}
    assert culprit.confidence > 0.9


def test_a_patch_that_does_not_build_leaves_two_suspects(look: Look) -> None:
    texts = series(3, 4)
    texts[1] = f"SYNTAX\n{texts[1]}"
    [culprit] = look(PASSES, *texts).culprits
    assert [suspect.number for suspect in culprit.suspects] == [2, 3]


def test_a_kernel_that_does_not_build_has_a_culprit_and_boots_nothing(look: Look) -> None:
    texts = [f"{'SYNTAX' if number >= 2 else number}\n{number}\n{PASSES}" for number in range(4)]
    [culprit] = look(PASSES, *texts).culprits
    assert ([suspect.number for suspect in culprit.suspects], culprit.boots) == ([3], 0)
    assert culprit.symptoms == ("does not build",)


def test_two_patches_that_break_two_things_are_both_found_and_no_tree_is_booted_for_each(
    look: Look, tmp_path: Path
) -> None:
    text = "{}\nprogram:\nsay 1..2\nsay {} 1 first\nsay {} 2 second\nexit {}\n"
    texts = [text.format(n, "not ok" if n >= 2 else "ok", "not ok" if n >= 3 else "ok", int(n >= 2)) for n in range(5)]
    first, second = sorted(look(PASSES, *texts).culprits, key=lambda culprit: culprit.suspects[0].number)
    assert first.symptoms == ("example/first (pass -> fail)",)
    assert second.symptoms == ("example/second (pass -> fail)",)
    assert [suspect.number for culprit in (first, second) for suspect in culprit.suspects] == [3, 4]
    booted = list((tmp_path / "run" / "bisect").glob("**/guest.json"))
    assert len(booted) < first.boots + second.boots


def test_a_panic_at_boot_is_looked_for_in_one_lane_and_told_of_both(look: Look) -> None:
    texts = [f"{number}\n{'boot: panic' if number >= 1 else ''}\n{PASSES}" for number in range(3)]
    run = look(PASSES, *texts, arches=["x86_64", "arm64"])
    [culprit] = run.culprits
    assert "its guest ends by panic" in culprit.symptoms
    assert set(culprit.lanes) == {"x86_64-fast", "arm64-fast"}
    assert [suspect.number for suspect in culprit.suspects] == [2]


def test_a_series_of_one_patch_needs_no_search(look: Look) -> None:
    [culprit] = look(PASSES, FAILS).culprits
    assert (culprit.builds, culprit.boots, [suspect.number for suspect in culprit.suspects]) == (0, 0, [1])


def test_what_was_looked_at_before_is_not_looked_at_again(look: Look, tmp_path: Path) -> None:
    first = look(PASSES, *series(3, 4))
    booted = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/bisect/**/guest.json")}
    assert booted
    with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
        assert culprits.look(resumed).culprits == first.culprits
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/bisect/**/guest.json")} == booted


def test_a_fault_of_the_search_is_a_note_until_another_one_comes_to_an_end(
    request_for,  # type: ignore[no-untyped-def]  # noqa: F811
    tmp_path: Path,
) -> None:
    def broken_between(machine: Machine, **asked: object) -> object:
        if machine.image.read_bytes()[:1] in b"12":
            proc.stop.set()  # as the engine does
            raise InfraError("QEMU did not start")
        return scripted.take(machine, **asked)  # type: ignore[arg-type]

    todo = plan.make(request_for(PASSES, *series(3, 4), arches=["arm64"]))
    with job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, broken_between) as started:
        pipeline.validate(started)
        run = culprits.look_after(started)
    assert (run.verdict.value, run.culprits, proc.stop.is_set()) == ("regressed", (), False)
    assert culprits.unended(run) == ("the culprit was not looked for to the end: QEMU did not start",)
    with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
        run = culprits.look_after(resumed)
    assert (len(run.culprits), culprits.unended(run)) == (1, ())


def test_a_run_that_is_ended_in_its_bisection_has_reported_its_verdict(
    request_for,  # type: ignore[no-untyped-def]  # noqa: F811
    tmp_path: Path,
) -> None:
    todo = plan.make(request_for(PASSES, FAILS, arches=["arm64"]))
    starting = job.start(todo, store.given_directory(tmp_path / "run"), lambda *_: None, scripted.take)
    with pytest.raises(Interrupted), opening.reported(starting) as started:
        pipeline.validate(started)
        raise Interrupted
    run = store.load(tmp_path / "run")
    assert (run.status, run.verdict.value) == ("interrupted", "regressed")
    assert "second" in (tmp_path / "run" / "report.html").read_text()


def test_what_a_commit_repaired_that_the_bad_end_has_not_was_brought_by_none(look: Look, fakelinux: Path) -> None:
    broken = history(fakelinux, FAILS, PASSES)
    good = git(fakelinux, "rev-parse", "HEAD")
    git(fakelinux, "reset", "-q", "--hard", broken)
    history(fakelinux, *series(1, 2))
    run = look(None, kernel=f"git:{fakelinux}", series=f"{good}..HEAD", whole=True)
    assert (run.verdict.value, run.culprits) == ("regressed", ())
    [said] = culprits.unended(run)
    assert said.endswith("is repaired by a commit that base has and patched has not")


def test_the_command_says_what_the_runs_pipeline_does_not(look: Look, tmp_path: Path) -> None:
    [culprit] = look(PASSES, *series(3, 4)).culprits
    words = shlex.split(culprit.command)
    [suspect] = culprit.suspects
    assert words[:3] == ["kdelta", "run", f"{suspect.commit}~1..{suspect.commit}"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options.pop("--kernel").startswith(f"git:{tmp_path / 'cache'}/")
    assert options == {"--base": f"{suspect.commit}~1", "--pipeline": str(tmp_path / "run" / "pipeline.yaml")}


@pytest.fixture
def other(suite: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A second suite, of the same program."""
    copied = shutil.copytree(suite, tmp_path / "other")
    (copied / "suite.yaml").write_text("name: other\nkind: ktap\nsources: [main.c]\n")
    return copied


def test_the_command_compares_the_culprit_alone_in_one_lane_and_suite_as_the_run_did(
    look: Look,
    tmp_path: Path,
    suite: Path,  # noqa: F811
    other: Path,
) -> None:
    (tmp_path / "own.config").write_text("CONFIG_OWN=y\n")
    text = "{}\nprogram:\nsay 1..1\nsay {} 1 first\n"
    texts = [text.format(number, "not ok" if number >= 2 else "ok") for number in range(4)]
    own = {"fragments": [str(tmp_path / "own.config")], "boots": 2, "suites": [str(suite), str(other)]}
    [culprit] = look(text.format("", "ok"), *texts, arches=["x86_64", "arm64"], rerun={"pairs": 0}, **own).culprits
    asked = of_command(culprit.command, tmp_path)
    assert trees(asked) == around(culprit, tmp_path)
    found = asked.request.pipeline
    assert (found.arches, found.suites, found.fragments, found.boots) == (["x86_64"], [str(suite)], own["fragments"], 2)
    assert not found.rerun.pairs


def test_a_report_is_looked_for_in_the_suite_under_which_it_came(
    look: Look,
    tmp_path: Path,
    suite: Path,  # noqa: F811
    other: Path,
) -> None:
    texts = [f"{number}\n{PASSES}{WARNS if number >= 2 else ''}" for number in range(4)]
    [culprit] = look(PASSES, *texts, suites=[str(suite), str(other)]).culprits
    assert culprit.symptoms == ("warning: WARNING in do_madvise",)
    assert of_command(culprit.command, tmp_path).request.pipeline.suites == [str(suite)]
    booted = [store.load_guest(path.parent) for path in tmp_path.glob("run/bisect/**/guest.json")]
    assert {guest.asked for guest in booted if guest} == {("example",)}


@pytest.mark.parametrize("whole", [True, False])
def test_the_command_compares_the_culprit_alone_in_a_tree_that_holds_the_series(
    look: Look, tmp_path: Path, fakelinux: Path, whole: bool
) -> None:
    good = history(fakelinux, PASSES, *series(2, 3))
    how = {"whole": True} if whole else {"revert": True}
    [culprit] = look(None, kernel=f"git:{fakelinux}", series=f"{good}..HEAD", **how).culprits
    assert trees(of_command(culprit.command, tmp_path)) == around(culprit, tmp_path)


def of_command(command: str, tmp_path: Path) -> Plan:
    """What `kdelta run` would do."""
    options = planned.make_context("plan", shlex.split(command)[2:]).params
    del options["as_json"]
    return plan.make(opening.asked(tmp_path / "cache", **options))


def trees(todo: Plan) -> tuple[str, str]:
    """Base and patched, as git names their files."""
    return todo.source.tree, todo.applied.tree


def around(culprit: Culprit, tmp_path: Path) -> tuple[str, str]:
    """The trees before and after the only suspect."""
    [suspect] = culprit.suspects
    store = next((tmp_path / "cache" / "git").glob("*.git"))  # one has the objects, another borrows them
    before, after = (git(store, "rev-parse", f"{suspect.commit}{place}^{{tree}}") for place in ("~1", ""))
    return before, after


def test_the_first_bad_commit_of_a_range_is_found_whoever_wrote_what_is_between(
    look: Look, tmp_path: Path, fakelinux: Path
) -> None:
    good = history(fakelinux, PASSES, *series(30, 50))
    run = look(None, kernel=f"git:{fakelinux}", series=f"{good}..HEAD", whole=True)
    [culprit] = run.culprits
    [suspect] = culprit.suspects
    assert (suspect.number, suspect.subject) == (0, "step 30")
    assert culprit.builds <= 6
    assert not (tmp_path / "run" / "series").exists()
    with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
        assert culprits.look(resumed).culprits == run.culprits


def test_git_replays_the_log_in_the_users_repository_skipped_trees_and_all(
    look: Look, tmp_path: Path, fakelinux: Path
) -> None:
    texts = series(7)
    texts[3] = f"SYNTAX\n{texts[3]}"
    good = history(fakelinux, PASSES, *texts)
    [culprit] = look(None, kernel=f"git:{fakelinux}", series=f"{good}..HEAD", whole=True).culprits
    assert [suspect.subject for suspect in culprit.suspects] == ["step 7"]
    log = tmp_path / "run" / culprit.log
    assert "git bisect skip" in log.read_text()
    assert f"{culprit.suspects[0].commit} is the first bad commit" in git(fakelinux, "bisect", "replay", str(log))
    assert git(fakelinux, "bisect", "log") == log.read_text().strip()


def test_of_three_thousand_commits_one_on_a_merged_branch_is_found_in_thirteen_builds(
    look: Look, fakelinux: Path
) -> None:
    good = history(fakelinux, PASSES)
    stream = [
        *(f"reset refs/heads/{branch}\nfrom {good}\n\n" for branch in ("main", "side")),
        *(_commit("main", f"main {number}", PASSES) for number in range(1000)),
        *(_commit("side", f"side {number}", FAILS if number >= 700 else PASSES) for number in range(1000)),
        _commit("main", "merged", FAILS, "merge refs/heads/side"),
        *(_commit("main", f"later {number}", FAILS) for number in range(999)),
    ]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=fakelinux, input="".join(stream), text=True, check=True)
    assert git(fakelinux, "rev-list", "--count", f"{good}..main") == "3000"
    [culprit] = look(None, kernel=f"git:{fakelinux}", series=f"{good}..main", whole=True).culprits
    assert [suspect.subject for suspect in culprit.suspects] == ["side 700"]
    assert culprit.builds <= 13


def _commit(branch: str, subject: str, program: str, *more: str) -> str:
    """A commit as git fast-import reads it, on top of its branch's last one."""
    who = "committer A Developer <a@example.org> 1700000000 +0000"
    lines = [f"commit refs/heads/{branch}", who, f"data {len(subject)}", subject, *more]
    text = f"{subject}\n{program}"
    return "\n".join([*lines, "M 100644 inline mm/madvise.c", f"data {len(text)}", f"{text}\n"])


def test_a_range_in_which_nothing_regresses_has_no_culprit(look: Look, fakelinux: Path) -> None:
    good = history(fakelinux, PASSES, *series(9, 4))
    run = look(None, kernel=f"git:{fakelinux}", series=f"{good}..HEAD", whole=True)
    assert (run.culprits, run.verdict.value) == ((), "clean")


def test_a_run_in_which_nothing_regressed_is_bisected_with_a_word(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    ran = kdelta("run", "nothing", "--kernel", f"git:{fakelinux}", "--out", "out", KDELTA_CACHE=str(tmp_path / "cache"))
    assert (ran.returncode, "nothing regressed: there is nothing to look for" in ran.stderr) == (0, False), ran.stderr
    done = kdelta("bisect", "out", KDELTA_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, "nothing regressed: there is nothing to look for" in done.stderr) == (0, True), done.stderr


def history(fakelinux: Path, *texts: str) -> str:
    """Commit one text after the other, and return the first commit."""
    for number, text in enumerate(texts):
        (fakelinux / "mm" / "madvise.c").write_text(text)
        git(fakelinux, "commit", "-q", "-a", "-m", f"step {number}")
    return git(fakelinux, "rev-parse", f"HEAD~{len(texts) - 1}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--good", "HEAD~1"], "bad, good: what a saved run was made with stays"),
        (["--arch", "arm64"], "arches: what a saved run was made with stays"),
        (["run", "--good", "HEAD~1", "--bad", "HEAD"], "a series and --good and --bad are two things"),
        (["--good", "HEAD~1", "--bad", "HEAD"], "is no range of commits"),
        (["--good", "HEAD", "--bad", "no-such", "--kernel", "{tree}"], "has no commit 'no-such'"),
    ],
)
def test_what_cannot_be_bisected_is_exit_2_and_named(
    words: list[str], said: str, kdelta: Kdelta, fakelinux: Path
) -> None:
    done = kdelta("bisect", *(word.replace("{tree}", f"git:{fakelinux}") for word in words))
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.usefixtures("request_for")  # for its cache
def test_the_commit_between_good_and_bad_is_found_by_the_command_and_told_again_by_the_next(
    kdelta: Kdelta,
    fakelinux: Path,
    suite: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        f"suites: [{suite}]\nlimits: {{silence: 0.1}}  # of base, which is no kernel\n"
    )
    good = history(fakelinux, *(f"{'SYNTAX' if number >= 5 else ''}{number}\n" for number in range(9)))
    asked = [
        "--kernel",
        f"git:{fakelinux}",
        "--good",
        good,
        "--bad",
        "HEAD",
        "--arch",
        "arm64",
        "--pipeline",
        "pipeline.yaml",
    ]
    done = kdelta("bisect", *asked, "--out", "out", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1, done.stderr
    guilty = git(fakelinux, "rev-parse", "HEAD~3")
    assert f'culprit: {guilty[:12]} ("step 5")' in done.stdout
    [culprit] = store.load(tmp_path / "out").culprits
    assert (culprit.symptoms, culprit.builds) == (("does not build",), 3)
    again = kdelta("bisect", "out", KDELTA_CACHE=str(tmp_path / "cache"))
    assert again.stdout == done.stdout


BREAKS = "s/^say ok 2/say not ok 2/"


def test_the_option_of_the_flavour_without_which_a_test_passes_is_found(
    look: Look, tmp_path: Path, fakelinux: Path
) -> None:
    makefile = fakelinux / "Makefile"
    decides = f"grep -q PATCHED $@ && grep -q DEBUG_LIST=y $(O)/.config && sed -i '{BREAKS}' $@; true"
    text = makefile.read_text().replace("built: mm/madvise.c", "built: mm/madvise.c $(O)/.config")
    makefile.write_text(text.replace("cat $< >$@", f"cat $< >$@; {decides}"))
    git(fakelinux, "commit", "-q", "-a", "-m", "an option decides")
    look(PASSES, f"PATCHED\n{PASSES}", flavours=["debug"])
    with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
        by_patch, by_option = culprits.look_for_options(resumed).culprits
    assert [suspect.subject for suspect in by_patch.suspects] == ["mm: step 0"]
    assert [suspect.subject for suspect in by_option.suspects] == ["CONFIG_DEBUG_LIST=y"]
    assert by_option.symptoms == ("example/second (pass -> fail)",)


def test_what_shows_without_any_option_of_the_flavour_is_said(look: Look, tmp_path: Path) -> None:
    look(PASSES, FAILS)
    with job.resume(tmp_path / "run", lambda *_: None, scripted.take) as resumed:
        run = culprits.look_for_options(resumed)
    assert len(run.culprits) == 1  # by patch
    assert "arm64-fast-options: example/second (pass -> fail) shows without any of them" in run.notes


def test_the_patch_that_made_a_benchmark_slower_is_found_by_measuring_in_turn(
    look: Look,
    suite: Path,  # noqa: F811
) -> None:
    (suite / "suite.yaml").write_text('name: example\nkind: bench\nsources: [main.c]\nworse: {"t*": more}\n')
    times = [100, 101, 102, 151, 150, 152]
    texts = [f"{number}\nprogram:\nsay t {time} ns\nsay rate {time} x/s\n" for number, time in enumerate(times)]
    run = look(*texts, boots=3)
    assert run.verdict and run.verdict.value == "regressed"
    [culprit] = run.culprits
    assert [suspect.number for suspect in culprit.suspects] == [3]
    assert culprit.symptoms == ("example/t (x1.52)",)
    assert "--pipeline" in culprit.command  # which says how many boots measure it


@pytest.mark.parametrize(("middle", "suspects"), [(100, [3]), (122.5, [2, 3])])
def test_a_noisy_benchmark_is_measured_until_it_is_clear_and_a_tree_in_the_middle_says_nothing(
    look: Look,
    suite: Path,  # noqa: F811
    tmp_path: Path,
    middle: float,
    suspects: list[int],
) -> None:
    def noisy(machine: Machine, *, workdir: Path, **asked: object) -> object:
        """Each boot of the search measures about a tenth more, or less, than another one."""
        noise = 0.1 if "bisect" in workdir.parts else 0
        factor = math.exp(random.Random(str(workdir.relative_to(tmp_path))).gauss(0, noise))
        said = re.sub(r"say t (\S+)", lambda time: f"say t {factor * float(time[1])}", machine.image.read_text())
        workdir.mkdir(parents=True, exist_ok=True)
        (image := workdir / "noisy").write_text(said)
        return scripted.take(replace(machine, image=image), workdir=workdir, **asked)  # type: ignore[arg-type]

    (suite / "suite.yaml").write_text('name: example\nkind: bench\nsources: [main.c]\nworse: {"t*": more}\n')
    texts = [f"{number}\nprogram:\nsay t {time} ns\n" for number, time in enumerate([100, 100, middle, 150, 150])]
    [culprit] = look(*texts, boots=3, take=noisy).culprits
    assert [suspect.number for suspect in culprit.suspects] == suspects
    assert culprit.confidence > 0.97
    assert (culprit.boots >= 2 * MOST_RUNS) is (len(suspects) > 1)
