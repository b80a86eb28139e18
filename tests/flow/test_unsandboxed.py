"""Builds where there is no sandbox: refused unless asked for, then made on the host itself, and said aloud."""

import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.errors import BuildError, UserError
from orchestrator.build import kbuild, order, uapi, unsandboxed
from orchestrator.build.anatomy import closeup, kit
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.order import Order
from orchestrator.intake import mail, series, source
from orchestrator.judge import findings, hunks
from tests.conftest import ROOT, Kdelta, kdelta_argv
from tests.flow.conftest import QUOTA, git
from tests.flow.test_intake_and_build import EDITED, LINES, misbehave
from tests.flow.test_intake_and_build import order as sandboxed_order

pytestmark = pytest.mark.long

REFUSED = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"

# A tree that says its sources by the path that make has of them, as Kbuild does, and asks the real compiler.
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 0
all bzImage: $(O)/mm/a.o
\t@mkdir -p $(O)/arch/x86/boot; cp $< $(O)/arch/x86/boot/bzImage
tinyconfig:
\t@ln -fsn $(CURDIR) $(O)/source; printf 'CONFIG_TINY=y\\n' >$(O)/.config
olddefconfig:
\t@sed -i /LOST/d $(O)/.config
$(O)/%.o: %.c include/m.h
\t@echo '  CC      $*.o'; mkdir -p $(@D)
\t@cd $(O) && gcc -Wall -O2 -fmacro-prefix-map=$(CURDIR)/= -c $(CURDIR)/$*.c -o $*.o
\t@printf 'source_$*.o := $(CURDIR)/$*.c\\n' >$(@D)/.$(notdir $*).o.cmd
"""
A = """\
#include "../include/m.h"
int a(int n)
{
\tint spare;
\treturn n >> m();
}
"""
M = "static inline int m(void)\n{\n\tint narrow = 1 << 40;\n\treturn narrow;\n}\n"
KCONFIG = """\
config TINY
\tbool "tiny"
config HOST
\tdef_bool $(shell,test -d $(srctree)/mm && echo y)
config LOST
\tbool "lost"
\tdepends on HOST && WIDE
config WIDE
\tbool "wide"
"""


@pytest.fixture
def warned(tmp_path: Path) -> Path:
    """A git repository of a tree that makes gcc warn, in a source and in a header."""
    top = tmp_path / "warned"
    for name, text in {"Makefile": MAKEFILE, "mm/a.c": A, "include/m.h": M, "Kconfig": KCONFIG}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "Linux that warns")
    return top


@pytest.fixture
def no_bwrap(tmp_path: Path) -> str:
    """A PATH with all programs but bubblewrap."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).iterdir() if os.access(directory, os.R_OK) else ():
            link = programs / program.name
            if program.name != "bwrap" and not link.is_symlink():
                link.symlink_to(program)
    return str(programs)


def unsandboxed_order(files: str, origin: source.Source, wish: str = "CONFIG_TINY=y\n") -> Order:
    made = replace(sandboxed_order(origin.tree, origin, wish), sandboxed=False)
    return made if files == origin.tree else replace(made, files=files, start=made)


