"""A C source as statements, in the kernel's own style."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge.csource import LineKind, Source

TEXT = """\
/* what it
 * does */
#define TWICE(x) \\
	((x) * 2)
static int allowed(struct vma *vma, int what)
{
	unsigned long refuse = LOCKED | PFN;
	int left;

	if (what == DROP &&
		vma->flags)
		refuse &= ~LOCKED;
	left = 0; /* nothing */
	note(vma,
		refuse);
	if (vma->other)
		return 0;
	else
		return -EINVAL;
again:
	left++;
	switch (what) {
	case DROP:
	case KEEP:
		left = 1;
		break;
	}
	return !(vma->flags & refuse);
}
"""


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(TEXT)


def test_each_line_is_nothing_a_directive_punctuation_or_code(source: Source) -> None:
    said = [source.kind(line).value[0] for line in range(1, len(TEXT.splitlines()) + 1)]
    assert "".join(said) == "nnddcpccnccccccccpccccccccpcp"


def test_what_is_declared_or_labelled_does_nothing_by_itself(source: Source) -> None:
    assert [line for line in range(1, 30) if source.acts(line)] == [
        7,
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        17,
        19,
        21,
        22,
        25,
        26,
        28,
    ]


def test_a_statement_runs_as_often_as_its_neighbours_up_to_a_choice_a_jump_or_a_label(source: Source) -> None:
    assert {*source.together(13)} == {13, 14, 15, 16}
    assert [*source.together(15)][:2] == [15, 14]
    assert {*source.together(12)} == {12}
    assert {*source.together(17)} == {17}
    assert {*source.together(26)} == {25, 26}
    assert {*source.together(28)} == {28}
    assert {*source.together(7)} >= {5, 7, 10, 11}


def test_a_condition_is_asked_whenever_what_stands_before_it_runs() -> None:
    text = "int f(int x)\n{\n\tif (g(x))\n\t\treturn 1;\n\th(x);\n\tif (x)\n\t\th(2);\n\twhile (x)\n\t\th(3);\n}\n"
    source = Source(text)
    assert {*source.together(3)} == {1, 3}
    assert {*source.together(6)} == {5, 6}
    assert {*source.together(8)} == {8}


def test_the_condition_that_a_line_hangs_on_is_found_and_no_other(source: Source) -> None:
    assert source.condition(12) == range(10, 12)
    assert source.condition(17) == range(16, 17)
    assert source.condition(19) == range(16, 17)
    assert source.condition(13) == range(0)
    assert source.condition(21) == range(0)
    assert source.condition(25) == range(0)


def test_a_choice_among_declarations_of_if_and_endif_is_no_neighbour() -> None:
    text = "int f(int x)\n{\n\tx = 1;\n#ifdef A\n\treturn g(x);\n#endif\n\tx = 2;\n\treturn 3;\n}\n"
    assert 7 not in {*Source(text).together(3)}
    assert 3 not in {*Source(text).together(7)}


def test_an_arm_of_a_question_runs_by_itself() -> None:
    source = Source("int f(int a)\n{\n\treturn a > 0 ?\n\t\tg(a) :\n\t\t-22;\n}\n")
    assert [source.acts(line) for line in (3, 4, 5)] == [True] * 3
    assert not {3, 4} & {*source.together(5)}
    assert source.condition(5) == range(3, 4)
    signs = Source("int f(int a)\n{\n\treturn a > 0\n\t\t? g(a)\n\t\t: -22;\n}\n")
    assert (signs.acts(5), [*signs.together(5)]) == (True, [5])


@given(st.text(alphabet="if(){};:=x /*#\\\n\"'elsdo", max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    source = Source(text)
    for line in range(text.count("\n") + 3):
        assert source.kind(line) in LineKind
        source.acts(line), source.inside(line), [*source.together(line)], source.condition(line)
