"""The main job, on real kernels of both architectures."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pexpect
import pytest
import yaml

from tests.conftest import ROOT, kdelta_argv, processes, run_kdelta
from tests.kernel.conftest import BUNDLED, Validate, append_patch, base_file, on_a_terminal, replace_once

pytestmark = pytest.mark.kernel
ARCHES = ("x86_64", "arm64")
GUARD = "+	if (behavior == MADV_DONTNEED_LOCKED)\n"


def changes(record: dict, kind: str, arch: str) -> set[str]:  # type: ignore[type-arg]
    return {test["name"] for test in record["tests"] if (test["change"], test["arch"]) == (kind, arch)}


def test_the_bundled_series_is_validated_and_changes_what_it_declares_and_nothing_else(validate: Validate) -> None:
    done = validate(BUNDLED)
    assert done.process.returncode == 0, done.process.stderr
    record = done.record
    assert (record["verdict"]["value"], record["status"]) == ("validated", "done")
    declared = yaml.safe_load((BUNDLED / "expect.yaml").read_text())["suites"]["madvise_locked"]
    for arch in ARCHES:
        assert changes(record, "fixed", arch) == set(declared["fixed"])
        assert changes(record, "same", arch) == {*declared["same"], "(exit)"}
    assert {test["change"] for test in record["tests"]} == {"fixed", "same"}
    assert {guest["outcome"] for guest in record["guests"]} == {"ok"}
    assert "VALIDATED" in done.process.stdout
    assert (done.directory / "report.html").is_file()
    assert record["kernel"]["chosen"]["rule"] == "blob hashes"
    for binary in record["binaries"]:
        assert binary["summary"].startswith("only mm/madvise.o differs: do_madvise grew by ")
        [constant] = binary["constants"]
        assert (constant["name"], constant["base"], constant["patched"]) == ("MADV_DONTNEED_LOCKED", None, "24")
    assert len(record["binaries"]) == len(ARCHES)
    assert {finding["tool"] for finding in record["findings"]} <= {"checkpatch"}
    for side in ("base", "patched"):
        for arch in ARCHES:
            cell = done.directory / side / f"{arch}-fast"
            for name in ("build.log", ".config", "qemu.sh", "console.log", "tests/madvise_locked.ktap"):
                assert (cell / name).stat().st_size, f"{cell / name} is empty"
            said = (cell / "console.log").read_text(errors="replace")
            assert "kdelta: madvise_locked runs drops_mlock\n" in said.replace("\r", "")


def test_each_patch_is_built_and_what_is_new_or_not_compiled_is_said(validate: Validate, copied: Path) -> None:
    before = base_file("mm/mincore.c")
    more = "static int left(void)\n{\n\treturn 0;\n}\nint *none(void);\nint *none(void)\n{\n\treturn 0;\n}\n"
    append_patch(copied, "mm: leave", "mm/mincore.c", before, f"{before}\n{more}")
    swap = base_file("mm/zswap.c")
    append_patch(copied, "mm: say", "mm/zswap.c", swap, f"{swap}/* nothing */\n", 8)
    record = validate(copied, "--arch", "arm64", "--each-patch", "--sparse").record
    assert [(step["number"], step["error"]) for step in record["steps"]] == [(1, None), (2, None), (3, None)]
    assert [(found["file"], found["options"]) for found in record["uncompiled"]] == [("mm/zswap.c", ["ZSWAP"])]
    assert "mm/zswap.c is not compiled on arm64-fast: it waits for CONFIG_ZSWAP" in " ".join(
        record["verdict"]["reasons"]
    )
    new = [found for found in record["findings"] if found["change"] == "new" and found["tool"] != "checkpatch"]
    last = len(before.splitlines())
    assert {(found["tool"], found["kind"], found["file"], found["line"]) for found in new} == {
        ("cc", "-Wunused-function", "mm/mincore.c", last + 2),
        ("sparse", "using-plain-integer-as-null-pointer", "mm/mincore.c", last + 9),
    }
    assert record["verdict"]["value"] == "validated"


def test_a_second_run_builds_nothing(validate: Validate) -> None:
    record = validate(BUNDLED).record
    assert [build["cached"] for build in record["builds"]] == [True] * 4


def test_the_stages_one_by_one_give_what_run_gives(tmp_path: Path) -> None:
    where = tmp_path / "run"
    built = run_kdelta("build", BUNDLED, "--arch", "arm64", "--suite", "madvise_locked", "--out", where)
    assert built.returncode == 0, built.stderr
    assert f"{where}" in built.stdout
    assert not list(where.glob("*/*/console.log"))
    for stage in ("boot", "test"):
        done = run_kdelta(stage, where)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ok under tcg, booted in") == 2
    judged = run_kdelta("diff", where)
    assert judged.returncode == 0, judged.stderr
    assert "VALIDATED" in judged.stdout
    (where / "report.html").unlink()
    assert run_kdelta("report", where).stdout == f"{where}/report.html\n"
    assert (where / "report.html").is_file()
    with on_a_terminal("shell", "--arch", "arm64", where, timeout=120) as shell:
        shell.expect("/ # ")
        shell.send("uname -m; exit\r")
        shell.expect("aarch64")
        shell.expect(pexpect.EOF)


def test_an_inverted_guard_is_regressed_and_the_cases_are_named(validate: Validate, copied: Path) -> None:
    [patch] = copied.glob("0001*")
    replace_once(patch, GUARD, GUARD.replace("==", "!="))
    done = validate(copied)
    assert done.process.returncode == 1, done.process.stderr
    assert done.record["verdict"]["value"] == "regressed"
    for arch in ARCHES:
        broken = changes(done.record, "regressed", arch)
        assert broken
        assert any(name in " ".join(done.record["verdict"]["reasons"]) for name in broken)
    assert "REGRESSED" in done.process.stdout


def test_a_panic_at_boot_on_arm64_alone_leaves_the_other_cells_whole(validate: Validate, copied: Path) -> None:
    before = base_file("arch/arm64/kernel/io.c")
    after = before + (
        "\n#include <linux/init.h>\n#include <linux/kernel.h>\n"
        'static int __init boom(void)\n{\n\tpanic("seeded");\n\treturn 0;\n}\nlate_initcall(boom);\n'
    )
    append_patch(copied, "arm64: panic", "arch/arm64/kernel/io.c", before, after)
    done = validate(copied)
    assert done.process.returncode == 1, done.process.stderr
    outcomes = {(guest["side"], guest["arch"]): guest["outcome"] for guest in done.record["guests"]}
    assert outcomes == {
        ("base", "x86_64"): "ok",
        ("patched", "x86_64"): "ok",
        ("base", "arm64"): "ok",
        ("patched", "arm64"): "panic",
    }
    assert done.record["verdict"]["value"] == "regressed"
    assert "seeded" in " ".join(done.record["verdict"]["reasons"])
    declared = yaml.safe_load((BUNDLED / "expect.yaml").read_text())["suites"]["madvise_locked"]
    assert changes(done.record, "fixed", "x86_64") == set(declared["fixed"])
    [panicked] = [guest for guest in done.record["guests"] if guest["outcome"] == "panic"]
    assert "panic" in {splat["kind"] for splat in panicked["splats"]}


def test_a_warning_that_the_series_brings_is_regressed_and_has_its_line(validate: Validate, copied: Path) -> None:
    before = base_file("mm/mincore.c")
    head, syscall = before.partition("SYSCALL_DEFINE3(mincore")[::2]
    head += "static noinline void seeded(size_t len)\n{\n\tWARN_ON_ONCE(len);\n}\n\n"
    calls = syscall.replace("\tpages =", "\tseeded(len);\n\tpages =", 1)
    after = f"{head}SYSCALL_DEFINE3(mincore{calls}"
    append_patch(copied, "mm: warn", "mm/mincore.c", before, after)
    done = validate(copied, "--arch", "arm64")
    assert done.process.returncode == 1, done.process.stderr
    assert "madvise_locked/(report) WARNING in seeded" in " ".join(done.record["verdict"]["reasons"])
    [patched] = [guest for guest in done.record["guests"] if guest["side"] == "patched"]
    [splat] = patched["splats"]
    line = after[: after.index("WARN_ON_ONCE(len)")].count("\n") + 1
    assert splat["frames"][0] == f"seeded mm/mincore.c:{line}"


def test_a_series_that_does_not_compile_is_a_result_and_base_is_kept(validate: Validate, copied: Path) -> None:
    [patch] = copied.glob("0001*")
    replace_once(patch, GUARD, GUARD.replace("MADV_DONTNEED_LOCKED", "MADV_DONTNEED_LOKCED"))
    done = validate(copied, "--arch", "x86_64")
    assert done.process.returncode == 1, done.process.stderr
    base, patched = done.record["builds"]
    assert base["error"] is None
    assert "MADV_DONTNEED_LOKCED" in patched["error"]
    assert [guest["side"] for guest in done.record["guests"]] == ["base"]
    assert {test["base"]["outcome"] for test in done.record["tests"]} >= {"pass", "fail"}


def test_a_series_that_does_not_apply_exits_2_with_patch_file_and_hunk(validate: Validate, copied: Path) -> None:
    [patch] = copied.glob("0001*")
    replace_once(
        patch,
        "-	if (!can_madv_lru_vma(vma))\n+	if (!can_dontneed_free_vma",
        "-	if (!can_madv_lru_vmb(vma))\n+	if (!can_dontneed_free_vma",
    )
    done = validate(copied)
    assert done.process.returncode == 2
    assert patch.name in done.process.stderr
    assert "of mm/madvise.c, at line" in done.process.stderr
    assert not done.directory.exists()


@pytest.mark.parametrize("stage", ["build", "boot", "madvise_locked"])
def test_ctrl_c_ends_a_run_in_five_seconds_and_leaves_nothing(stage: str, tmp_path: Path, copied: Path) -> None:
    [patch] = copied.glob("0001*")  # another comment, so that there is something to build
    replace_once(patch, "mlock() shields a range", f"mlock(2) shields, in {stage}, a range")
    argv = kdelta_argv("run", copied, "--suite", "madvise_locked", "--arch", "arm64", "--out", tmp_path / "out")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stderr
        for line in process.stderr:
            if f"patched/arm64-fast: {stage}" in line:
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.stderr.read()
        assert process.wait(30) == 130
    assert time.monotonic() - started < 5
    assert '"status": "interrupted"' in (tmp_path / "out" / "run.json").read_text()
    assert processes(str(tmp_path)) == []


def test_kill_9_leaves_no_qemu_and_no_make(tmp_path: Path) -> None:
    argv = kdelta_argv("run", BUNDLED, "--suite", "madvise_locked", "--arch", "arm64", "--out", tmp_path / "out")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stderr
        for line in process.stderr:
            if ": madvise_locked" in line:
                break
        assert processes(str(tmp_path / "out"))
        process.kill()
    deadline = time.monotonic() + 5
    while processes(str(tmp_path / "out")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes(str(tmp_path / "out")) == []


@pytest.mark.parametrize("stage", ["build", "boot", "madvise_locked", "done"])
def test_a_run_that_was_killed_at_any_stage_is_resumed(stage: str, tmp_path: Path) -> None:
    out, env = tmp_path / "out", {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = kdelta_argv("run", BUNDLED, "--suite", "madvise_locked", "--arch", "arm64", "--out", out)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stderr
        for line in process.stderr:
            if f"/arm64-fast: {stage}" in line:
                break
        process.kill()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*/*/guest.json")}
    resumed = run_kdelta("resume", out)
    assert (resumed.returncode, "VALIDATED" in resumed.stdout) == (0, True), resumed.stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert processes(str(out)) == []


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path, copied: Path) -> None:
    [patch] = copied.glob("0001*")
    replace_once(patch, "mlock() shields a range", "mlock() shields any range")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(
            kdelta_argv("run", copied, "--suite", "madvise_locked", "--arch", "arm64", "--out", tmp_path / name),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )
        for name in ("a", "b")
    ]
    answers = [run.communicate(timeout=600)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all("VALIDATED" in answer for answer in answers)
