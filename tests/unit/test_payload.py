"""What a suite takes into the guest, and what is named before a guest starts."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvm import elf, packages
from kvm.arch import get
from kvm.errors import InfraError, UserError
from orchestrator.model import Side
from orchestrator.trial.kinds.kind import SuiteKind
from orchestrator.trial.suites import found, payload, suite
from orchestrator.trial.suites.payload import Payload, Place

Make = Callable[..., Payload]
SAYS = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n'


def script(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def compiled(path: Path, *flags: str, prefix: str = "", source: str = SAYS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([f"{prefix}gcc", "-xc", "-", "-xnone", *flags, "-o", path], input=source.encode(), check=True)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make the payload of a suite whose suite.yaml holds `text`; of what is found in the directory, without one."""

    def of(text: str = "", *, arch: str = "x86_64", rooted: bool = False) -> Payload:
        top = tmp_path / "example"
        if text:
            (top / "suite.yaml").write_text(f"name: example\n{text}")
        read = suite.load(top) if text else found.suite(top)
        return payload.make(read, Place(get(arch), Side.BASE, tmp_path / "cache", rooted=rooted))

    return of


def names(made: Payload) -> dict[str, int]:
    with tarfile.open(made.archive) as archive:
        return {member.name: member.mode for member in archive}


def test_foreign_programs_and_scripts_are_tests_whatever_they_are_called(make: Make, tmp_path: Path) -> None:
    top = tmp_path / "example"
    odd = ["a b.sh", "it's.sh", "$(reboot).sh", "[x]*?.sh", "-n", "naïve.sh", "line\nfeed.sh"]
    for name in odd:
        script(top / name)
    script(top / "sub" / "deep.sh")
    (top / "data file").write_text("words")
    (top / "sourced.sh").write_text("#!/bin/sh\n")  # not executable: for others to read
    made = make()
    assert {run.name for run in made.runs} == {*odd, "sub/deep.sh"}
    assert {*odd, "data file", "sourced.sh"} <= set(names(made))
    assert not made.single
    for run in made.runs:
        echoed = subprocess.run(["sh", "-c", f"printf %s {run.command}"], capture_output=True, check=True, text=True)
        assert echoed.stdout == f"/tmp/suites/example/{run.name}"


def test_a_directory_with_nothing_to_run_is_said(make: Make, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "readme").write_text("nothing")
    with pytest.raises(UserError, match=r"no program and no executable script"):
        make()


def test_selftests_that_are_not_built_are_said(make: Make, tmp_path: Path) -> None:
    top = tmp_path / "example"
    script(top / "run.sh")
    (top / "functional").mkdir()
    (top / "functional" / "Makefile").write_text("TEST_GEN_FILES := \\\n\tfutex_wait\n\ninclude ../../lib.mk\n")
    with pytest.raises(UserError, match=r"example holds the sources of selftests, none of them built") as caught:
        make()
    assert "kind: kselftest" in (caught.value.hint or "")
    compiled(top / "functional" / "futex_wait", "-static")
    assert {run.name for run in make().runs} == {"run.sh", "functional/futex_wait"}


def test_the_shared_libraries_of_a_program_come_along_with_their_loader(make: Make, tmp_path: Path) -> None:
    top = tmp_path / "example"
    compiled(top / "lib" / "libown.so", "-shared", "-fPIC", source="int own(void) { return 0; }\n")
    use = "int own(void);\nint main(void) { return own(); }\n"
    compiled(top / "prog", f"-L{top / 'lib'}", "-lown", source=use)
    made = make("binaries: [prog]\nlibraries: [lib]\n")
    assert {".lib/libown.so", ".lib/libc.so.6", ".lib/ld-linux-x86-64.so.2", "prog", ".start"} <= set(names(made))
    assert names(made)["prog"] == 0o755


def test_a_library_that_is_missing_is_named_with_who_needs_it_and_where_it_was_looked_for(
    make: Make, tmp_path: Path
) -> None:
    top = tmp_path / "example"
    compiled(tmp_path / "libgone.so", "-shared", "-fPIC", source="int own(void) { return 0; }\n")
    compiled(top / "prog", "-Wl,--no-as-needed", str(tmp_path / "libgone.so"), "-Wl,-rpath,$ORIGIN/lib")
    (tmp_path / "libgone.so").unlink()
    with pytest.raises(UserError) as caught:
        make("binaries: [prog]\n")
    assert "prog needs" in caught.value.message
    assert "libgone.so" in caught.value.message
    assert str(top) in caught.value.message
    assert "packages" in (caught.value.hint or "")


