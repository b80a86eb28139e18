"""Two dissected kernels, compared."""

import pytest

from orchestrator.build.anatomy import elf, kit, objects, pahole, symvers
from orchestrator.build.anatomy.facts import (
    Anatomy,
    Closeup,
    Closeups,
    Dissection,
    Export,
    ObjectFacts,
    Uapi,
    UapiHeader,
)
from orchestrator.judge import binary
from orchestrator.model import BinaryDiff, ByteChange, ObjectChange, TextChange, UapiProblem


def pair(size: int) -> str:
    return f"struct pair {{\n\tint a;                    /*     0     4 */\n\n\t/* size: {size}, x */\n}};\n"


def kernel(code: str = "same", **functions: int) -> Anatomy:
    touched = ObjectFacts({"code": 64}, {"code": code}, functions)
    return Anatomy({".text": 4096}, {"mm/a.o": touched, "mm/b.o": ObjectFacts({}, {"code": "b"}, {"quiet": 8})})


def compare(base: Dissection, patched: Dissection) -> BinaryDiff:
    return binary.diff(base, patched, arch="x86_64", flavour="fast")


def test_kernels_that_hold_the_same_differ_in_nothing() -> None:
    same = Dissection(kernel(f=16))
    found = compare(same, same)
    assert found == BinaryDiff("x86_64", "fast", "no object differs")


def test_an_object_that_differs_is_named_with_what_its_functions_did() -> None:
    base, patched = kernel("one", f=16, g=32, gone=8), kernel("two", f=40, g=28, new=12)
    found = compare(Dissection(base), Dissection(patched))
    assert found.objects == (ObjectChange("mm/a.o", ("code",)),)
    assert found.functions == (
        ByteChange("f", "mm/a.o", 16, 40),
        ByteChange("g", "mm/a.o", 32, 28),
        ByteChange("gone", "mm/a.o", 8, None),
        ByteChange("new", "mm/a.o", None, 12),
    )
    assert found.summary == (
        "only mm/a.o differs: f grew by 24 bytes, g shrank by 4 bytes, "
        "1 function added (new), 1 function removed (gone)"
    )


def test_a_function_that_went_to_another_object_moved() -> None:
    base = Anatomy({}, {"a.o": ObjectFacts({}, {"code": "1"}, {"f": 8}), "b.o": ObjectFacts({}, {"code": "2"}, {})})
    after = Anatomy({}, {"a.o": ObjectFacts({}, {"code": "3"}, {}), "b.o": ObjectFacts({}, {"code": "4"}, {"f": 8})})
    found = compare(Dissection(base), Dissection(after))
    assert found.functions == (ByteChange("f", "a.o -> b.o", 8, 8),)
    assert found.summary == "a.o and b.o differ: 1 function moved (f)"


def test_a_function_of_the_same_size_is_compared_by_its_code() -> None:
    def side(code: str) -> Dissection:
        return Dissection(kernel(code, f=16, g=16), Closeups({"mm/a.o": Closeup({}, {"f": code, "g": "g"})}))

    found = compare(side("one"), side("two"))
    assert found.functions == (ByteChange("f", "mm/a.o", 16, 16),)
    assert found.summary == "only mm/a.o differs: f changed at the same size"


def test_line_numbers_of_warnings_are_said_to_be_only_that() -> None:
    base, patched = (Anatomy({}, {"a.o": ObjectFacts({}, {"code": "1", "lines": n}, {})}) for n in ("10", "11"))
    found = compare(Dissection(base), Dissection(patched))
    assert found.summary == "only line numbers of warnings differ, in a.o"


def test_the_boot_loaders_part_differs_with_the_kernel_and_is_not_the_news() -> None:
    boot = "arch/x86/boot/header.o"
    base, patched = (
        Anatomy({}, {boot: ObjectFacts({}, {"file": n}, {}), "a.o": ObjectFacts({}, {"code": n})}) for n in ("1", "2")
    )
    found = compare(Dissection(base), Dissection(patched))
    assert [change.name for change in found.objects] == ["a.o", boot]
    assert found.summary == "only a.o differs"


