"""Whatever a program prints, and wherever it is cut: results or a stated fault, nothing good that was not so."""

import os
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Outcome
from orchestrator.trial.kinds import ktap, kunit
from orchestrator.trial.kinds.kind import KINDS, SuiteKind, judge
from orchestrator.trial.kinds.parsed import Parsed

pytestmark = pytest.mark.long

# What makes each parser do something; the fuzz puts them in any order, at any depth, with anything between them.
PIECES = {
    SuiteKind.KTAP: """\
KTAP version 1|TAP version 14|1..3|1..0 # SKIP no device|1..2|ok 1 a|ok 2 b # SKIP|not ok 3 c|not ok 1 d # TODO x|
ok 4 - e # XFAIL|# Subtest: s|# Subtest: t|# run a|#  RUN           f.g ...|#            OK  f.g|ok 5 f.g|ok|ok b|
# selftests: mm: foo|ok 6 selftests: mm: foo|not ok 7 selftests: mm: foo # exit=139|Bail out! why|---|...|
[    1.234567] a message|ok 1 [    1.234567] torn|not ok 1 z # TIMEOUT 4|# a: words|words|x ok 1|
# c: Test terminated by timeout""",
    SuiteKind.KUNIT: """\
[    1.234567] KTAP version 1|[    1.234567] 1..2|[    1.234567]     # Subtest: s|[    1.234567]     1..2|
[    1.234567]     ok 1 a|[    1.234567]     # b: words|[    1.234567]     not ok 2 b|[    1.234567] not ok 1 s|
[    1.234567] # s: pass:1 fail:1 skip:0 total:2|[    1.234567] BUG: x|ok 1 userland|[    1.234567]         ok 1 p""",
    SuiteKind.GTEST: """\
[==========] Running 2 tests from 1 test suite.|[ RUN      ] A.a|[       OK ] A.a (0 ms)|[  FAILED  ] A.a (0 ms)|
[ RUN      ] A.b|[  SKIPPED ] A.b (0 ms)|words[       OK ] A.b (1 ms)|[  FAILED  ] A.b, where GetParam() = 4 (0 ms)|
[==========] 2 tests from 1 test suite ran. (0 ms total)|[  PASSED  ] 1 test.|[  FAILED  ] A.a|[""",
    SuiteKind.LTP: """\
a.c:1: TPASS: x|a.c:2: TFAIL: y: ENOENT (2)|tst_test.c:3: TINFO: === Testing on ext4 ===|a.c:1: TCONF: z|Summary:|
tst_test.c:3: TINFO: Testing on xfs|passed   1|failed   0|failed   1|broken   0|skipped  0|warnings 0|a 1 TPASS: x|
a    1  TPASS  :  x|a    2  TFAIL  :  y|a.c:1: TBROK: Test killed! (timeout?)|tst_test.c:1: TINFO: words""",
    SuiteKind.STRESS_NG: """\
stress-ng: info:  [1] dispatching hogs: 1 cpu, 2 pipe|stress-ng: info:  [1] passed: 1: cpu (1)|
stress-ng: info:  [1] failed: 2: pipe (2)|stress-ng: info:  [1] skipped: 1: pipe (1)|stress-ng: fail:  [2] cpu: words|
stress-ng: info:  [1] successful run completed in 1.00 secs|stress-ng: info:  [1] unsuccessful run completed in 1 s|
stress-ng: metrc: [1] cpu   10   1.00  1.00  0.00  10.0  10.0|stress-ng: info:  [1] metrics untrustworthy: 1: cpu (1)|
stress-ng: info:  [3] dispatching hogs: 1 cpu|stress-ng: info:  [3] passed: 1: cpu (1)""",
    SuiteKind.KIRK: """\
{"results": [|{"test_fqn": "a", "status": "pass", "test": {"log": "", "retval": ["0"]}}|,|]|, "stats": {}}|
{"test_fqn": "b", "status": "fail", "test": {"log": "a.c:1: TFAIL: x", "retval": ["1"]}}|{"status": []}|[[|null""",
    SuiteKind.BENCH: "a 1.5 ns|a 1e999 ns|a.b 3 calls|# words|words",
    SuiteKind.EXIT: "words|more words",
}
PIECES[SuiteKind.KSELFTEST] = PIECES[SuiteKind.KTAP]
PIECES[SuiteKind.AUTO] = f"{PIECES[SuiteKind.KTAP]}|{PIECES[SuiteKind.EXIT]}"
PIECES[SuiteKind.SCRIPT] = PIECES[SuiteKind.EXIT]
STATUS_ALONE = (SuiteKind.AUTO, SuiteKind.EXIT, SuiteKind.SCRIPT, SuiteKind.LTP)  # may pass without a word
MANY = int(os.environ.get("KDELTA_EXAMPLES", "60"))

