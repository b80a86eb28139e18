"""Findings of real compilers and checkers, in the real sandbox, on a tiny tree with one O= for both sides."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kvm import proc
from orchestrator.build.findings import checkers, units
from orchestrator.build.findings.checkers import Checked, Scene
from orchestrator.build.quota import Quota
from orchestrator.build.sandbox import OBJ, SRC, Sandbox
from orchestrator.intake import tree
from orchestrator.judge import findings, hunks
from orchestrator.model import FindingRecord
from tests.flow.conftest import git

# Kbuild's habits that matter here: its short lines, its .cmd files, C=2, single objects as goals.
MAKEFILE = """\
OBJECTS := mm/a.o mm/b.o
all: $(addprefix $(O)/,$(OBJECTS))
.DELETE_ON_ERROR:
$(O)/%.o: %.c include/m.h
\t@echo '  CC      $*.o'; mkdir -p $(@D); touch $(@D)/built-in.a
\t@rm -f $@; gcc -Wall -O2 -c /src/$*.c -o $@
\t@printf 'source_$*.o := /src/$*.c\\n\\ndeps_$*.o := \\\\\\n  /src/include/m.h \\\\\\n' >$(@D)/.$(notdir $*).o.cmd
$(OBJECTS): %.o: $(O)/%.o
\t@echo '  CHECK   /src/$*.c'; $(CHECK) -Wall /src/$*.c
"""
A = """\
#include "../include/m.h"
int a(int n)
{
\tint spare;
\treturn n + M;
}
"""
B = """\
#include "../include/m.h"
static int b(int n)
{
\treturn n >> M;
}
int c(int n) { return b(n); }
"""
KERNEL_DOC = """\
#!/bin/sh
for file; do [ "$file" = -none ] || grep -n lie "$file" | sed "s,:.*,: warning: duplicate section name 'lie'," |
sed "s,^,$file:,"; done
"""
CHECKPATCH = """\
#!/bin/sh
for patch; do :; done
grep -q '^Signed-off-by' "$patch" || echo 'ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)'
grep -q '^+ ' "$patch" && printf 'ERROR:CODE_INDENT: code indent should use tabs\\n#9: FILE: mm/a.c:4:\\n+ x\\n'
exit 1
"""
SEMANTIC_PATCH = """\
// Options: --no-includes
virtual report

@r@
expression E;
position p;
@@
 E == E@p