def test_frames_and_layouts_are_compared_where_both_sides_were_looked_at() -> None:
    base = Closeups({"mm/a.o": Closeup({"f": 16}, {}, {"struct pair": pair(8)}), "only.o": Closeup({"x": 8})})
    patched = Closeups({"mm/a.o": Closeup({"f": 48}, {}, {"struct pair": pair(16)})})
    found = compare(Dissection(kernel("1"), base), Dissection(kernel("2"), patched))
    assert found.frames == (ByteChange("f", "mm/a.o", 16, 48),)
    assert found.structs == (TextChange("struct pair", "mm/a.o", pair(8), pair(16)),)
    assert found.summary == "only mm/a.o differs: stack frame of f 16 -> 48 bytes, struct pair 8 -> 16 bytes"


def test_a_type_that_a_new_include_brings_is_no_new_type() -> None:
    base = Closeups({"mm/a.o": Closeup()})
    layouts = {"struct pair": pair(8), "struct other": pair(8)}
    patched = Closeups({"mm/a.o": Closeup({}, {}, layouts)}, declared=("struct pair",))
    found = compare(Dissection(kernel("1"), base), Dissection(kernel("2"), patched))
    assert [change.name for change in found.structs] == ["struct pair"]


def test_exports_come_from_modpost_and_else_from_the_touched_sources() -> None:
    gpl, free = Export("EXPORT_SYMBOL_GPL", "vmlinux"), Export("EXPORT_SYMBOL", "vmlinux", "0x1234", "DMA")
    linked = [Dissection(Anatomy({}, {"a.o": ObjectFacts()}, side)) for side in ({"f": gpl}, {"f": free, "g": gpl})]
    found = compare(*linked)
    assert found.exports == (
        TextChange("f", "vmlinux", "EXPORT_SYMBOL_GPL by vmlinux", str(free)),
        TextChange("g", "vmlinux", None, "EXPORT_SYMBOL_GPL by vmlinux"),
    )
    assert str(free) == "EXPORT_SYMBOL by vmlinux in namespace DMA, CRC 0x1234"
    assert found.summary == "no object differs: g exported, f exported differently"
    read = [Dissection(kernel(), Closeups({}, side)) for side in ({}, {"g": gpl})]
    assert [change.name for change in compare(*read).exports] == ["g"]


def test_uapi_constants_and_new_complaints_are_said_once() -> None:
    old = UapiHeader({"C++": ("linux/a.h: error: old",)}, {"A": "1"}, {"E": "0"})
    new = UapiHeader({"C++": ("linux/a.h: error: old", "linux/a.h: error: new")}, {"A": "2", "B": "3"}, {})
    base, patched = (Dissection(kernel(), uapi=Uapi({"linux/a.h": h, "linux/b.h": h})) for h in (old, new))
    found = compare(base, patched)
    assert [(c.name, c.base, c.patched) for c in found.constants] == [
        ("A", "1", "2"),
        ("B", None, "3"),
        ("E", "0", None),
    ]
    assert found.uapi_problems[0] == UapiProblem("linux/a.h", "C++", "linux/a.h: error: new")
    assert "B added to uapi, E removed from uapi, A changed in uapi" in found.summary


def test_of_a_header_that_compiles_on_one_side_alone_only_macros_are_compared() -> None:
    whole = UapiHeader({}, {"A": "1"}, {"E": "0"}, {"struct s": "struct s {};"})
    alone = UapiHeader({"C11": ("error",)}, {"A": "2"}, compiled=False)
    for one, other in ((whole, alone), (alone, whole)):
        base, patched = (Dissection(kernel(), uapi=Uapi({"linux/a.h": header})) for header in (one, other))
        found = compare(base, patched)
        assert ([c.name for c in found.constants], found.structs) == (["A"], ())