MARGINS = st.sampled_from([*[""] * 9, "  ", "    ", "# ", "# # ", "#   ", "\t", "        "])
ENDS = st.sampled_from([*["\n"] * 20, "\r\n", "\r", "", "\0\n", "\x1b[0m\n", "\u2028\n", "\ufffd\n"])


def texts(kind: SuiteKind) -> st.SearchStrategy[str]:
    pieces = st.sampled_from([piece.strip("\n") for piece in PIECES[kind].split("|")])
    lines = st.lists(st.tuples(MARGINS, pieces, ENDS).map("".join), min_size=2, max_size=24)
    return lines.map("".join)


def outcomes(parsed: Parsed) -> dict[str, Outcome]:
    return {result.name: result.outcome for result in parsed.results}


@pytest.mark.parametrize("kind", SuiteKind)
@settings(max_examples=MANY)
@given(st.data())
def test_any_bytes_give_results_or_a_stated_fault_and_never_an_exception(kind: SuiteKind, data: st.DataObject) -> None:
    text = data.draw(st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "replace")) | texts(kind))
    parsed = KINDS[kind].parse(text, "s", 2)
    assert len(outcomes(parsed)) == len(parsed.results)
    assert all(result.name and result.suite == "s" and result.repeat == 2 for result in parsed.results)
    outcome, why = judge(KINDS[kind], 0, parsed)
    assert why or outcome is Outcome.PASS
    if kind not in STATUS_ALONE and not parsed.results + parsed.metrics:
        assert outcome is not Outcome.PASS  # nobody looked


@pytest.mark.parametrize("kind", SuiteKind)
@settings(max_examples=MANY)
@given(st.data())
def test_cutting_the_output_anywhere_makes_nothing_pass_that_did_not(kind: SuiteKind, data: st.DataObject) -> None:
    raw = data.draw(texts(kind)).encode()
    whole = outcomes(KINDS[kind].parse(raw.decode("utf-8", "replace"), "s", 0))
    start = data.draw(st.sampled_from([0, *(at for at, byte in enumerate(raw, 1) if byte == ord("\n"))]))
    for end in range(start, raw.find(b"\n", start) + 2):  # anywhere in one line
        part = outcomes(KINDS[kind].parse(raw[:end].decode("utf-8", "replace"), "s", 0))
        passed = {name for name, outcome in part.items() if outcome is Outcome.PASS}
        assert not {name for name in passed if whole.get(name, Outcome.PASS) is not Outcome.PASS}


@dataclass(frozen=True)
class Tree:
    """A test as it is printed: of one with subtests, they come first."""

    name: str
    outcome: Outcome
    kids: tuple["Tree", ...] = ()


LINES = {
    Outcome.PASS: ("ok", ""),
    Outcome.FAIL: ("not ok", ""),
    Outcome.SKIP: ("ok", " # SKIP no device"),
    Outcome.XFAIL: ("not ok", " # XFAIL known"),
    Outcome.TIMEOUT: ("not ok", " # TIMEOUT 45 seconds"),
    Outcome.CRASH: ("not ok", " # exit=139"),
}
NAMES = (
    st.text(st.sampled_from("abcxyz_. :-"), min_size=1, max_size=12).map(str.strip).filter(str.strip).map("t{}".format)
)