@script:python depends on report@
p << r.p;
@@
coccilib.report.print_report(p[0], "WARNING: compared with itself")
"""
TREE = {
    "Makefile": MAKEFILE,
    "include/m.h": "#define M 1\n",
    "mm/a.c": A,
    "mm/b.c": B,
    "scripts/kernel-doc": KERNEL_DOC,
    "scripts/checkpatch.pl": CHECKPATCH,
    "scripts/coccinelle/misc/self.cocci": SEMANTIC_PATCH,
}


@dataclass
class Pair:
    """Two trees, the O= that they share, and what is known of its objects."""

    top: Path

    def write(self, side: str, files: dict[str, str]) -> None:
        work = self.top / "work"
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        for script in (work / "scripts").iterdir():
            script.chmod(0o755)
        git(self.top, "init", "-q", "work")
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", side)
        shutil.copytree(work, self.top / side, ignore=shutil.ignore_patterns(".git"))

    def lines(self) -> hunks.LineMap:
        return hunks.parse(git(self.top / "work", "diff", "-M", "HEAD~", "HEAD"))

    def sandbox(self, side: str) -> Sandbox:
        for name in ("objects", "ccache"):
            (self.top / name).mkdir(exist_ok=True)
        return Sandbox(self.top / side, self.top / "objects", self.top / "ccache", Quota(200, 1 << 30))

    def build(self, side: str) -> units.Units:
        log = self.top / f"{side}.log"
        log.unlink(missing_ok=True)
        tree.touch(self.top / side, git(self.top / "work", "diff", "--name-only", "HEAD~", "HEAD").splitlines())
        proc.run(self.sandbox(side).argv([*MAKE, "-j4", "-k", "all"]), output=log)
        objects = self.top / "objects"
        return units.record(self.top / "store", log.read_text(), src=self.top / side, obj=objects)

    def scene(self, side: str, **more: object) -> Scene:
        files = ("mm/a.c", "mm/b.c")
        scene = Scene(self.sandbox(side), self.top / "base", MAKE, files, ("mm/a.o", "mm/b.o"), limit_seconds=60)
        return replace(scene, **more)  # type: ignore[arg-type]

    def built(self) -> list[FindingRecord]:
        return findings.compare(self.build("base"), self.build("patched"), self.lines(), arch="x86_64", flavour="fast")

    def checked(self, name: str) -> list[FindingRecord]:
        base, patched = (run(name, self.scene(side)) for side in ("base", "patched"))
        assert base.notes == patched.notes == ()
        both = {name: base.units}, {name: patched.units}
        records, notes = findings.compare_checks(*both, self.lines(), arch="x86_64", flavour="fast")
        assert notes == []
        return records


MAKE = ("make", "-C", SRC, f"O={OBJ}")


def run(name: str, scene: Scene) -> Checked:
    [checker] = checkers.named((name,))
    return checkers.run(checker, scene)


def shown(records: list[FindingRecord]) -> set[tuple[str, str, int, str]]:
    return {(str(record.change), record.file, record.line, record.kind) for record in records}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = Pair(tmp_path)
    made.write("base", TREE)
    return made


def test_gcc_s_warnings_that_took_each_other_s_place_are_one_gone_and_one_new(pair: Pair) -> None:
    swapped = A.replace("\tint spare;\n", "\n\tint other;\n")
    pair.write("patched", {"mm/a.c": swapped})
    records = pair.built()
    assert [(str(record.change), record.line, record.message) for record in records] == [
        ("gone", 4, "unused variable 'spare'"),
        ("new", 5, "unused variable 'other'"),
    ]


def test_a_warning_below_new_lines_moved(pair: Pair) -> None:
    pair.write("patched", {"mm/a.c": A.replace("int a(", "/* why */\n\nint a(")})
    [record] = pair.built()
    assert (str(record.change), record.base_line, record.line) == ("moved", 4, 6)


def test_a_header_that_makes_an_untouched_file_warn_is_seen(pair: Pair) -> None:
    pair.write("patched", {"include/m.h": "/* more */\n#define M 40\n"})
    assert shown(pair.built()) == {
        ("same", "mm/a.c", 4, "-Wunused-variable"),
        ("new", "mm/b.c", 4, "-Wshift-count-overflow"),
    }


def test_a_side_built_from_another_s_objects_keeps_the_warnings_that_its_log_does_not_hold(pair: Pair) -> None:
    pair.write("patched", {"mm/b.c": "\n" + B})
    assert shown(pair.built()) == {("same", "mm/a.c", 4, "-Wunused-variable")}
    assert "spare" not in (pair.top / "patched.log").read_text()


def test_a_file_that_stops_compiling_does_not_lose_its_old_warnings_as_if_they_were_mended(pair: Pair) -> None:
    pair.write("patched", {"mm/a.c": '#include "no-such-file.h"\n'})
    assert shown(pair.built()) == {("missing", "mm/a.c", 4, "-Wunused-variable"), ("new", "mm/a.c", 1, "error")}
    assert "mm/a.o" not in (units.load(pair.top / "store") or {})


def test_the_objects_of_a_header_are_found(pair: Pair) -> None:
    pair.write("patched", {"mm/b.c": "\n" + B})
    pair.build("base")
    objects = pair.top / "objects"
    assert units.objects_of(objects, ["include/m.h"]) == ("mm/a.o", "mm/b.o")
    assert units.objects_of(objects, ["mm/b.c", "Makefile"]) == ("mm/b.o",)
    assert units.objects_of(objects, ["README"]) == ()


def test_sparse_says_only_what_is_new(pair: Pair) -> None:
    pair.write("patched", {"mm/b.c": B + "void *none(void) { return 0; }\n"})
    records = pair.checked("sparse")
    assert ("new", "mm/b.c", 7, "using-plain-integer-as-null-pointer") in shown(records)
    assert ("same", "mm/a.c", 2, "symbol-was-not-declared") in shown(records)


def test_coccinelle_reports_by_the_name_of_its_semantic_patch(pair: Pair) -> None:
    pair.write("patched", {"mm/b.c": "\n" + B + "int d(int n) { return n == n; }\n"})
    assert shown(pair.checked("coccinelle")) == {("new", "mm/b.c", 8, "misc/self")}


def test_a_series_that_silences_a_checker_s_script_is_judged_by_base_s(pair: Pair) -> None:
    pair.write("patched", {"mm/b.c": "/* a lie */\n" + B, "scripts/kernel-doc": "#!/bin/sh\n"})
    assert shown(pair.checked("kernel-doc")) == {("new", "mm/b.c", 1, "bad-line")}


def test_checkpatch_judges_each_patch_and_names_file_or_mail(pair: Pair) -> None:
    mails = (pair.top / "0001-good.patch", pair.top / "0002-bad.patch")
    mails[0].write_text("Signed-off-by: A Developer <a@example.org>\n+\tx\n")
    mails[1].write_text("+ x\n")
    pair.write("patched", {"mm/b.c": "\n" + B})
    checked = run("checkpatch", pair.scene("patched", patches=mails))
    records, _ = findings.compare_checks({}, {"checkpatch": checked.units}, pair.lines(), arch="", flavour="")
    assert shown(records) == {
        ("new", "mm/a.c", 4, "CODE_INDENT"),
        ("new", "0002-bad.patch", 0, "MISSING_SIGN_OFF"),
    }


def test_a_checker_that_is_not_installed_is_a_note(pair: Pair) -> None:
    [row] = checkers.named(("smatch",))
    absent = checkers.run(replace(row, program="no-such-checker"), pair.scene("base"))
    assert absent == Checked({}, ("no-such-checker is not installed",))


def test_a_tree_without_the_script_is_a_note(pair: Pair) -> None:
    (pair.top / "base" / "scripts" / "kernel-doc").unlink()
    assert run("kernel-doc", pair.scene("base")).notes == ("kernel-doc: base has no scripts/kernel-doc",)


def test_a_checker_that_speaks_like_the_sandbox_is_no_fault_of_it(pair: Pair) -> None:
    (pair.top / "base" / "scripts" / "kernel-doc").write_text("#!/bin/sh\necho bwrap: no; exit 1\n")
    said = run("kernel-doc", pair.scene("base"))
    assert said == Checked({}, ("kernel-doc: no answer on mm/a.c, mm/b.c (exit 1): bwrap: no",))


def test_a_checker_that_exceeds_the_quota_is_ended_and_has_looked_at_nothing(pair: Pair) -> None:
    (pair.top / "base" / "scripts" / "kernel-doc").write_text(
        "#!/bin/sh\nfor n in $(seq 220); do sleep 60 & done; wait\n"
    )
    hog = run("kernel-doc", pair.scene("base"))
    note = "kernel-doc: no answer on mm/a.c, mm/b.c: the build ran more than 200 processes at once"
    assert hog == Checked({}, (note,), late=True)


def test_a_checker_that_does_not_end_or_fails_has_looked_at_nothing_and_says_so(pair: Pair) -> None:
    script = pair.top / "base" / "scripts" / "kernel-doc"
    script.write_text("#!/bin/sh\nsleep 60\n")
    hung = run("kernel-doc", pair.scene("base", limit_seconds=0.5))
    assert (hung.units, len(hung.notes), hung.late) == ({}, 1, True)
    assert "no end after" in hung.notes[0]
    script.write_text("#!/bin/sh\necho cannot; exit 3\n")
    failed = run("kernel-doc", pair.scene("base"))
    assert failed == Checked({}, ("kernel-doc: no answer on mm/a.c, mm/b.c (exit 3): cannot",))
