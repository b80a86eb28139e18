"""Faults put into changed lines: which there are, and whether anything noticed them."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge import mutants
from orchestrator.judge.hunks import Run
from orchestrator.model import ChangeKind, Fate, GuestOutcome, GuestRecord, Known, MutantRecord, Outcome, Side, Splat
from orchestrator.publish import html, text
from tests.unit.runs import change, sample_run, with_strength, write_files

TEXT = b"""\
static int f(struct vma *vma, int what)
{
	int left = 3;

	spin_lock(&vma->lock);
	if (what == MADV_FREE && left < 4)
		left = 0;
	switch (what) {
	case MADV_FREE:
	case MADV_COLD:
		drop(vma);
	}
	spin_unlock(&vma->lock);
	return left;
}
"""


def made(*lines: int) -> list[mutants.Mutant]:
    return mutants.in_turn(mutants.make("mm/a.c", TEXT, lines))


def after(mutant: mutants.Mutant) -> list[tuple[str, str]]:
    """The lines that differ."""
    both = zip(TEXT.decode().split("\n"), mutant.apply(TEXT).decode().split("\n"), strict=True)
    return [(one.strip(), other.strip()) for one, other in both if one != other]


def test_a_condition_is_negated_its_operators_swapped_and_its_bounds_moved() -> None:
    assert [(one.kind, *after(one)[0][1:]) for one in made(6)] == [
        ("negated condition", "if (!(what == MADV_FREE && left < 4))"),
        ("swapped constant", "if (what == MADV_COLD && left < 4)"),
        ("swapped constant", "if (what == MADV_FREE && left < 5)"),
        ("off by one", "if (what == MADV_FREE && left <= 4)"),
        ("swapped operator", "if (what == MADV_FREE || left < 4)"),
        ("swapped operator", "if (what != MADV_FREE && left < 4)"),
    ]


def test_a_lock_goes_with_what_gives_it_back_and_a_statement_or_a_case_alone() -> None:
    [lock] = made(5)
    assert after(lock) == [("spin_lock(&vma->lock);", ";"), ("spin_unlock(&vma->lock);", ";")]
    assert [after(one) for one in made(7)] == [[("left = 0;", ";")], [("left = 0;", "left = 1;")]]
    assert [after(one) for one in made(10)] == [[("case MADV_COLD:", "")]]


@pytest.mark.parametrize(
    ("takes", "gives_back"),
    [
        ("spin_lock_irqsave(&a, flags)", "spin_unlock_irqrestore(&a, flags)"),
        ("raw_spin_lock_irqsave_nested(&a, flags, 1)", "raw_spin_unlock_irqrestore(&a, flags)"),
        ("read_lock_irqsave(&a, flags)", "read_unlock_irqrestore(&a, flags)"),
        ("write_lock_irqsave(&a, flags)", "write_unlock_irqrestore(&a, flags)"),
        ("spin_lock_bh(&a)", "spin_unlock_bh(&a)"),
        ("mutex_lock_nested(&a->b, DEPTH)", "mutex_unlock(&a->b)"),
        ("write_seqlock(&a)", "write_sequnlock(&a)"),
        ("down_read(&a)", "up_read(&a)"),
        ("down_write_nested(&a, 1)", "up_write(&a)"),
        ("percpu_down_read(&a)", "percpu_up_read(&a)"),
        ("down(&a)", "up(&a)"),
        ("rcu_read_lock()", "rcu_read_unlock()"),
        ("mmap_read_lock(mm)", "mmap_read_unlock(mm)"),
        ("lock_page(page)", "unlock_page(page)"),
        ("local_irq_save(flags)", "local_irq_restore(flags)"),
    ],
)
def test_of_each_kind_of_lock_both_ends_go_and_those_of_no_other(takes: str, gives_back: str) -> None:
    text = (
        f"void f(void)\n{{\n\t{takes};\n\tspin_lock(&c);\n\tspin_unlock(&c);\n\tup_read(&c);\n"
        f"\tif (x)\n\t\t{gives_back};\n\t{takes};\n\t{gives_back};\n}}\n"
    )
    found = mutants.in_turn(mutants.make("mm/a.c", text.encode(), [3]))
    [lock] = [one for one in found if one.kind == "lock not taken"]
    assert lock.apply(text.encode()).decode() == text.replace(gives_back, "").replace(takes, "")


@pytest.mark.parametrize(
    ("asks", "is_told", "gives_back"),
    [
        ("if (mutex_lock_interruptible(&a))", "if (0)", "mutex_unlock(&a)"),
        ("if (mmap_write_lock_killable(mm))", "if (0)", "mmap_write_unlock(mm)"),
        ("ret = down_read_killable(&a);\n\tif (ret)", "ret = 0;\n\tif (ret)", "up_read(&a)"),
        ("if (down_interruptible(&a))", "if (0)", "up(&a)"),
        ("if (down_trylock(&a))", "if (0)", "up(&a)"),
        ("if (!down_write_trylock(&a))", "if (!1)", "up_write(&a)"),
        ("if (!spin_trylock_irqsave(&a, flags))", "if (!1)", "spin_unlock_irqrestore(&a, flags)"),
        ("if (!trylock_page(page))", "if (!1)", "unlock_page(page)"),
    ],
)
def test_a_lock_that_is_asked_for_goes_with_what_gives_it_back(asks: str, is_told: str, gives_back: str) -> None:
    text = f"int f(void)\n{{\n\t{asks}\n\t\treturn 1;\n\tg();\n\t{gives_back};\n}}\n"
    found = mutants.in_turn(mutants.make("mm/a.c", text.encode(), [3]))
    [lock] = [one for one in found if one.kind == "lock not taken"]
    assert lock.apply(text.encode()).decode() == text.replace(asks, is_told).replace(gives_back, "")
    assert "dropped statement" not in {one.kind for one in found}


def test_a_lock_of_which_nobody_knows_what_it_returns_stays() -> None:
    text = (
        b"void f(void)\n{\n\tp = map_lock(a);\n\tmap_lock(a);\n\tmap_unlock(a);\n\twait_killable(a);\n\twait(a);\n}\n"
    )
    assert "lock not taken" not in {one.kind for one in mutants.in_turn(mutants.make("mm/a.c", text, range(3, 8)))}


ERRORS = b"""\
int f(struct vma *vma, unsigned long n)
{
	if (!vma ||
		busy(vma))
		return -EINVAL;
	if (n > 0x10 || n < 4UL || n == 0644)
		return -ENOMEM;
	note(vma,
		n);
	return 0xffU;
}
"""


def errors(*lines: int) -> list[tuple[str, str]]:
    return [(one.kind, one.words) for one in mutants.in_turn(mutants.make("mm/a.c", ERRORS, lines))]


def test_an_error_becomes_success_or_another_error() -> None:
    assert errors(5) == [("swapped errno", "-EINVAL -> 0"), ("swapped errno", "-EINVAL -> -EPERM")]
    assert errors(7) == [("swapped errno", "-ENOMEM -> 0"), ("swapped errno", "-ENOMEM -> -EINVAL")]


def test_numbers_of_any_base_and_with_a_suffix_are_swapped_for_the_next() -> None:
    constants = [words for kind, words in errors(6, 10) if kind == "swapped constant"]
    assert sorted(constants) == ["0644 -> 0645", "0x10 -> 0x11", "0xffU -> 0x100U", "4UL -> 5UL"]


def test_what_stands_on_several_lines_has_a_fault_where_only_a_later_one_changed() -> None:
    assert errors(4) == [("negated operand", "!(busy(vma))"), ("negated condition", "!(!vma || busy(vma))")]
    assert [kind for kind, _ in errors(3)] == ["negated condition", "swapped operator"]
    assert errors(9) == [("dropped statement", "without note(vma, n);")]
    assert errors(8) == errors(8, 9) == errors(9)
    [negated, _] = mutants.in_turn(mutants.make("mm/a.c", ERRORS, [4]))
    assert b"if (!vma ||\n\t\t!(busy(vma)))" in negated.apply(ERRORS)


def test_what_gives_back_nothing_is_a_statement_like_others() -> None:
    text = b"void f(void)\n{\n\ttear_down(a);\n\ttear_down(a);\n\tspin_lock_init(&a);\n\tspin_unlock(&a);\n}\n"
    assert {one.kind for one in mutants.in_turn(mutants.make("mm/a.c", text, range(3, 7)))} == {"dropped statement"}


def test_every_line_has_its_turn_before_one_has_two() -> None:
    assert [one.line for one in made(5, 6, 7)][:4] == [5, 6, 7, 6]
    assert made(1, 2, 4) == []


def test_a_hunk_is_put_back_as_base_has_it() -> None:
    base, patched = b"a\nold\nc\n", b"a\nnew\nmore\nc\nlast\n"
    runs = Run(base=2, removed=1, patched=2, added=2), Run(base=4, removed=0, patched=5, added=1)
    first, second = mutants.reverted("mm/a.c", base, patched, runs)
    assert first.apply(patched) == b"a\nold\nc\nlast\n"
    assert second.apply(patched) == b"a\nnew\nmore\nc\n"
    assert (first.words, second.words) == ("2 lines as base has them", "1 line as base has it")
    [gone] = mutants.reverted("mm/a.c", base, b"a\nc\n", [Run(base=2, removed=1, patched=2, added=0)])
    assert (gone.apply(b"a\nc\n"), gone.words) == (base, "1 line put back as base has it")


@given(st.binary(max_size=200))
def test_no_content_makes_it_fail(content: bytes) -> None:
    for mutant in mutants.in_turn(mutants.make("a.c", content, range(1, 50))):
        mutant.apply(content)


GUEST = GuestRecord(Side.PATCHED, "arm64", "coverage", "tcg", 1.0, GuestOutcome.OK, "console.log")
SAME = change("one")


def test_a_test_that_fails_a_report_or_a_death_is_a_catch_and_silence_is_none() -> None:
    worse = change("one", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED)
    gone = change("two", kind=ChangeKind.REMOVED)
    assert mutants.judge(GUEST, GUEST, [SAME]) == (Fate.SURVIVED, "")
    assert mutants.judge(GUEST, GUEST, [worse, gone]) == (Fate.CAUGHT, "madvise_locked/one and 1 more")
    dead = replace(GUEST, outcome=GuestOutcome.PANIC, detail="panic: seeded")
    assert mutants.judge(GUEST, dead, []) == (Fate.CAUGHT, "panic: seeded")
    warns = replace(GUEST, splats=(Splat("warning", "WARNING in f", ""),))
    assert mutants.judge(GUEST, warns, [SAME]) == (Fate.CAUGHT, "warning: WARNING in f")
    assert mutants.judge(warns, warns, [SAME]) == (Fate.SURVIVED, "")


def test_what_fails_by_chance_or_is_known_to_fail_catches_nothing() -> None:
    worse = [
        change(name, patched=Outcome.FAIL, kind=ChangeKind.REGRESSED) for name in ("flaky", "late", "known", "one")
    ]
    seen = [
        change("flaky", arch="arm64", kind=ChangeKind.FLAKY_ON_BASE),  # and here nobody has run it again
        change("late", kind=ChangeKind.TIMING),
        change("known", kind=ChangeKind.KNOWN, known=Known("slow host", "l", "2030-01-01")),
        change("one", kind=ChangeKind.SAME_FAIL),
    ]
    assert [one.name for one in mutants.telling(worse, seen)] == ["one"]
    report = Splat("warning", "WARNING in f", "", known=Known("being fixed", "l", "2030-01-01"))
    assert mutants.judge(GUEST, replace(GUEST, splats=(report,)), []) == (Fate.SURVIVED, "")


def test_a_guest_that_was_lost_catches_nothing() -> None:
    lost = replace(GUEST, outcome=GuestOutcome.LOST, detail="the way in broke")
    assert mutants.judge(GUEST, lost, []) == (Fate.UNKNOWN, "the way in broke")


def test_what_survived_is_listed_first(tmp_path: Path) -> None:
    def record(fate: Fate, line: int) -> MutantRecord:
        return MutantRecord("mm/a.c", line, "off by one", "< -> <=", "arm64", "coverage", fate)

    run = with_strength("1 of 2 mutants caught", mutants=(record(Fate.CAUGHT, 1), record(Fate.SURVIVED, 2)))
    assert "survived   mm/a.c:2 off by one: < -> <=" in text.summary(run, None)
    assert "mm/a.c:1 " not in text.summary(run, None)
    write_files(sample_run(), tmp_path)
    assert html.digest.mutants(run)[0].line == 2
