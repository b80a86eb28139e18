"""What one kernel says and the other does not: numbers aside, and without what is told elsewhere."""

from dataclasses import replace

from orchestrator.judge import lines
from orchestrator.model import ConsoleLine, Lane, Side, Splat
from orchestrator.publish import digest, text
from tests.unit.runs import sample_run

LANE = Lane("arm64", "fast")
BOOT = """\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x000f0510]
[    0.001234] Memory: 481200K/524288K available
[    0.400000] kdelta: /init is ready
a program's words
"""


def told(base: list[str], patched: list[str], *reports: Splat) -> list[tuple[Side, str, int, int, int]]:
    before, after = ([lines.heard([text]) for text in some] for some in (base, patched))
    found = lines.compare(LANE, before, after, reports)
    return [(one.side, one.words, one.times, one.came, one.of) for one in found]


def test_numbers_and_addresses_make_no_new_line() -> None:
    other = BOOT.replace("481200K", "480016K").replace("0x000f0510", "0x000a0000").replace("0.4", "1.9")
    assert told([BOOT], [other]) == []


def test_what_one_side_alone_says_is_told_with_how_often_and_in_how_many_boots() -> None:
    refused = "[    1.000000] madvise: prog 17: refused\n[    1.100000] madvise: prog 18: refused\n"
    gone = "[    1.000000] unsupported, and told so\n"
    assert told([BOOT + gone, BOOT + gone], [BOOT + refused, BOOT]) == [
        (Side.PATCHED, "madvise: prog 17: refused", 2, 1, 2),
        (Side.BASE, "unsupported, and told so", 2, 2, 2),
    ]


def test_a_line_that_any_boot_of_base_said_is_not_new() -> None:
    late = "[    1.000000] hrtimer: interrupt took 36174608 ns\n"
    assert told([BOOT, BOOT + late], [BOOT + late]) == []


def said(times: int) -> str:
    return BOOT + "[    1.000000] madvise: prog 17: refused\n" * times


def test_a_line_that_comes_far_more_often_than_in_any_boot_of_the_other_side_is_told_with_both_numbers() -> None:
    def grown(base: list[int], patched: list[int]) -> list[tuple[Side, int, int, int, int]]:
        boots = [[lines.heard([said(times)]) for times in some] for some in (base, patched)]
        return [(one.side, one.times, one.came, one.of, one.elsewhere) for one in lines.compare(LANE, *boots, ())]

    assert grown([1], [500]) == [(Side.PATCHED, 500, 1, 1, 1)]
    assert grown([500], [1]) == [(Side.BASE, 500, 1, 1, 1)]
    assert grown([1, 3], [500, 600]) == [(Side.PATCHED, 1100, 2, 2, 3)]
    assert grown([1, 400], [500, 600]) == []  # base's own boots differ by as much
    assert grown([1, 1], [500, 2]) == [(Side.PATCHED, 500, 1, 2, 1)]
    for few, more in ((3, 4), (1, 6), (100, 200), (200, 205)):
        assert grown([few], [more]) == []
    assert grown([1], [7]) and grown([100], [201])


def test_a_line_that_comes_more_often_is_told_as_that() -> None:
    here = ConsoleLine("arm64", "fast", Side.PATCHED, "refused", times=1000, came=2, of=2, elsewhere=1)
    run = sample_run(metrics=(), lines=(here, replace(here, side=Side.BASE, words="gone"), replace(here, elsewhere=0)))
    assert [digest.said(one) for one in digest.constant_lines(run)] == [
        "new line",
        "more lines (500 a boot, 1 on base)",
        "fewer lines (1 a boot, 500 on base)",
    ]
    assert "more lines (500 a boot, 1 on base) arm64: refused\n" in text.summary(replace(run, lines=(here,)), None)


def test_what_a_program_writes_and_what_announces_a_test_are_not_the_kernels() -> None:
    more = "another program's words\n[    2.000000] kdelta: runs example/second\n"
    assert told([BOOT], [BOOT + more]) == []


def test_lines_of_a_report_are_told_with_the_report() -> None:
    report = "[    2.000000] WARNING: CPU: 0 PID: 44 at mm/madvise.c:790\n[    2.000001] Call trace:\n"
    splat = Splat("warning", "WARNING in do_madvise", report.strip())
    assert told([BOOT], [BOOT + report], splat) == []
    assert len(told([BOOT], [BOOT + report])) == 2


def test_a_console_without_end_costs_no_more_than_its_beginning() -> None:
    block = "".join(f"[    3.000000] word{chr(97 + number % 26)} {'x' * 100}\n" for number in range(10_000))
    blocks = iter([block] * 40)
    found = lines.heard(blocks)
    assert len([*blocks]) > 25  # never read
    assert len(found) == 26
    assert sum(said.times for said in found.values()) < 10_000 * 9