def test_a_program_for_another_machine_is_named(make: Make, tmp_path: Path) -> None:
    compiled(tmp_path / "example" / "prog", "-static")
    with pytest.raises(UserError, match=r"prog is a program for x86_64, not arm64"):
        make(arch="arm64")


def test_a_cross_compiled_program_gets_the_toolchains_libraries(make: Make, tmp_path: Path) -> None:
    compiled(tmp_path / "example" / "arm64" / "prog", prefix="aarch64-linux-gnu-")
    made = make('binaries: ["{arch}/prog"]\nkind: exit\n', arch="arm64")
    assert {".lib/libc.so.6", ".lib/ld-linux-aarch64.so.1"} <= set(names(made))
    assert [run.name for run in made.runs] == ["arm64/prog"]
    assert made.suite.kind is SuiteKind.EXIT


def test_a_static_program_needs_nothing(make: Make, tmp_path: Path) -> None:
    compiled(tmp_path / "example" / "prog", "-static")
    assert names(make()) == {"prog": 0o755}


def test_a_script_whose_interpreter_the_guest_does_not_have_is_named(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "example" / "test.py", "#!/usr/bin/env python3\n")
    with pytest.raises(UserError, match=r"the script test.py needs /bin/python3") as caught:
        make()
    assert "packages: [python3]" in (caught.value.hint or "")


def test_env_is_where_scripts_look_for_it(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "example" / "one", "#!/usr/bin/env sh\n")
    made = make()
    with tarfile.open(made.archive) as archive:
        start = archive.extractfile(".start")
        assert start
        assert "ln -s /bin/env /usr/bin/env" in start.read().decode()


def test_patterns_name_what_is_pushed_and_nothing_is_said(make: Make, tmp_path: Path) -> None:
    top = tmp_path / "example"
    for name in ("one.t", "two.t"):
        script(top / name)
    (top / "input").mkdir()
    (top / "input" / "x").write_text("x")
    made = make('binaries: ["*.t"]\nfiles: [input]\nargs: --quick\n')
    assert set(names(made)) == {"one.t", "two.t", "input/x"}
    assert [run.command for run in made.runs] == [f"/tmp/suites/example/{name}.t --quick" for name in ("one", "two")]
    with pytest.raises(UserError, match=r"'gone\*' names nothing for x86_64"):
        make("binaries: ['gone*']\n")


def test_the_same_payload_is_packed_once(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "example" / "a")
    first = make().archive
    assert make().archive == first
    script(tmp_path / "example" / "a", "#!/bin/sh\nexit 1\n")
    assert make().archive != first


def test_links_out_of_the_directory_are_not_followed(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "example" / "a")
    (tmp_path / "example" / "b").symlink_to("/etc/shadow")
    made = make()
    with tarfile.open(made.archive) as archive:
        assert archive.getmember("b").issym()


def test_an_installed_ltp_gives_a_test_for_each_line_of_its_runtest_files(make: Make, tmp_path: Path) -> None:
    tree = tmp_path / "example" / "ltp"
    for name in ("brk01", "helper.sh", "unused"):
        script(tree / "testcases" / "bin" / name)
    compiled(tree / "testcases" / "bin" / "unnamed", "-static")
    (tree / "runtest").mkdir()
    (tree / "runtest" / "quick").write_text("# all of it\nbrk01 brk01 -i 2\nboth  brk01 && helper.sh\n")
    made = make("kind: ltp\ntree: ltp\nruntest: [quick]\n")
    assert [run.name for run in made.runs] == ["brk01", "both"]
    assert made.runs[0].command.endswith("; brk01 -i 2")
    assert "LTP_DEV" not in made.runs[0].command
    disk = make("kind: ltp\ntree: ltp\nruntest: [quick]\nneeds: {disk_mib: 320}\n")
    assert " LTP_DEV=/dev/scratch; " in disk.runs[0].command
    assert "testcases/bin/brk01" in names(made)
    assert "testcases/bin/unnamed" not in names(made)
    assert [run.name for run in make("kind: ltp\ntree: ltp\nruntest: [quick]\nprograms: [both]\n").runs] == ["both"]
    with pytest.raises(UserError, match=r"no brk02 in runtest/quick"):
        make("kind: ltp\ntree: ltp\nruntest: [quick]\nprograms: [brk02]\n")
    with pytest.raises(UserError, match=r"no runtest/slow .*there: quick"):
        make("kind: ltp\ntree: ltp\nruntest: [slow]\n")