def test_headers_of_a_side_that_could_not_be_probed_are_not_removed() -> None:
    base = Dissection(kernel(), uapi=Uapi({"linux/a.h": UapiHeader({}, {"A": "1"})}))
    patched = Dissection(kernel(), uapi=Uapi({}, False, ("not probed: no compiler",)))
    found = compare(base, patched)
    assert found.constants == ()
    assert found.notes == ("not probed: no compiler",)


def test_a_kernel_that_was_not_looked_into_is_not_called_the_same() -> None:
    found = compare(Dissection(Anatomy(notes=("built before",))), Dissection(kernel()))
    assert found.summary == "what changed in the binary is not known: built before"


def test_clones_of_a_function_are_that_function() -> None:
    for symbol in ("f", "f.constprop.0", "f.isra.3.part.0", "f.cold", "f.constprop.0.cold", "f.constprop.isra"):
        assert objects.plain_name(symbol) == "f"
    assert objects.plain_name("f.partial") == "f.partial"


def test_what_is_no_elf_file_is_hashed_as_a_whole() -> None:
    for content in (b"", b"BC\xc0\xde", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 200):
        found = objects.facts(content)
        assert found.sizes == {"file": len(content)}
        assert found.functions == {}


def test_a_file_whose_names_are_far_more_than_it_is_is_refused() -> None:
    sections, strings = 2000, b"x" * 100_000
    table = 64 + len(strings)
    header = elf._HEADER.pack(b"\x7fELF\x02\x01" + bytes(10), 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, sections, 0)
    row = elf._SECTION.pack(0, 3, 0, 0, 64, len(strings), 0, 0, 0, 0)
    rest = elf._SECTION.pack(0, elf.SHT_NOBITS, 0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(elf.Malformed, match="its names overlap"):
        elf.Elf(header + strings + row + rest * (sections - 1))


def test_symvers_of_several_kernels_are_read() -> None:
    new = "0x00000000\tf\tvmlinux\tEXPORT_SYMBOL_GPL\tDMA\n"
    old = "0x12345678\tf\tDMA\tvmlinux\tEXPORT_SYMBOL\n"
    assert symvers.parse(new) == {"f": Export("EXPORT_SYMBOL_GPL", "vmlinux", "", "DMA")}
    assert symvers.parse(old) == {"f": Export("EXPORT_SYMBOL", "vmlinux", "0x12345678", "DMA")}
    text = 'EXPORT_SYMBOL(a);\n EXPORT_SYMBOL_NS_GPL(b, "X");\n// EXPORT_SYMBOL(no)\n'
    assert symvers.in_source("a.c", text) == {
        "a": Export("EXPORT_SYMBOL", "a.c"),
        "b": Export("EXPORT_SYMBOL_GPL", "a.c", "", "X"),
    }


def test_pahole_is_cut_into_types_with_sizes() -> None:
    text = (
        pair(8)
        + "struct outer {\n\tstruct {\n\t\tint a;\n\t} inner;\n\n\t/* size: 4, x */\n} __attribute__((packed));\n"
    )
    assert list(pahole.parse(text)) == ["struct pair", "struct outer"]
    assert pahole.size(pahole.parse(text)["struct outer"]) == 4


def test_closeups_are_taken_of_touched_sources_then_headers_then_others() -> None:
    commands = {name: f"gcc -c -o {name} /src/{name[:-1]}c" for name in ("a.o", "b.o", "c.o", "d.o")}
    tools = kit.Kit(commands, ("x.h", "y.h"), {"b.o": (0,), "c.o": (0, 1), "a.o": ()})
    assert kit.choose(tools, ["d.o"], ["a.c", "x.h", "y.h"], 9) == (["a.o", "c.o", "d.o"], [])
    names, notes = kit.choose(tools, ["d.o"], ["a.c", "x.h"], 1)
    assert names == ["a.o"]
    assert notes == ["3 objects differ or are touched: frames and layouts of 1 of them were looked at"]
