"""Which objects count, as make understands it."""

import subprocess
from pathlib import Path

from orchestrator.build import instrument

FILES = {
    "Kbuild": "obj-y := init/ mm/\n",
    "init/Makefile": "obj-y := main.o\n",
    "arch/x86/boot/Makefile": "GCOV_PROFILE := n\nsetup-y := main.o\n",
    "mm/Makefile": "GCOV_PROFILE_early.o := n\nobj-y := madvise.o early.o sub/deep.o\n",
}


USERS = {
    "mm/internal.h": ["mm/madvise.c", "mm/sub/deep.c"],
    "include/uapi/linux/x.h": ["mm/madvise.c"],
    "include/linux/x.h": ["mm/odd.c", "mm/more.c", "init/main.c", "mm/madvise.c"],
}


def of(*files: str, compiler: str = "gcc") -> tuple[str, ...]:
    return instrument.variables(files, compiler, FILES.get, lambda header: USERS.get(header, []))


def asked(variables: tuple[str, ...], directory: str, name: str, tmp_path: Path) -> str:
    """What make makes of it two makes further down, in a directory of Kbuild's."""
    (tmp_path / "Makefile").write_text(f"all:\n\t$(MAKE) -f {tmp_path}/Inner obj={directory}\n")
    (tmp_path / "Inner").write_text(f'all:\n\t@echo "said: $(GCOV_PROFILE_{name})|$(CFLAGS_GCOV)"\n')
    words = ["make", "-s", "-C", tmp_path, *variables]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("said: ")).removeprefix("said: ")


def test_an_object_counts_where_the_series_touches_it_and_not_where_another_has_its_name(tmp_path: Path) -> None:
    variables = of("init/main.c", "mm/madvise.c", "Documentation/main.rst", "include/linux/mm.h")
    assert asked(variables, "init", "main.o", tmp_path).startswith("y|-fprofile-arcs -ftest-coverage")
    assert asked(variables, "arch/x86/boot", "main.o", tmp_path).startswith("n|")
    assert asked(variables, "mm", "madvise.o", tmp_path).startswith("y|")


def test_what_its_makefile_says_cannot_count_does_not() -> None:
    assert of("arch/x86/boot/main.c", "mm/early.c") == ()


def test_a_source_below_the_directory_of_its_makefile_counts_from_there() -> None:
    assert of("mm/sub/deep.c")[0] == "GCOV_PROFILE_deep.o=$(if $(filter mm,$(obj)),y,n)"


def names(*files: str) -> list[str]:
    return [word.partition("=")[0].removeprefix("GCOV_PROFILE_") for word in of(*files)][:-1]


def test_of_a_header_that_no_touched_source_includes_a_few_others_count_those_that_are_always_built_first() -> None:
    assert names("mm/internal.h", "mm/madvise.c") == ["madvise.o"]
    assert names("mm/internal.h") == ["deep.o", "madvise.o"]
    assert names("include/linux/x.h") == ["madvise.o", "main.o", "odd.o"]
    assert of("include/linux/nobody.h", "include/uapi/linux/x.h") == ()


def test_a_name_that_make_would_take_apart_is_left_alone() -> None:
    assert of("mm/$(shell x).c", "mm/a b.c") == ()


def test_clang_keeps_the_flags_of_the_kernel() -> None:
    assert of("mm/madvise.c", compiler="clang") == ("GCOV_PROFILE_madvise.o=$(if $(filter mm,$(obj)),y,n)",)