def build(top: Path, tmp_path: Path) -> kbuild.KernelBuild:
    """Build the head of the repository `top` without a sandbox."""
    origin = source.resolve(f"git:{top}", None, tmp_path / "cache")
    return kbuild.build(unsandboxed_order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")


# --- the command line


def test_without_bubblewrap_nothing_is_built_and_the_dangerous_way_on_is_named(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path, no_bwrap: str
) -> None:
    done = kdelta("build", make_series(EDITED), "--kernel", f"git:{fakelinux}", PATH=no_bwrap)
    assert done.returncode == 2
    assert "bwrap is not installed" in done.stderr
    assert "apt install bubblewrap" in done.stderr
    assert "--unsandboxed, which is DANGEROUS" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_bubblewrap_that_may_make_no_namespace_is_quoted_before_anything_is_built(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path
) -> None:
    bwrap = tmp_path / "bin" / "bwrap"
    bwrap.parent.mkdir()
    bwrap.write_text(f"#!/bin/sh\necho '{REFUSED}' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    path = f"{bwrap.parent}:{os.environ['PATH']}"
    done = kdelta("build", make_series(EDITED), "--kernel", f"git:{fakelinux}", PATH=path)
    assert done.returncode == 2
    assert REFUSED in done.stderr
    assert "--unsandboxed" in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("asked_by", ["option", "file"])
def test_unsandboxed_builds_without_bubblewrap_and_says_so_and_what_was_not_run(
    kdelta: Kdelta, fakelinux: Path, make_series, tmp_path: Path, no_bwrap: str, asked_by: str
) -> None:
    option = ["--unsandboxed"] if asked_by == "option" else []
    (tmp_path / "pipeline.yaml").write_text("suites: [madvise_locked]\n" if option else "unsandboxed: true\n")
    args = [make_series(EDITED), "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--out", tmp_path / "out", *option]
    done = kdelta("build", *args, PATH=no_bwrap, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [build["error"] for build in record["builds"]] == [None, None]
    assert record["notes"] == [
        unsandboxed.NOTE,
        "kernel-doc was not run: it needs the sandbox",
        "checkpatch was not run: it needs the sandbox",
    ]
    assert f"note    {unsandboxed.NOTE}\n" in done.stdout
    again = kdelta("diff", tmp_path / "out", PATH=no_bwrap, KDELTA_CACHE=str(tmp_path / "cache"))
    assert "note: built without a sandbox, as --unsandboxed asked: " in again.stdout
    assert "unsandboxed: true\n" in (tmp_path / "out" / "pipeline.yaml").read_text()
    assert unsandboxed.NOTE.split("'")[0] in (tmp_path / "out" / "report.html").read_text()


def test_a_build_that_fails_names_its_error_by_the_path_in_the_tree(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace('"/src/mm', '"$(CURDIR)/mm'))
    git(fakelinux, "commit", "-q", "-a", "-m", "says where it is")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    broken = series.apply(mail.read(make_series("SYNTAX\n")).mails, origin)
    with pytest.raises(BuildError, match=r"make bzImage failed: mm/madvise\.c:1:1: error: SYNTAX"):
        kbuild.build(unsandboxed_order(broken.tree, origin), tmp_path / "cache", tmp_path / "log")


# --- names


def test_a_sandboxed_build_keeps_its_name_and_an_unsandboxed_one_has_others(fakelinux: Path, tmp_path: Path) -> None:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    contained = sandboxed_order(origin.tree, origin)
    wish = ["x86_64", "tinyconfig", "CONFIG_TINY=y\n", "", *contained.toolchain.identity]
    inputs = json.dumps([order.RECIPE, origin.tree, *wish, []])
    assert contained.key == hashlib.sha256(inputs.encode()).hexdigest()[:40]
    names = [name for one in (contained, replace(contained, sandboxed=False)) for name in (one.key, one.objects)]
    assert len(set(names)) == 4


# --- what a build gives


def test_moving_between_trees_rebuilds_what_differs(fakelinux: Path, make_series, tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    applied = series.apply(mail.read(make_series(EDITED)).mails, origin)
    assert kbuild.build(unsandboxed_order(origin.tree, origin), cache, log).image.read_text() == "".join(LINES)
    assert kbuild.build(unsandboxed_order(applied.tree, origin), cache, log).image.read_text() == EDITED


def test_findings_are_those_of_a_sandboxed_build(warned: Path, tmp_path: Path) -> None:
    origin = source.resolve(f"git:{warned}", None, tmp_path / "cache")
    made = [
        kbuild.build(one, tmp_path / "cache", tmp_path / "log")
        for one in (sandboxed_order(origin.tree, origin), unsandboxed_order(origin.tree, origin))
    ]
    assert made[0].directory != made[1].directory
    assert made[0].findings == made[1].findings
    found = [finding for said in made[1].findings.values() for finding in said]
    assert {(one.file, one.line, one.kind) for one in found} == {
        ("mm/a.c", 4, "-Wunused-variable"),
        ("include/m.h", 3, "-Wshift-count-overflow"),
    }
    assert f"{tmp_path}/cache/trees/{origin.tree}/mm/a.c:4:" in made[1].log.read_text()


def test_a_warning_of_both_sides_is_the_same_though_their_trees_have_other_paths(warned: Path, tmp_path: Path) -> None:
    base = build(warned, tmp_path)
    (warned / "mm" / "a.c").write_text(A.replace("int a(", "/* why */\nint a("))
    git(warned, "commit", "-q", "-a", "-m", "why")
    patched = build(warned, tmp_path)
    lines = hunks.parse(git(warned, "diff", "HEAD~", "HEAD"))
    records = findings.compare(base.findings, patched.findings, lines, arch="x86_64", flavour="fast")
    assert [(str(record.change), record.file) for record in records] == [("same", "include/m.h"), ("moved", "mm/a.c")]


@pytest.mark.parametrize("make_order", [sandboxed_order, unsandboxed_order])
def test_the_dependency_of_a_dropped_option_is_named(warned: Path, tmp_path: Path, make_order) -> None:
    origin = source.resolve(f"git:{warned}", None, tmp_path / "cache")
    with pytest.raises(UserError, match=r"CONFIG_LOST=y came out as n \(depends on WIDE\)"):
        kbuild.build(make_order(origin.tree, origin, "CONFIG_LOST=y\n"), tmp_path / "cache", tmp_path / "log")


def test_what_needs_the_sandbox_to_look_closer_says_so(warned: Path, tmp_path: Path) -> None:
    made = build(warned, tmp_path)
    place = Place(made.directory, warned, tmp_path / "cache" / "ccache", QUOTA)
    closer = closeup.look(place, ["mm/a.o"], ["mm/a.c"])
    assert closer.notes == (f"no stack frames and layouts: {kit.NONE}",)
    probed = uapi.look(place, "x86_64", ["include/uapi/linux/a.h"])
    assert not probed.seen
    assert probed.notes[-1] == f"uapi headers were not probed: {kit.NONE}"


# --- what is kept from it


def test_a_makefile_sees_another_home_no_variable_of_the_users_and_leaves_no_compiled_script(
    fakelinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    (fakelinux / "a.py").write_text("")
    misbehave(fakelinux, 'env; touch "$$TMPDIR/left"; python3 -c "import a"')
    build(fakelinux, tmp_path)
    seen = dict(line.split("=", 1) for line in (tmp_path / "log").read_text().splitlines() if "=" in line)
    assert "SSH_AUTH_SOCK" not in seen
    assert (seen["PATH"], seen["LC_ALL"]) == ("/usr/local/bin:/usr/bin:/bin", "C")
    assert seen["HOME"] not in ("", os.environ["HOME"])
    assert not Path(seen["HOME"]).exists()
    assert seen["CCACHE_DIR"] == str(tmp_path / "cache" / "ccache")
    assert not list((tmp_path / "cache" / "trees").rglob("__pycache__"))


def test_a_link_that_leads_out_of_the_objects_is_found(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "ln -s /etc $(O)/etc")
    with pytest.raises(BuildError, match="the build left etc, which is no file of its own"):
        build(fakelinux, tmp_path)


def test_a_link_into_the_tree_of_another_build_is_no_way_out(warned: Path, tmp_path: Path) -> None:
    build(warned, tmp_path)
    [link] = (tmp_path / "cache" / "objects").glob("*/source")
    link.rename(link.with_name("left-by-base"))
    (warned / "mm" / "a.c").write_text(A.replace("spare", "other"))
    git(warned, "commit", "-q", "-a", "-m", "other")
    assert build(warned, tmp_path).image.is_file()


@pytest.mark.parametrize(
    ("deed", "seconds", "charge"),
    [
        ("for n in $$(seq 70); do sleep 60 & done; wait", 50.0, "more than 50 processes at once"),
        ('python3 -c "b = bytearray(1 << 29); input()" <>/dev/zero', 50.0, "more than 256 MiB of memory at once"),
        ("sleep 60", 2.0, "did not end in 2 s"),
    ],
)
def test_a_build_that_takes_too_much_is_ended_with_all_of_it(
    fakelinux: Path, tmp_path: Path, deed: str, seconds: float, charge: str
) -> None:
    misbehave(fakelinux, f"MARK={tmp_path}; export MARK; {deed}")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    wanted = replace(unsandboxed_order(origin.tree, origin), limit_seconds=seconds)
    with pytest.raises(BuildError, match=charge):
        kbuild.build(wanted, tmp_path / "cache", tmp_path / "log")
    assert gone(f"MARK={tmp_path}")


def test_a_build_ends_when_kdelta_is_killed(fakelinux: Path, make_series, tmp_path: Path) -> None:
    misbehave(fakelinux, f"MARK={tmp_path} exec sleep 60")
    args = [make_series(EDITED), "--kernel", f"git:{fakelinux}", "--arch", "arm64", "--unsandboxed"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KDELTA_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    started = subprocess.Popen(
        kdelta_argv("build", *args), cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not marked(f"MARK={tmp_path}") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert marked(f"MARK={tmp_path}")
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert gone(f"MARK={tmp_path}")


def marked(mark: str) -> list[int]:
    """The processes with `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{mark}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 10
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not marked(mark)
