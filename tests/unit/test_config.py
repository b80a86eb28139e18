"""pipeline.yaml: every fault at once, with its place."""

from pathlib import Path

import pytest

from kvm.errors import UserError
from orchestrator import config


def fault(tmp_path: Path, text: str) -> str:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        config.load(path)
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_the_shipped_file_is_valid() -> None:
    found = config.load(config.share() / "pipeline.yaml")
    assert found.arches == ["x86_64", "arm64"]
    assert found.series == "madv-dontneed-locked"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("# nothing\n")
    assert config.load(tmp_path / "pipeline.yaml").flavours == ["fast"]


def test_an_unknown_key_is_named_with_line_and_nearest_key(tmp_path: Path) -> None:
    assert fault(tmp_path, "flavours: [fast]\narchs: [arm64]\n") == (
        "pipeline.yaml:2:1: unknown key 'archs'; did you mean 'arches'?"
    )


def test_an_unknown_key_in_a_section_is_compared_with_its_own_keys(tmp_path: Path) -> None:
    assert "did you mean 'memory_mib'?" in fault(tmp_path, "guest:\n  memory: 5\n")


def test_a_root_is_for_all_architectures_or_for_those_that_it_names(tmp_path: Path) -> None:
    assert fault(tmp_path, "guest:\n  root: {x86: host}\n") == (
        "pipeline.yaml:2:10: no arch 'x86'; did you mean 'x86_64'?; known: x86_64, arm64, riscv64"
    )
    assert config.GuestSize(root="/r/{arch}").root_of("arm64") == "/r/arm64"
    assert config.GuestSize(root={"x86_64": "host"}).root_of("arm64") is None


def test_all_faults_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = fault(tmp_path, "repeats: many\nlimits:\n  boot: -1\nbase: 7\n").splitlines()
    assert [line.split(": ")[1] for line in lines] == ["repeats", "limits.boot", "base"]
    assert [line.split(":")[1] for line in lines] == ["1", "3", "4"]


def test_a_toolchain_is_a_family_or_a_version_of_it(tmp_path: Path) -> None:
    assert "1:1: no toolchain 'gc'; did you mean 'gcc'?; known: gcc, clang, gcc-N, clang-N" in fault(
        tmp_path, "toolchain: gc\n"
    )
    for name in ("gcc-11.2", "gcc-", "../gcc"):
        assert f"no toolchain '{name}'" in fault(tmp_path, f"toolchain: {name}\n")


def test_a_key_that_stands_twice_is_a_fault(tmp_path: Path) -> None:
    assert "pipeline.yaml:2:1: key 'repeats' stands twice" in fault(tmp_path, "repeats: 1\nrepeats: 2\n")


def test_what_is_named_and_not_there_is_a_fault_before_anything_is_built(tmp_path: Path) -> None:
    words = fault(tmp_path, "arches: [arm]\nsuites: [madvise_lockd]\nseries: nowhere\nflavours: [slow]\n")
    assert "pipeline.yaml:1:10: no arch 'arm'; did you mean 'arm64'?" in words
    assert "no suite 'madvise_lockd'; did you mean 'madvise_locked'?" in words
    assert "no series 'nowhere'" in words
    assert "no flavour 'slow'" in words


def test_a_list_of_known_issues_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert fault(tmp_path, "known: nowhere.yaml\n") == "pipeline.yaml:1:1: no such file: nowhere.yaml"


def test_yes_and_on_are_words(tmp_path: Path) -> None:
    assert "no series 'on'" in fault(tmp_path, "series: on\n")


def test_a_date_is_a_word_even_if_there_is_no_such_day(tmp_path: Path) -> None:
    assert "no series '2024-13-45'" in fault(tmp_path, "series: 2024-13-45\n")


def test_what_is_not_yaml_is_named_with_its_place(tmp_path: Path) -> None:
    assert fault(tmp_path, "a: [\n").startswith("pipeline.yaml:2:1: not YAML")
    assert "aliases are not supported" in fault(tmp_path, "a: &x [*x]\n")
    assert fault(tmp_path, "a: 1\nö: 2\a").startswith("pipeline.yaml:2:5: not YAML: control characters")
    assert fault(tmp_path, "? [a]\n: 1\n") == "pipeline.yaml:1:3: not YAML: a key must be a word"
    assert fault(tmp_path, "[" * 5000).startswith("pipeline.yaml:")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file"):
        config.load(tmp_path / "nowhere.yaml")