def test_a_program_of_ltp_knows_how_slow_its_guest_is_wherever_it_comes_from(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "example" / "brk01")
    [run] = make("kind: ltp\nbinaries: [brk01]\n").runs
    assert run.command == "export TMPDIR=/tmp LTP_TIMEOUT_MUL=$KDELTA_SCALE; /tmp/suites/example/brk01"


def test_modules_that_the_kernel_does_not_have_are_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    with pytest.raises(UserError, match=r"built without the modules kunit, kunit-example-test"):
        make("kind: kunit\nmodules: [kunit, kunit-example-test]\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind: ktap\n", "nothing to run"),
        ("sources: [gone.c]\n", "no such file: gone.c"),
        ("targets: [mm]\nsources: [a.c]\n", "not both"),
        ("targets: ['../x']\n", "targets.0"),
        ("binaries: [a]\nneeds: {config: ['A B']}\n", "needs.config.0"),
        ("packages: ['-o']\ncommand: x\n", "packages.0"),
    ],
)
def test_what_is_wrong_in_suite_yaml_is_said_with_its_place(make: Make, tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "a.c").write_text("")
    with pytest.raises(UserError) as caught:
        make(text)
    assert fault in caught.value.message


def test_readelf_is_told_apart_from_text(tmp_path: Path) -> None:
    script(tmp_path / "a")
    assert elf.read(tmp_path / "a") is None
    (tmp_path / "b").write_bytes(b"\x7fELF")
    assert elf.read(tmp_path / "b") is None
    sh = elf.read(Path(shutil.which("sh") or "/bin/sh").resolve())
    assert sh
    assert sh.is_program
    assert sh.interpreter


def test_what_runs_in_a_root_of_the_users_finds_libraries_and_interpreters_there(make: Make, tmp_path: Path) -> None:
    compiled(tmp_path / "example" / "dynamic")
    script(tmp_path / "example" / "script", "#!/usr/bin/fancy\n")
    made = make(rooted=True)
    assert set(names(made)) == {"dynamic", "script"}
    assert {run.start for run in made.runs} == {""}


def test_what_lies_beside_the_suite_comes_under_its_name(make: Make, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    script(tmp_path / "beside" / "of" / "prog")
    made = make("binaries: [../beside/of/prog]\nfiles: [../beside/of, ../example/./suite.yaml]\n")
    assert set(names(made)) >= {"prog", "of/prog", "suite.yaml"}
    assert [(run.name, run.command) for run in made.runs] == [("prog", "/tmp/suites/example/prog")]


def test_two_paths_that_would_come_under_one_name_are_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    script(tmp_path / "one" / "prog")
    script(tmp_path / "two" / "prog")
    with pytest.raises(UserError, match=r"one/prog and .*two/prog would both be prog in the guest"):
        make('binaries: ["../*/prog"]\n')
    assert [run.name for run in make("binaries: [../one/prog]\nfiles: [../one/prog]\n").runs] == ["prog"]


def test_a_package_that_debian_does_not_have_for_an_architecture_is_the_users_fault() -> None:
    """What apt-get of Debian 12 says."""
    said = "apt-get failed (exit 100): E: Unable to locate package libipsec-mb1:arm64"
    found = packages.fault(["stress-ng", "libipsec-mb1"], "bookworm", "arm64", said)
    assert isinstance(found, UserError)
    assert found.message == "Debian's bookworm has no package libipsec-mb1 for arm64"
    said = "apt-get failed (exit 100): E: Failed to fetch stress-ng_1_arm64.deb  Could not connect"
    assert isinstance(packages.fault(["stress-ng"], "bookworm", "arm64", said), InfraError)


def test_a_mirror_that_cannot_be_reached_is_not_one_that_lacks_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.MIRROR_VARIABLE, f"file:{tmp_path}/debian")
    with pytest.raises(InfraError, match="packages busybox-static of bookworm: apt-get failed"):
        packages.fetch(["busybox-static"], suite="bookworm", deb_arch="arm64", cache_dir=tmp_path)
