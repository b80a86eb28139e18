"""Where a kernel has the code of an object that is compiled again."""

import subprocess
from pathlib import Path

from orchestrator.build import lines
from orchestrator.build.anatomy.elf import STT_FUNC, Elf

PARTS = {
    "first": "static int twice(void) { return 1; }\nint (*first)(void) = twice;\n",
    "second": "static int twice(void) { return 2; }\nint alone(void) { return 3; }\nint (*second)(void) = twice;\n",
    "third": "int (*third)(void);\n",
}


def compiled(directory: Path, name: str, *flags: str) -> Path:
    made = directory / f"{name}{''.join(flags)}.o"
    subprocess.run(["gcc", "-c", *flags, "-xc", "-", "-o", made], input=PARTS[name].encode(), check=True)
    return made


def test_the_code_of_an_object_is_where_the_functions_are_that_the_kernel_has_once(tmp_path: Path) -> None:
    objects = [compiled(tmp_path, name) for name in PARTS]
    subprocess.run(["ld", "-e", "alone", "-o", tmp_path / "vmlinux", *objects], check=True)
    linked = Elf((tmp_path / "vmlinux").read_bytes())
    kernel = lines.functions(linked)
    assert set(kernel) == {"alone"}
    again = {name: Elf(compiled(tmp_path, name, "-g").read_bytes()) for name in PARTS}
    start = lines.address(again["second"], kernel)
    own = {one.name: one.value for one in again["second"].symbols if one.kind == STT_FUNC}
    assert start is not None
    assert start + own["alone"] == kernel["alone"]
    assert start + own["twice"] in {one.value for one in linked.symbols if one.name == "twice"}
    assert lines.address(again["first"], kernel) is None
    assert lines.address(again["third"], kernel) is None
