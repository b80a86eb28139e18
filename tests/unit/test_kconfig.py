"""Fragments against .config."""

from orchestrator.build import kconfig


def test_an_option_that_came_out_otherwise_is_dropped() -> None:
    wish = "CONFIG_SWAP=y\nCONFIG_NET=y\n# CONFIG_DEBUG is not set\nCONFIG_NR=4\n"
    config = "CONFIG_SWAP=y\n# CONFIG_NET is not set\nCONFIG_DEBUG=y\nCONFIG_NR=4\n"
    assert kconfig.dropped(wish, config) == [kconfig.Dropped("NET", "y", "n"), kconfig.Dropped("DEBUG", "n", "y")]


def test_the_last_line_wins_and_an_absent_option_counts_as_off() -> None:
    assert kconfig.dropped("CONFIG_A=y\n# CONFIG_A is not set\n", "") == []


def test_the_description_names_option_and_dependency() -> None:
    words = kconfig.describe([kconfig.Dropped("NET", "y", "n")], {"NET": "depends on FOO"})
    assert words == "CONFIG_NET=y came out as n (depends on FOO)"


def test_options_written_out_read_back_the_same_and_comments_are_gone() -> None:
    wish = "# why\nCONFIG_B=y\n# CONFIG_A is not set\nCONFIG_B=4\n"
    assert kconfig.text(kconfig.parse(wish)) == "# CONFIG_A is not set\nCONFIG_B=4\n"


def test_a_file_of_blank_lines_defines_nothing() -> None:
    assert kconfig.defined("\n" * 300_000 + "config A\n\tbool\n  menuconfig B\nconfigure C\n") == {"A", "B"}


def test_two_configs_differ_by_option_not_by_line() -> None:
    base = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=4\n"
    patched = "CONFIG_C=4\nCONFIG_B=y\nCONFIG_NEW=m\n"
    assert kconfig.differences(base, patched) == [("A", "y", "n"), ("B", "n", "y"), ("NEW", "n", "m")]


def test_an_option_that_may_be_missing_is_asked_for_and_not_required() -> None:
    fragment = "CONFIG_A=y\n#? CONFIG_OLD=y\n# a comment\n"
    assert kconfig.optional(fragment) == {"OLD": "y"}
    assert kconfig.parse(fragment) == {"A": "y"}
