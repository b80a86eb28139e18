"""Several runs, and gc, on one cache at once: real processes, none of which takes from another what it uses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import cache, inventory, job, plan, sweep
from orchestrator.build import kbuild, objdir
from orchestrator.config import Pipeline
from orchestrator.intake import git as store
from orchestrator.intake import mail, series, source, tree
from orchestrator.request import Request
from tests.conftest import ROOT, Kdelta, kdelta_argv
from tests.flow.conftest import git
from tests.flow.test_intake_and_build import EDITED, LINES, order

pytestmark = pytest.mark.long

PATIENCE_SECONDS = 60.0
WAIT = "if {when}; then touch $(O)/started; while [ ! -e $(O)/go ]; do sleep 0.05; done; fi"

RESOLVE = """\
import sys
from pathlib import Path
from orchestrator.intake import git, source
for _ in range(20):
    origin = source.resolve(f"git:{sys.argv[1]}", None, Path(sys.argv[2]))
    git.Repository(origin.git_dir).run("rev-list", origin.commit)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes; what is left of them at the end is killed."""
    running = []

    def begin(argv: list[object], cwd: Path) -> "subprocess.Popen[str]":
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [str(word) for word in argv]
        process = subprocess.Popen(words, cwd=cwd, env=env, text=True, stdout=-1, stderr=subprocess.STDOUT)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def await_file(pattern: str, below: Path) -> Path:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := next(iter(below.glob(pattern)), None)):
        assert time.monotonic() < deadline, f"no {pattern} in {PATIENCE_SECONDS} s"
        time.sleep(0.05)
    return found


def parts(root: Path) -> dict[str, int]:
    """How many entries each part of a cache has."""
    return {part: len([one for one in inventory.take(root) if one.part == part]) for part in cache.PARTS}


@pytest.mark.parametrize("shallow", [False, True])
def test_many_runs_that_meet_in_a_new_cache_all_find_their_source(
    fakelinux: Path, tmp_path: Path, start: Start, shallow: bool
) -> None:
    if shallow:
        git(fakelinux, "commit", "-q", "--allow-empty", "-m", "one more")
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{fakelinux}", "shallow")
        fakelinux = tmp_path / "shallow"
    argv = [sys.executable, "-c", RESOLVE, fakelinux, tmp_path / "cache"]
    runs = [start(argv, tmp_path) for _ in range(6)]
    assert [(run.communicate(timeout=120)[0], run.returncode) for run in runs] == [("", 0)] * 6
    assert [path.name for path in (tmp_path / "cache" / "locks").iterdir()] == []


def wait_for_us(fakelinux: Path, when: str = "true") -> None:
    """Let make say when it compiles, and then wait until it may go on."""
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("\t@echo COMPILED;", f"\t@{WAIT.format(when=when)};"))
    git(fakelinux, "commit", "-q", "-a", "-m", "wait")


@pytest.mark.parametrize("when", ["true", "grep -q five $<"], ids=["base", "patched"])
def test_gc_takes_nothing_from_a_build_that_goes_on(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path, start: Start, when: str
) -> None:
    root = tmp_path / "cache"
    wait_for_us(fakelinux, when)
    args = ["--kernel", f"git:{fakelinux}", "--arch", "x86_64", "--out", tmp_path / "out"]
    build = start(kdelta_argv("--cache-dir", root, "build", make_series(EDITED), *args), tmp_path)
    started = await_file("objects/*/started", root)
    before = {one.path for one in inventory.take(root)}
    assert kdelta("gc", "--free", "--days", 0, "--size", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert before <= {one.path for one in inventory.take(root)}
    started.with_name("go").touch()
    said, _ = build.communicate(timeout=PATIENCE_SECONDS)
    assert build.returncode == 0, said
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert set(parts(root).values()) == {0}


def test_what_a_job_has_built_stays_for_its_guests_and_goes_when_it_ends(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    asked = Pipeline(kernel=f"git:{fakelinux}", series=str(make_series(EDITED)), arches=["x86_64"])
    todo = plan.make(Request(pipeline=asked, near=str(ROOT), cache=str(root), jobs=1))
    (tmp_path / "run").mkdir()
    with job.start(todo, tmp_path / "run", lambda *_: None) as started:
        built = [kbuild.build(one, root, tmp_path / "log") for one in started.plan.orders.values()]
        os.utime(built[0].directory, (1, 1))
        assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
        assert parts(root) == {**dict.fromkeys(cache.PARTS, 0), "builds": 2, "objects": 2, "trees": 2, "git": 1}
        assert [kernel.image.read_text() for kernel in built] == ["".join(LINES), EDITED]
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert parts(root) == {**dict.fromkeys(cache.PARTS, 0), "git": 1}  # this process still may ask it


def test_two_builds_that_meet_in_a_new_cache_both_come_out(
    fakelinux: Path, make_series, tmp_path, start: Start
) -> None:
    path = make_series(EDITED)
    args = ["--kernel", f"git:{fakelinux}", "--arch", "x86_64"]
    command = kdelta_argv("--cache-dir", tmp_path / "cache", "build", path, *args, "--out")
    builds = [start([*command, tmp_path / f"out{number}"], tmp_path) for number in range(3)]
    for build in builds:
        said, _ = build.communicate(timeout=PATIENCE_SECONDS)
        assert build.returncode == 0, said
    records = [json.loads((tmp_path / f"out{number}" / "run.json").read_text())["builds"] for number in range(3)]
    assert {tuple(build["image_sha256"] for build in record) for record in records} == {
        tuple(build["image_sha256"] for build in records[0])
    }
    assert sorted(build["cached"] for record in records for build in record) == [False] * 2 + [True] * 4


def test_a_build_is_found_while_another_run_makes_something_in_its_objects(fakelinux: Path, tmp_path: Path) -> None:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    wanted = order(origin.tree, origin)
    kbuild.build(wanted, tmp_path / "cache", tmp_path / "log")
    with objdir.lock(wanted, tmp_path / "cache"):
        assert kbuild.build(wanted, tmp_path / "cache", tmp_path / "log").cached


def test_what_a_killed_run_held_can_go(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path, start: Start) -> None:
    root = tmp_path / "cache"
    wait_for_us(fakelinux)
    args = ["--kernel", f"git:{fakelinux}", "--arch", "x86_64", "--out", tmp_path / "out"]
    build = start(kdelta_argv("--cache-dir", root, "build", make_series(EDITED), *args), tmp_path)
    await_file("objects/*/started", root)
    build.kill()
    build.wait()
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert set(parts(root).values()) == {0}


def test_a_source_is_taken_away_from_nobody_who_has_found_it(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    origin = source.resolve(f"git:{fakelinux}", None, root)
    os.utime(origin.git_dir, (1, 1))
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert store.Repository(origin.git_dir).id(origin.commit) == origin.commit
    cache.let_go()
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert not origin.git_dir.exists()
    assert source.resolve(f"git:{fakelinux}", None, root) == origin


def test_a_tarball_whose_store_was_freed_is_imported_again(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    root, ball = tmp_path / "cache", tmp_path / "linux.tar"
    git(fakelinux, "archive", "--prefix=linux/", "-o", str(ball), "main")
    origin = source.resolve(f"tar:{ball}", None, root)
    cache.let_go()
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert parts(root)["git"] == 0
    assert source.resolve(f"tar:{ball}", None, root) == origin


def test_series_that_were_not_seen_for_long_go_from_a_store_that_stays(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path, root = make_series(EDITED), tmp_path / "cache"
    origin = source.resolve(f"git:{fakelinux}", None, root)
    old = series.apply(mail.read(path).mails, origin)
    for file in (origin.git_dir / "objects").rglob("??/*"):
        os.utime(file, (1, 1))
    new = series.apply(mail.read(make_series("another\n")).mails, origin)
    cache.let_go()
    freed = sweep.free(sweep.survey(root), age=86400, most=None)
    assert freed["git"] > 0
    repository = store.Repository(origin.git_dir)
    assert repository.id(f"{old.commits[0]}^{{commit}}") is None
    assert repository.id(f"{new.commits[0]}^{{commit}}") == new.commits[0]
    assert (tree.checkout(origin, new.tree, root) / "mm" / "madvise.c").read_text() == "another\n"


def test_a_run_that_outgrows_the_limit_leaves_no_more_than_that(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    (tmp_path / "pipeline.yaml").write_text(f"kernel: git:{fakelinux}\nlimits:\n  cache_gib: 0.0001\n")
    args = ["--arch", "x86_64", "--suite", "madvise_locked", "--out", tmp_path / "out"]
    done = kdelta("build", make_series(EDITED), *args, KDELTA_CACHE=str(root))
    assert done.returncode == 0, done.stderr
    assert "the cache had outgrown its limit: freed" in done.stderr
    assert sum(one.size for one in inventory.take(root)) < 0.0001 * (1 << 30)


def test_gc_lists_every_part_and_what_ccache_keeps_goes_by_age(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    origin = source.resolve(f"git:{fakelinux}", None, root)
    kbuild.build(order(origin.tree, origin), root, tmp_path / "log")
    cache.let_go()
    (tmp_path / "x.c").write_text("int x;\n")
    env = {**os.environ, "CCACHE_DIR": str(root / "ccache"), "CCACHE_CONFIGPATH": os.devnull}
    command = ["ccache", "gcc", "-c", "x.c"]
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    listed = kdelta("gc", KDELTA_CACHE=str(root)).stdout
    words = [line.split()[0] for line in listed.splitlines()[1:]]
    assert {"builds", "ccache", "git", "objects", "trees"} < set(words)
    assert words[-1] == "in"
    results = [path for path in (root / "ccache").rglob("*R") if path.is_file()]
    assert results
    assert "freed" in kdelta("gc", "--free", KDELTA_CACHE=str(root)).stdout
    assert all(path.exists() for path in results)
    time.sleep(1.1)
    assert kdelta("gc", "--free", "--days", 0, KDELTA_CACHE=str(root)).returncode == 0
    assert not any(path.exists() for path in results)


def test_ccache_is_told_its_share(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path) -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("@echo COMPILED;", "@env;"))
    git(fakelinux, "commit", "-q", "-a", "-m", "tell")
    (tmp_path / "pipeline.yaml").write_text(f"kernel: git:{fakelinux}\nlimits:\n  cache_gib: 16\n")
    args = ["--arch", "x86_64", "--out", tmp_path / "out"]
    done = kdelta("build", make_series(EDITED), *args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "CCACHE_MAXSIZE=2048Mi" in (tmp_path / "out" / "base" / "x86_64-fast" / "build.log").read_text()


def test_a_cache_of_another_user_is_neither_used_nor_written(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    theirs = Path("/usr") if os.geteuid() else tmp_path / "theirs"
    if not os.geteuid():
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)
    before = theirs.stat().st_mtime_ns
    done = kdelta("plan", make_series(EDITED), "--kernel", f"git:{fakelinux}", KDELTA_CACHE=str(theirs))
    assert done.returncode == 2
    assert f"the cache {theirs} belongs to " in done.stderr
    assert theirs.stat().st_mtime_ns == before
