"""Headers for user space, installed and compiled alone by the real compilers of both architectures."""

import tarfile
from pathlib import Path

import pytest

from kvm.arch import ARCHES, DEFAULT
from orchestrator.build import uapi
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.anatomy.facts import UapiHeader
from tests.flow.conftest import QUOTA

# Stands for the tree's own script: it takes what is the kernel's out, and refuses what must not be exported.
INSTALL = """\
grep -q CONFIG_ "$1" && { echo "error: $1: leak CONFIG_FOO to user-space" >&2; exit 1; }
scripts/unifdef -U__KERNEL__ "$1" >"$2"
"""
UNIFDEF = """\
#include <stdio.h>
int main(int argc, char **argv)
{
	FILE *in = fopen(argv[argc - 1], "r");
	int c;

	while (in && (c = getc(in)) != EOF)
		putchar(c);
	return 0;
}
"""


@pytest.fixture(params=list(DEFAULT))
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def probe(tmp_path: Path, arch: str):  # type: ignore[no-untyped-def]
    """Probe `text` as a header, in a tree with an asm-generic header that asm/thing.h leads to."""
    tree = tmp_path / "src"
    srcarch = ARCHES[arch].srcarch
    for folder in ("scripts", "include/uapi/linux", "include/uapi/asm-generic", f"arch/{srcarch}/include/uapi/asm"):
        (tree / folder).mkdir(parents=True)
    (tree / "scripts/headers_install.sh").write_text(INSTALL)
    (tree / "scripts/unifdef.c").write_text(UNIFDEF)
    (tree / f"arch/{srcarch}/include/uapi/asm/thing.h").write_text("#include <asm-generic/thing.h>\n")
    kept = tmp_path / "kept"
    kept.mkdir()
    with tarfile.open(kept / "kit.tar.gz", "w:gz"):
        pass

    def call(text: str, name: str = "linux/a.h") -> UapiHeader:
        (tree / "include/uapi" / name).write_text(text)
        found = uapi.look(Place(kept, tree, tmp_path / "ccache", QUOTA), arch, [f"include/uapi/{name}"])
        assert found.seen, found.notes
        [header] = found.headers.values()
        return header

    return call


def test_a_plain_header_has_no_problems_and_its_constants_and_layouts_are_read(probe) -> None:  # type: ignore[no-untyped-def]
    found = probe(
        "#ifndef A\n#define A\n#define X 24\n#define Y(a) ((a) + 1)\n"
        "enum e { E_ONE = 1, E_NEXT };\nstruct s { char c; long l; };\n#endif\n"
    )
    assert found.problems == {}
    assert {name: found.macros[name] for name in ("X", "Y(a)")} == {"X": "24", "Y(a)": "((a) + 1)"}
    assert found.enumerators == {"E_ONE": "1", "E_NEXT": "2"}
    assert "size: 16," in found.structs["struct s"]


def test_each_language_complains_of_what_it_does_not_take(probe, arch: str) -> None:  # type: ignore[no-untyped-def]
    found = probe("#ifndef A\n#define A\n// not in C90\nstruct s { int class; };\n#endif\n")
    assert "C90" in found.problems
    assert "C11" not in found.problems
    assert any(line.startswith("linux/a.h: error: ") for line in found.problems["C++"])


def test_an_include_that_is_not_exported_and_a_leak_are_found(probe) -> None:  # type: ignore[no-untyped-def]
    found = probe("#include <linux/kernel_only_thing.h>\n")
    assert found.problems["headers_install"] == (
        "linux/a.h: includes <linux/kernel_only_thing.h>, which is not exported",
    )
    assert "C90" in found.problems


def test_a_header_that_leaks_a_config_option_is_refused_by_the_trees_own_script(probe) -> None:  # type: ignore[no-untyped-def]
    found = probe("#ifdef CONFIG_FOO\n#endif\n")
    assert found.problems["headers_install"] == ("error: linux/a.h: leak CONFIG_FOO to user-space",)


def test_an_asm_generic_header_is_probed_by_the_way_programs_take(probe) -> None:  # type: ignore[no-untyped-def]
    found = probe("#define MADV_THING 24\n", "asm-generic/thing.h")
    assert found.macros["MADV_THING"] == "24"


def test_headers_of_other_architectures_are_named_and_not_probed(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, tmp_path, QUOTA)
    found = uapi.look(place, "x86_64", ["arch/alpha/include/uapi/asm/mman.h", "mm/madvise.c"])
    assert found.headers == {}
    assert found.notes == ("uapi headers of other architectures were not probed: arch/alpha/include/uapi/asm/mman.h",)


def test_a_tree_without_the_script_is_a_note(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "kit.tar.gz", "w:gz"):
        pass
    found = uapi.look(Place(tmp_path, tmp_path, tmp_path / "ccache", QUOTA), "x86_64", ["include/uapi/linux/a.h"])
    assert not found.seen
    assert "uapi headers were not probed" in found.notes[-1]


def test_a_script_of_the_tree_that_exceeds_the_quota_is_ended_and_a_note(tmp_path: Path) -> None:
    tree = tmp_path / "src"
    (tree / "scripts").mkdir(parents=True)
    (tree / "include/uapi/linux").mkdir(parents=True)
    (tree / "include/uapi/linux/a.h").touch()
    (tree / "scripts/unifdef.c").write_text(UNIFDEF)
    (tree / "scripts/headers_install.sh").write_text("for n in $(seq 70); do sleep 60 & done; wait\n")
    with tarfile.open(tmp_path / "kit.tar.gz", "w:gz"):
        pass
    found = uapi.look(Place(tmp_path, tree, tmp_path / "ccache", QUOTA), "x86_64", ["include/uapi/linux/a.h"])
    assert found.notes == ("uapi headers were not probed: the build ran more than 50 processes at once",)
