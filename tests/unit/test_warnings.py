"""Findings: read from real words of real tools, kept object by object, compared by what they say and where."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.build.findings import units, warnings, words
from orchestrator.judge import findings, hunks
from orchestrator.judge.hunks import LineMap
from orchestrator.model import Finding, FindingChange, FindingRecord

SHOWN = sorted((Path(__file__).parent.parent / "data" / "warnings").iterdir())
GONE, MISSING, MOVED, NEW, SAME = (FindingChange(name) for name in ("gone", "missing", "moved", "new", "same"))


def row(finding: Finding) -> str:
    """One expected finding, as the files below tests/data/warnings write it."""
    via = " < ".join(reversed(finding.chain))
    site = f"{finding.site[0]}:{finding.site[1]}" if finding.site else ""
    place = f"{finding.file}:{finding.line}:{finding.column}"
    return " | ".join((finding.tool, finding.kind, place, finding.function, via, site, finding.message))


@pytest.mark.parametrize("file", SHOWN, ids=lambda file: file.name)
def test_what_a_tool_really_printed_is_read(file: Path) -> None:
    head, _, log = file.read_text().partition("\n\n")
    expected = head.splitlines()
    tool = expected.pop(0).removeprefix("tool ") if head.startswith("tool ") else warnings.CC
    assert [row(finding) for finding in warnings.parse(log, tool)] == expected


@given(st.text())
def test_any_text_gives_a_list(text: str) -> None:
    assert isinstance(warnings.parse(text), list)


PIECES = ["/src/mm/a.c", "mm/h.h", ":", "12", "99999999999999999999", " warning: ", "note: in expansion of macro 'm'"]
PIECES += [
    *("In file included from ", "                 from ", "In function 'f'", "    inlined from 'g' at ", "[-Wx]"),
    *("\n", ",", "  CC      mm/a.o", "ld: ", "WARNING: modpost: ", "\u2018", "\x00", "\u0663", ".config"),
]


@given(st.lists(st.sampled_from(PIECES)))
def test_any_mix_of_what_compilers_say_gives_findings_with_paths_in_the_tree(pieces: list[str]) -> None:
    for finding in warnings.parse("".join(pieces)):
        assert not finding.file.startswith(("/src/", "../"))
        assert finding.line >= 0


TREE = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "raw",
    [
        *("/src/mm/a.h", "./mm/a.h", "../mm/a.h", "../../mm/a.h", "/build/mm/a.h", "/src/fs/../mm/a.h", "mm/./a.h"),
        *(f"/home/me/.cache/kdelta/trees/{TREE}/mm/a.h", f"/c/objects/{TREE}/./mm/a.h", f"../../trees/{TREE}/mm/a.h"),
    ],
)
def test_a_path_is_the_same_however_the_build_spells_it(raw: str) -> None:
    assert words.path(raw) == "mm/a.h"


def test_words_about_the_machine_are_no_findings() -> None:
    log = """\
make[2]: warning:  Clock skew detected.  Your build may be incomplete.
make[1]: Warning: File 'mm/a.o' has modification time 0.4 s in the future
make: warning: jobserver unavailable: using -j1.  Add '+' to parent make rule.
cc1: all warnings being treated as errors
2 warnings generated.
"""
    assert warnings.parse(log) == []


# --- line maps


def diff_of(base: str, patched: str, file: str = "mm/a.c", context: int = 3) -> str:
    lines = difflib.unified_diff(
        base.splitlines(), patched.splitlines(), f"a/{file}", f"b/{file}", n=context, lineterm=""
    )
    return "\n".join([f"diff --git a/{file} b/{file}", *lines])


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "--- d", "+++ e", "@@ -1 +1 @@", ""]), max_size=14)


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_a_line_that_a_diff_keeps_is_found_on_patched_and_one_that_it_writes_is_known(
    base: list[str], patched: list[str], context: int
) -> None:
    def text(lines: list[str]) -> str:
        return "".join(f"{line}\n" for line in lines)

    there = hunks.parse(diff_of(text(base), text(patched), context=context))
    kept = {}
    for number, line in enumerate(base, 1):
        if at := there.forward("mm/a.c", number):
            kept[at[1]] = line
            assert patched[at[1] - 1] == line
    for number in range(1, len(patched) + 1):
        assert there.written("mm/a.c", number) == (number not in kept)


def test_renamed_added_and_deleted_files_are_known() -> None:
    there = hunks.parse("""\
