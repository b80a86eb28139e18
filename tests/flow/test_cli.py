"""The command line: exit codes, and where words go."""

import base64
import gzip
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kvm import disk
from orchestrator.build.sandbox import PATH
from orchestrator.build.toolchain import LLVM
from tests.conftest import ROOT, Kdelta, kdelta_argv
from tests.flow.conftest import git

BUNDLED = Path(__file__).resolve().parents[2] / "patches" / "madv-dontneed-locked"


def test_a_machine_that_is_out_of_descriptors_is_not_the_users_fault(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    words = kdelta_argv("plan", make_series("x\n"), "--kernel", f"git:{fakelinux}")
    done = subprocess.run(
        ["prlimit", "--nofile=12", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Too many open files" in done.stderr) == (125, True), done.stderr
    assert "hint: raise `ulimit -n`" in done.stderr


def test_a_results_directory_that_is_read_only_is_said_before_anything_is_built(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    (out := tmp_path / "out").mkdir()
    words = kdelta_argv("run", make_series("x\n"), "--kernel", f"git:{fakelinux}", "--out", out / "run")
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--ro-bind", out, out, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"Error: {out}/run: Read-only file system\n  hint: --out names another directory\n"


def test_init_writes_a_file_that_plan_accepts_and_does_not_replace_it(kdelta: Kdelta, tmp_path: Path) -> None:
    assert kdelta("init").returncode == 0
    again = kdelta("init")
    assert again.returncode == 2
    assert "--force" in again.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "nowhere"], "no series 'nowhere'"),
        (["run", "n" * 300], "File name too long"),
        (["plan", "--kernel", f"tar:{'n' * 300}"], "File name too long"),
        (["run", "--arch", "arm"], "unknown architecture 'arm'"),
        (["run", ""], "series: an empty word names nothing"),  # and not the one of pipeline.yaml
        (["run", "--suite", ""], "suites: an empty word names nothing"),
        (["run", "--max-files", "0"], "not in the range"),
        (["run", "--toolchain", "gcc-"], "'gcc-' is none: gcc, clang, or a version of one, as gcc-11"),
        (["run", "--mutate", "3"], "--mutate wants to know which lines ran"),
        (["run", "--suite", "x"], "no suite 'x'"),
        (["shell", "--tries", "9"], "--tries wants --at"),
        (["run", "--kernel", "tar:/nowhere"], "no such tarball"),
        (["run", "--no-such-option"], "No such option"),
        (["frobnicate"], "No such command"),
        (["diff", "nowhere"], "No such file or directory"),
    ],
)
def test_what_the_user_got_wrong_exits_2_with_words_on_stderr_alone(
    kdelta: Kdelta, args: list[str], words: str
) -> None:
    done = kdelta(*args)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_clang_without_its_tools_exits_2_and_names_them(fakelinux: Path, make_series, tmp_path: Path) -> None:
    there = {str(Path(found).resolve()) for name in LLVM.values() if (found := shutil.which(name, path=PATH))}
    hidden = [word for path in there for word in ("--bind", os.devnull, path)]
    argv = kdelta_argv("plan", make_series("x\n"), "--kernel", f"git:{fakelinux}", "--toolchain", "clang")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    outside = ["bwrap", "--dev-bind", "/", "/", *hidden, "--", *argv]
    done = subprocess.run(outside, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ld.lld, llvm-ar" in done.stderr
    assert "apt install clang lld llvm" in done.stderr


def test_a_wrong_pipeline_yaml_exits_2_with_its_place(kdelta: Kdelta, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("arch: x\n")
    done = kdelta("run")
    assert done.returncode == 2
    assert "pipeline.yaml:1:1: unknown key 'arch'; did you mean 'arches'?" in done.stderr


def test_plan_says_what_would_be_built_and_builds_nothing(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path
) -> None:
    path = make_series("other\n")
    done = kdelta("plan", path, "--kernel", f"git:{fakelinux}", "--json", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [row["build"] for row in facts["cells"]] == ["to be built"] * 4
    assert not (tmp_path / "cache" / "builds").exists()


def test_plan_says_which_steps_each_patch_adds(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path) -> None:
    series = make_series("one\n", "two\n", "three\n")
    args = ["plan", series, "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--each-patch", "--json"]
    cells = json.loads(kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache")).stdout)["cells"]
    sides = ["base/arm64-fast", "patched/arm64-fast"]
    assert [cell["cell"] for cell in cells] == [*sides, "patch 1/arm64-fast", "patch 2/arm64-fast"]


def test_what_was_decided_of_base_and_series_is_said_also_of_a_series_that_does_not_apply(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path = make_series("one\n", "two\n", cover=False)
    for number, file in enumerate(sorted(path.iterdir())):
        text = file.read_text().replace(f"PATCH {number + 1}/2", "PATCH") + f"\nbase-commit: {'1' * 40}\n"
        (path / f"step-{number}.patch").write_text(text)
        file.unlink()
    args = ["plan", path, "--kernel", f"git:{fakelinux}", "--arch", "arm64"]
    said = ["names base-commit 111111111111, which is not in git:", "are taken in the order of their files"]
    good = kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert [line for line in good.stdout.splitlines() if line.startswith("note")] == [
        f"note    the series {said[0]}{fakelinux}",
        f"note    the patches have no numbers and {said[1]}; a file `series` beside them says another",
    ]
    (path / "step-0.patch").rename(path / "step-2.patch")
    bad = kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert bad.returncode == 2
    assert "  note: the base is " in bad.stderr
    assert all(words in bad.stderr for words in said)
    assert "hint: is 6.1.0-fake the kernel that the series was made for?" in bad.stderr


def test_a_series_that_does_not_apply_exits_2_and_leaves_no_run(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    done = kdelta("run", BUNDLED, "--kernel", f"git:{fakelinux}", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "does not apply" in done.stderr
    assert not (tmp_path / "results").exists()


def test_an_empty_series_is_a_noop_with_no_build_and_no_boot(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = kdelta(
        "run", tmp_path / "empty", "--kernel", f"git:{fakelinux}", "--json", KDELTA_CACHE=str(tmp_path / "cache")
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["verdict"]["value"] == "clean"
    assert "noop" in record["verdict"]["reasons"][0]
    assert (record["builds"], record["guests"]) == ([], [])


def test_a_patched_tree_that_does_not_build_is_a_result_of_the_run(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path
) -> None:
    path = make_series("SYNTAX\n")
    args = ["build", path, "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out"]
    done = kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache"))
    # the shipped fragments ask for options that the fake tree keeps, because its olddefconfig drops only BROKEN
    assert done.returncode == 1, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [bool(build["error"]) for build in record["builds"]] == [False, True]
    assert record["status"] == "done"


def test_a_build_says_what_it_newly_warns_of(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path) -> None:
    makefile = fakelinux / "Makefile"
    warn = "! grep -q ODD $< || echo '/src/mm/madvise.c:1:1: warning: that is odd [-Wodd]'"
    said = f"\t@echo '  CC      mm/madvise.o'; {warn}\n\t@echo COMPILED"
    makefile.write_text(makefile.read_text().replace("\t@echo COMPILED", said))
    git(fakelinux, "commit", "-q", "-a", "-m", "a compiler that warns")
    args = ["build", make_series("ODD\n"), "--kernel", f"git:{fakelinux}", "--arch", "arm64"]
    done = kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "new cc mm/madvise.c:1: that is odd" in done.stdout.splitlines()


def test_help_has_an_example_on_every_command(kdelta: Kdelta) -> None:
    from orchestrator.cli import main

    for name in (name for name, command in main.commands.items() if not command.hidden):
        done = kdelta(name, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout, name


def test_completion_is_printed(kdelta: Kdelta) -> None:
    assert "_KDELTA_COMPLETE" in kdelta("completion", "bash").stdout


def test_words_of_a_patch_reach_the_terminal_without_its_escapes(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path
) -> None:
    path = make_series("other\n", cover=False)
    [patch] = path.glob("0001*")
    patch.write_bytes(patch.read_bytes().replace(b"mm: step 0", b"mm: \x1b[2J\x1b]0;owned\x07step"))
    done = kdelta("plan", path, "--kernel", f"git:{fakelinux}", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "step" in done.stdout
    assert "\x1b" not in done.stdout
    patch.write_bytes(patch.read_bytes().replace(b"-line 0\n", b"-line X\n"))
    done = kdelta("run", path, "--kernel", f"git:{fakelinux}", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_a_path_out_of_the_tree_is_refused(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path) -> None:
    path = make_series("other\n", cover=False)
    [patch] = path.glob("0001*")
    patch.write_text(patch.read_text().replace("mm/madvise.c", "../../../../tmp/evil"))
    done = kdelta("run", path, "--kernel", f"git:{fakelinux}", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "leaves the tree" in done.stderr


def test_a_config_of_ones_own_and_fragments_are_used(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path) -> None:
    (tmp_path / "mine").write_text("CONFIG_MINE=y\n")
    (tmp_path / "more").write_text("CONFIG_MORE=y\n")
    args = ["--config", "mine", "--fragment", "more", "--arch", "arm64", "--out", tmp_path / "out"]
    done = kdelta("build", make_series("other\n"), "--kernel", f"git:{fakelinux}", *args, KDELTA_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "out" / "base" / "arm64-fast" / ".config").read_text()
    assert "CONFIG_MINE=y" in config
    assert "CONFIG_MORE=y" in config
    assert "CONFIG_TINY" not in config
    missing = kdelta("plan", tmp_path / "series", "--kernel", f"git:{fakelinux}", "--config", "nowhere")
    assert missing.returncode == 2
    assert "no such file" in missing.stderr


def test_a_run_that_came_to_nothing_makes_room_for_the_next_one(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    args = ["build", make_series("one\n"), "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", out]
    (tmp_path / "more").write_text("CONFIG_BROKEN=y\n")

    def status(*more: str) -> tuple[int, str]:
        done = kdelta(*args, *more, KDELTA_CACHE=str(tmp_path / "c"))
        return done.returncode, done.stderr

    assert status("--fragment", "more")[0] == 2  # olddefconfig drops it
    assert (out / "run.json").is_file()
    (out / "notes").touch()
    assert "is not empty" in status()[1]  # what is not ours stays
    (out / "notes").unlink()
    with disk.alone(out):
        assert "another kdelta works on this run" in status()[1]
    assert status()[0] == 0
    assert "is not empty" in status()[1]  # nor is a run overwritten that came to something


def test_a_run_holds_all_that_repeats_it(kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path) -> None:
    args = ["--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out"]
    path = make_series("one\n", "two\n")
    letter = path / "0000-cover-letter.patch"
    letter.write_text(letter.read_text().replace("*** SUBJECT HERE ***", "mm: steps, größere"))
    assert kdelta("build", path, *args, KDELTA_CACHE=str(tmp_path / "c")).returncode == 0
    (fakelinux / "mm" / "madvise.c").write_text("moved on\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "later")
    script = (tmp_path / "out" / "reproduce.sh").read_text().replace(" run ", " plan --json ").replace("--out", "#")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "kdelta"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(kdelta_argv())} "$@"\n')
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    (tmp_path / "out" / "again.sh").write_text(script)
    again = subprocess.run(["sh", tmp_path / "out" / "again.sh"], env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    facts = json.loads(again.stdout)
    assert (facts["series"], facts["patches"]) == ("mm: steps, größere", ["mm: step 0", "mm: step 1"])
    assert [row["cell"] for row in facts["cells"]] == ["base/arm64-fast", "patched/arm64-fast"]


def test_who_has_the_report_alone_can_repeat_the_run(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    (path := make_series("one\n", "two\n")).joinpath("expect.yaml").write_text(
        "suites: {madvise_locked: {fixed: [drops_locked_pages]}}\n"
    )
    args = ["--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out"]
    assert kdelta("build", path, *args, KDELTA_CACHE=str(tmp_path / "c")).returncode == 0
    assert "suites:\n- madvise_locked\n" in (tmp_path / "out" / "pipeline.yaml").read_text()
    assert kdelta("report", tmp_path / "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    (alone := tmp_path / "alone").mkdir()
    for held, name in re.findall(r'href="data:application/gzip;base64,([^"]*)" download="([^"]*)\.gz"', page):
        (alone / name).write_bytes(gzip.decompress(base64.b64decode(held)))
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(path)
    again = kdelta("plan", "--pipeline", alone / "pipeline.yaml", "--json", KDELTA_CACHE=str(tmp_path / "c"))
    assert again.returncode == 0, again.stderr
    facts = json.loads(again.stdout)
    assert [row["cell"] for row in facts["cells"]] == ["base/arm64-fast", "patched/arm64-fast"]


def test_a_single_patch_keeps_its_cover_letter_and_what_changes_nothing_is_not_counted(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path = make_series("one\n")
    letter = path / "0000-cover-letter.patch"
    words = letter.read_text().replace("*** SUBJECT HERE ***", "mm: a step").replace("0/1]", "0/2]")
    letter.write_text(words)
    [patch] = path.glob("0001-*.patch")
    patch.write_text(patch.read_text().replace("[PATCH 1/1]", "[PATCH 1/2]"))
    same = "--- a/mm/madvise.c\n+++ b/mm/madvise.c\n@@ -1 +1 @@\n-one\n+one\n"
    (path / "0002-same.patch").write_text(f"From: A <a@example.org>\nSubject: [PATCH 2/2] same\n\n{same}")
    args = ["--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out"]
    done = kdelta("build", path, *args, KDELTA_CACHE=str(tmp_path / "c"))
    assert done.returncode == 0, done.stderr
    again = kdelta("diff", tmp_path / "out", "--json", KDELTA_CACHE=str(tmp_path / "c"))
    assert again.returncode == 125, again.stderr  # nothing was booted
    plan = kdelta("plan", tmp_path / "out" / "series", *args[:4], "--json", KDELTA_CACHE=str(tmp_path / "c"))
    assert json.loads(plan.stdout)["series"] == json.loads(again.stdout)["series"]["title"] == "mm: a step"


def test_a_series_that_the_tree_holds_is_said_and_can_be_taken_out(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path = make_series("one\n", "two\n")
    git(fakelinux, "merge", "-q", "--ff-only", "topic")
    args = ["plan", path, "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--json"]
    found = json.loads(kdelta(*args, KDELTA_CACHE=str(tmp_path / "cache")).stdout)
    assert (found["base"]["rule"], found["base"]["commit"]) == ("blob hashes", git(fakelinux, "rev-parse", "main~2"))
    there = kdelta(*args, "--base", "topic", KDELTA_CACHE=str(tmp_path / "cache"))
    assert there.returncode == 2
    assert "the series is already applied to" in there.stderr
    assert "--revert" in there.stderr
    taken = kdelta(*args, "--revert", KDELTA_CACHE=str(tmp_path / "cache"))
    assert taken.returncode == 0, taken.stderr
    facts = json.loads(taken.stdout)
    assert facts["base"]["reverted"]
    assert facts["patches"] == ["mm: step 0", "mm: step 1"]


def test_a_series_that_could_be_there_already_and_applies_again_is_said(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    rows = ["\t{ },\n"] * 20
    (fakelinux / "mm" / "madvise.c").write_text("".join(rows))
    git(fakelinux, "commit", "-q", "-a", "-m", "a table")
    path = make_series("".join([*rows[:10], "\t{ NEW },\n", *rows[10:]]), cover=False)
    args = ["plan", path, "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--json"]
    words = "the tree may hold the series already: it can be put in, and taken out as well (--revert does that)"
    for base, said in (("topic", True), ("main", False)):
        done = kdelta(*args, "--base", base, KDELTA_CACHE=str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        assert (words in json.loads(done.stdout)["notes"]) == said


@pytest.mark.parametrize("form", ["git", "tar"])
def test_only_what_can_be_followed_is_hinted_at(kdelta: Kdelta, fakelinux: Path, tmp_path: Path, form: str) -> None:
    ball = tmp_path / "linux.tar"
    subprocess.run(["git", "archive", "--prefix=linux/", "-o", ball, "main"], cwd=fakelinux, check=True)
    kernel = {"git": f"git:{fakelinux}", "tar": f"tar:{ball}"}[form]
    done = kdelta("plan", BUNDLED, "--kernel", kernel, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    others = {"git": "`--kernel` and `--base` choose another", "tar": "`--kernel` chooses another"}[form]
    assert f"  hint: is 6.1.0-fake the kernel that the series was made for? {others}\n" in done.stderr


def test_a_series_that_was_taken_out_is_taken_out_of_the_same_commit_again(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    path, cache = make_series("one\n", "two\n"), str(tmp_path / "cache")
    git(fakelinux, "merge", "-q", "--ff-only", "topic")  # its blobs are those of main~2, where it is not yet
    tip = git(fakelinux, "rev-parse", "main")
    args = ["--kernel", f"git:{fakelinux}", "--arch", "arm64", "--revert", "--out", tmp_path / "out"]
    assert kdelta("build", path, *args, KDELTA_CACHE=cache).returncode == 0
    kernel = json.loads((tmp_path / "out" / "run.json").read_text())["kernel"]
    assert kernel["reverted"]
    assert (kernel["chosen"]["commit"], kernel["chosen"]["rule"]) == (tip, "HEAD")
    assert kernel["chosen"]["sure"] == "the pre-image blob matches the tree without the series"
    assert json.loads((tmp_path / "out" / "request.json").read_text())["pipeline"]["base"] == tip
    again = kdelta("diff", tmp_path / "out", KDELTA_CACHE=cache)
    assert again.returncode == 125, again.stderr  # nothing was booted


def test_a_series_on_standard_input_is_kept_for_the_stages_that_follow(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    mbox = b"".join(file.read_bytes() for file in sorted(make_series("one\n", "two\n", cover=False).iterdir()))
    words = kdelta_argv("build", "-", "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, input=mbox, env=env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    request = json.loads((tmp_path / "out" / "request.json").read_text())
    assert request["pipeline"]["series"] == str(tmp_path / "out" / "series")
    again = subprocess.run(
        kdelta_argv("diff", tmp_path / "out", "--json"), env=env, cwd=tmp_path, capture_output=True, check=False
    )
    assert again.returncode == 125, again.stderr  # nothing was booted
    assert [patch["subject"] for patch in json.loads(again.stdout)["series"]["patches"]] == ["mm: step 0", "mm: step 1"]


@pytest.mark.parametrize(("stdin", "words"), [("<&-", "it is closed"), ("0>out", "Bad file descriptor")])
def test_a_standard_input_that_cannot_be_read_exits_2(fakelinux: Path, tmp_path: Path, stdin: str, words: str) -> None:
    argv = kdelta_argv("plan", "-", "--kernel", f"git:{fakelinux}")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache")}
    line = ["sh", "-c", f'exec "$@" {stdin}', "sh", *argv]
    done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Error: the series cannot be read from standard input: {words}" in done.stderr


def test_who_waits_for_a_series_on_standard_input_can_be_interrupted(fakelinux: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"From: A <a@example.org>\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache")}
    words = kdelta_argv("plan", "-", "--kernel", f"git:{fakelinux}")
    with subprocess.Popen(words, stdin=reading, stderr=subprocess.DEVNULL, env=env, cwd=tmp_path) as waiting:
        while waiting.poll() is None and select.select([reading], [], [], 0)[0]:  # it has not read it
            time.sleep(0.02)
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait() == 130
    os.close(reading)
    os.close(writing)


def test_commits_of_the_kernels_own_repository_are_a_series_on_their_own_base(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    make_series("one\n")
    done = kdelta("plan", "main..topic", "--kernel", f"git:{fakelinux}", "--json", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["patches"] == ["mm: step 0"]
    assert (facts["base"]["commit"], facts["base"]["rule"]) == (git(fakelinux, "rev-parse", "main"), "commit range")