def trees(depth: int) -> st.SearchStrategy[Tree]:
    kids = (
        st.just(())
        if depth == 0
        else st.lists(trees(depth - 1), max_size=3, unique_by=lambda tree: tree.name).map(tuple)
    )
    return st.builds(Tree, NAMES, st.sampled_from(list(LINES)), kids)


FORESTS = st.lists(trees(3), min_size=1, max_size=4, unique_by=lambda tree: tree.name).map(tuple)


@dataclass(frozen=True)
class Style:
    """How a program nests: by what, with which version line, where the plan stands, what names the parent."""

    indent: str
    version: str = "KTAP version 1"
    plan_last: bool = False
    inside: bool = False
    beside: bool = False
    dash: str = ""


STYLES = [
    Style("  "),
    Style("    ", inside=True),
    Style("\t", inside=True, dash="- "),
    Style("    ", version="", beside=True, plan_last=True, dash="- "),
    Style("# ", version="TAP version 13"),
    Style("# ", version="", plan_last=False),
]


def render(forest: tuple[Tree, ...], style: Style, parent: str = "", prefix: str = "") -> list[str]:
    lines = [f"{prefix}{style.version}"] if style.version or not prefix else []
    lines = [line for line in lines if line.strip(" #\t")]
    if parent and style.inside:
        lines.append(f"{prefix}# Subtest: {parent}")
    plan = [f"{prefix}1..{len(forest)}"]
    lines += [] if style.plan_last else plan
    for number, tree in enumerate(forest, 1):
        if tree.kids:
            if style.beside:
                lines.append(f"{prefix}# Subtest: {tree.name}")
            lines += render(tree.kids, style, tree.name, prefix + style.indent)
        word, note = LINES[tree.outcome]
        lines.append(f"{prefix}{word} {number} {style.dash}{tree.name}{note}")
    return lines + (plan if style.plan_last else [])


def paths(forest: tuple[Tree, ...], above: str = "") -> dict[str, Outcome]:
    found = {}
    for tree in forest:
        found |= {f"{above}{tree.name}": tree.outcome, **paths(tree.kids, f"{above}{tree.name}/")}
    return found


@settings(max_examples=MANY)
@given(FORESTS, st.sampled_from(STYLES))
def test_what_is_rendered_is_read_back(forest: tuple[Tree, ...], style: Style) -> None:
    parsed = ktap.parse("".join(f"{line}\n" for line in render(forest, style)), "s")
    assert outcomes(parsed) == paths(forest)
    assert (parsed.planned, parsed.unseen, parsed.faults) == (len(forest), 0, ())


@settings(max_examples=MANY)
@given(FORESTS, st.sampled_from(["", "[    0.123456] ", "<6>[    0.123456][    T1] ", "[ 1234.567890][  C0] "]))
def test_what_the_kernel_logs_is_read_back(forest: tuple[Tree, ...], stamp: str) -> None:
    lines = render(forest, Style("    ", inside=True))
    parsed = kunit.parse("".join(f"{stamp}{line}\n" for line in ("Linux version 6.12", *lines)), "s")
    assert outcomes(parsed) == paths(forest)
    assert not parsed.faults


@settings(max_examples=MANY)
@given(FORESTS, st.sampled_from(STYLES), st.data())
def test_cutting_loses_no_result_that_was_whole(forest: tuple[Tree, ...], style: Style, data: st.DataObject) -> None:
    lines = render(forest, style)
    text = "".join(f"{line}\n" for line in lines)
    end = data.draw(st.integers(0, len(text)))
    part = ktap.parse(text[:end], "s")
    assert (not part.faults) is (end == len(text))
    kept = [line for line in text[:end].split("\n")[:-1] if line.strip(" #\t").startswith(("ok ", "not ok "))]
    found = [result for result in part.results if result.outcome is not Outcome.MISSING]
    for line in kept:
        name = line.strip(" #\t").split(" # ")[0].removeprefix("not ").split(" ", 2)[2].removeprefix("- ")
        assert any(result.name.split("/")[-1].split("#")[0] == name for result in found)
    whole = paths(forest)
    for result in found:
        if result.outcome is Outcome.PASS and ktap.UNFINISHED not in result.name:
            assert whole[result.name] is Outcome.PASS