diff --git a/mm/a.c b/mm/b.c
similarity index 90%
rename from mm/a.c
rename to mm/b.c
--- a/mm/a.c
+++ b/mm/b.c
@@ -1,0 +2,3 @@ int f(void)
+x
+y
+z
diff --git a/mm/same.c b/fs/same.c
similarity index 100%
rename from mm/same.c
rename to fs/same.c
diff --git a/mm/new.c b/mm/new.c
new file mode 100644
--- /dev/null
+++ b/mm/new.c
@@ -0,0 +1 @@
+int n;
\\ No newline at end of file
diff --git a/mm/old.c b/mm/old.c
deleted file mode 100644
--- a/mm/old.c
+++ /dev/null
@@ -1,2 +0,0 @@
-int o;
-int p;
""")
    assert there.forward("mm/a.c", 1) == ("mm/b.c", 1)
    assert there.forward("mm/a.c", 2) == ("mm/b.c", 5)
    assert there.forward("mm/same.c", 7) == ("fs/same.c", 7)
    assert there.forward("mm/old.c", 1) is None
    assert there.forward("mm/other.c", 4) == ("mm/other.c", 4)
    assert there.written("mm/new.c", 1)
    assert there.renamed("mm/old.c") is None


@given(st.text())
def test_any_text_is_a_line_map(text: str) -> None:
    hunks.parse(text)
    hunks.parse("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,5 +1,7 @@\n" + text)


# --- comparison


def said(file: str, line: int, message: str, function: str = "f", site: tuple[str, int] | None = None) -> Finding:
    return Finding(warnings.CC, "-Wunused-variable", file, line, 1, message, function, site=site)


def compare(base: units.Units, patched: units.Units, diff: str = "") -> list[FindingRecord]:
    return findings.compare(base, patched, hunks.parse(diff), arch="x86_64", flavour="fast")


def kinds(records: list[FindingRecord]) -> list[tuple[FindingChange, str, int]]:
    return [(record.change, record.message, record.line) for record in records]


def test_a_warning_that_took_the_place_of_another_is_one_gone_and_one_new() -> None:
    base, patched = "int f(void)\n{\n\tint a;\n}\n", "int f(void)\n{\n\tint b;\n}\n"
    records = compare(
        {"mm/a.o": (said("mm/a.c", 3, "unused 'a'"),)},
        {"mm/a.o": (said("mm/a.c", 3, "unused 'b'"),)},
        diff_of(base, patched),
    )
    assert kinds(records) == [(GONE, "unused 'a'", 3), (NEW, "unused 'b'", 3)]


def test_a_warning_below_lines_that_the_series_added_moved() -> None:
    base = "".join(f"line {number}\n" for number in range(9))
    [record] = compare(
        {"mm/a.o": (said("mm/a.c", 5, "unused 'a'"),)},
        {"mm/a.o": (said("mm/a.c", 7, "unused 'a'"),)},
        diff_of(base, "one\ntwo\n" + base),
    )
    assert (record.change, record.base_line, record.line) == (MOVED, 5, 7)


def test_the_same_words_on_a_line_that_the_series_did_not_touch_are_another_warning() -> None:
    records = compare({"mm/a.o": (said("mm/a.c", 5, "unused 'a'"),)}, {"mm/a.o": (said("mm/a.c", 7, "unused 'a'"),)})
    assert kinds(records) == [(GONE, "unused 'a'", 5), (NEW, "unused 'a'", 7)]


def test_a_warning_on_a_line_that_was_rewritten_is_the_one_it_was_within_its_function_only() -> None:
    base, patched = "{\n\tint a;\n}\nx\n", "{\n\n\tint a, b;\n}\nx\n"
    diff = diff_of(base, patched)
    old = {"mm/a.o": (said("mm/a.c", 2, "unused 'a'"),)}
    assert [record.change for record in compare(old, {"mm/a.o": (said("mm/a.c", 3, "unused 'a'"),)}, diff)] == [MOVED]
    other = {"mm/a.o": (said("mm/a.c", 3, "unused 'a'", function="g"),)}
    assert {record.change for record in compare(old, other, diff)} == {GONE, NEW}


def test_a_second_of_two_equal_warnings_on_one_line_is_new() -> None:
    twice = (said("mm/a.c", 5, "unused"), said("mm/a.c", 5, "unused"))
    assert [record.change for record in compare({"mm/a.o": twice[:1]}, {"mm/a.o": twice})] == [SAME, NEW]


def test_a_warning_in_a_file_that_the_series_does_not_touch_is_seen_as_new() -> None:
    diff = diff_of("#define M 1\n", "#define M 2\n", "include/m.h")
    records = compare({"fs/b.o": ()}, {"fs/b.o": (said("fs/b.c", 9, "overflow"),)}, diff)
    assert kinds(records) == [(NEW, "overflow", 9)]


def test_a_header_s_warning_is_one_however_many_objects_show_it() -> None:
    one = (said("include/m.h", 3, "unused"),)
    [record] = compare({}, {"mm/a.o": one, "fs/b.o": one})
    assert (record.change, record.objects) == (NEW, 2)
    [record] = compare({"mm/a.o": one}, {"mm/a.o": one, "fs/b.o": one})
    assert record.change is SAME


def test_a_new_use_of_a_macro_that_warns_elsewhere_already_is_new() -> None:
    known = said("include/m.h", 3, "lacks a cast", site=("fs/b.c", 8))
    added = said("include/m.h", 3, "lacks a cast", site=("mm/a.c", 4))
    records = compare({"fs/b.o": (known,), "mm/a.o": ()}, {"fs/b.o": (known,), "mm/a.o": (added,)})
    assert [(record.change, record.site) for record in records] == [(SAME, "fs/b.c:8"), (NEW, "mm/a.c:4")]


def test_a_frame_that_grew_is_the_warning_that_it_was() -> None:
    def big(size: int) -> units.Units:
        message = f"the frame size of {size} bytes is larger than 1024 bytes"
        return {"mm/a.o": (Finding(warnings.CC, "-Wframe-larger-than", "mm/a.c", 9, 1, message, "f"),)}

    assert [record.change for record in compare(big(1100), big(1200))] == [SAME]


def test_a_warning_of_an_object_that_patched_never_compiled_is_missing_and_not_gone() -> None:
    known = {"mm/a.o": (said("mm/a.c", 5, "unused"),)}
    assert [record.change for record in compare(known, {"mm/b.o": ()})] == [MISSING]
    deleted = diff_of("int a;\n", "", "mm/a.c").replace("+++ b/mm/a.c", "+++ /dev/null")
    assert [record.change for record in compare(known, {"mm/b.o": ()}, deleted)] == [GONE]


def test_only_what_a_checker_saw_on_base_too_can_be_new() -> None:
    found = (said("mm/a.c", 5, "imbalance"),)
    seen = {"sparse": {"mm/a.c": found, "mm/b.c": ()}}
    records, notes = findings.compare_checks({"sparse": {"mm/b.c": ()}}, seen, LineMap(), arch="arm64", flavour="fast")
    assert (records, notes) == ([], ["sparse: mm/a.c was checked on patched only"])
    added = hunks.parse(diff_of("", "int a;\n", "mm/a.c").replace("--- a/mm/a.c", "--- /dev/null"))
    records, notes = findings.compare_checks({"sparse": {"mm/b.c": ()}}, seen, added, arch="arm64", flavour="fast")
    assert ([record.change for record in records], notes) == ([NEW], [])


def test_new_findings_are_read_first_and_the_rest_not_at_all() -> None:
    records = compare(
        {"a.o": (said("a.c", 1, "old"), said("a.c", 2, "stays"))},
        {"a.o": (said("a.c", 3, "new"), said("a.c", 2, "stays"))},
    )
    assert [record.message for record in findings.changed(records)] == ["new", "old"]


@given(st.dictionaries(st.sampled_from(["a.o", "b.o"]), st.lists(st.sampled_from("xyz"), max_size=5).map(tuple)))
def test_a_side_compared_with_itself_has_nothing_but_same(known: dict[str, tuple[str, ...]]) -> None:
    side = {unit: tuple(said("h.h", 3, message) for message in messages) for unit, messages in known.items()}
    assert {record.change for record in compare(side, side)} <= {SAME}


# --- what is known of each object


CC_A = "  CC      mm/a.o\n/src/mm/a.c: In function 'f':\n/src/mm/a.c:3:6: warning: unused 'a' [-Wunused-variable]\n"
CC_B = "  CC      mm/b.o\n/src/mm/b.c:9:6: warning: unused 'b' [-Wunused-variable]\n"


def shown(known: units.Units) -> dict[str, list[str]]:
    return {unit: [finding.message for finding in found] for unit, found in known.items() if not unit.startswith("(")}


def test_an_object_that_was_not_compiled_again_keeps_what_was_said_of_it() -> None:
    first = units.update({}, CC_A + CC_B)
    again = units.update(first, "  CC      mm/b.o\n")
    assert shown(again) == {"mm/a.o": ["unused 'a'"], "mm/b.o": []}


def test_base_built_after_an_earlier_version_of_the_series_still_has_all_its_warnings() -> None:
    v1 = units.update({}, CC_A + CC_B.replace("'b'", "'of v1'"))
    base = units.update(v1, CC_B)  # its log says nothing about mm/a.c
    patched = units.update(base, CC_B.replace(":9:", ":12:"))
    diff = diff_of("".join(f"{n}\n" for n in range(12)), "1\n2\n3\n" + "".join(f"{n}\n" for n in range(12)), "mm/b.c")
    assert [(record.change, record.message) for record in compare(base, patched, diff)] == [
        (SAME, "unused 'a'"),
        (MOVED, "unused 'b'"),
    ]


def test_a_header_s_warning_belongs_to_the_object_at_the_end_of_its_include_chain() -> None:
    log = (Path(__file__).parent.parent / "data" / "warnings" / "004").read_text().partition("\n\n")[2]
    known = units.update({}, log)
    assert {unit: len(found) for unit, found in known.items()} == {units.MAKE: 0, "mm/int.o": 2, "fs/int.o": 2}


def test_a_macro_s_warning_belongs_to_the_object_that_uses_it() -> None:
    log = (Path(__file__).parent.parent / "data" / "warnings" / "002").read_text().partition("\n\n")[2]
    assert set(units.update({}, log)) == {units.MAKE, "mm/b.o"}


def test_the_linker_s_words_are_kept_by_what_was_linked_and_once_for_its_three_passes() -> None:
    orphan = "ld: warning: orphan section `.foo' from `init/main.o' being placed in section `.foo'\n"
    setup = "ld: warning: arch/x86/boot/setup.elf has a LOAD segment with RWX permissions\n"
    first = units.update(
        {},
        f"  LD      .tmp_vmlinux.kallsyms1\n{orphan}  LD      vmlinux\n{orphan}"
        f"  LD      arch/x86/boot/setup.elf\n{setup}",
    )
    assert {unit: len(found) for unit, found in first.items() if found} == {"vmlinux": 1, "arch/x86/boot/setup.elf": 1}
    again = units.update(first, "  LD      vmlinux\n")
    assert {unit: len(found) for unit, found in again.items() if found} == {"arch/x86/boot/setup.elf": 1}


def test_an_object_with_another_name_than_its_source_is_known_by_its_command(tmp_path: Path) -> None:
    src, obj = tmp_path / "src", tmp_path / "obj"
    for file in ("src/lib/fdt.c", "obj/stub/lib-fdt.o", "obj/stub/.lib-fdt.o.cmd"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (obj / "stub" / ".lib-fdt.o.cmd").write_text("cmd_x := gcc\n\nsource_stub/lib-fdt.o := /src/lib/fdt.c\n")
    log = "  CC      stub/lib-fdt.o\n/src/lib/fdt.c:3:6: warning: unused 'a' [-Wunused-variable]\n"
    assert shown(units.record(tmp_path / "store", log, src=src, obj=obj)) == {"stub/lib-fdt.o": ["unused 'a'"]}
    (src / "lib" / "fdt.c").unlink()
    assert shown(units.record(tmp_path / "store", "", src=src, obj=obj)) == {}


def test_only_objects_that_are_there_stay_on_disk_and_a_failed_one_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm" / "b.o").touch()
    store = tmp_path / "store"
    known = units.record(store, CC_A + CC_B, src=tmp_path, obj=tmp_path)
    assert shown(known) == {"mm/a.o": ["unused 'a'"], "mm/b.o": ["unused 'b'"]}
    assert shown(units.load(store) or {}) == {"mm/b.o": ["unused 'b'"]}


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    assert units.load(tmp_path / "none") is None
    (tmp_path / "half").write_text('{"mm/a.o": [{"tool"')
    assert units.load(tmp_path / "half") is None


def test_the_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    known = {"mm/a.o": (said("include/m.h", 3, "unused", site=("mm/a.c", 4)),), "mm/b.o": ()}
    (tmp_path / "store").write_bytes(units.dump(known))
    assert units.load(tmp_path / "store") == known
