"""Reports on consoles: tests/data/splat/NNN-what are header lines (what is found), a blank line, a console."""

import datetime
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvm import fate
from kvm.errors import UserError
from kvm.fate import Fate
from orchestrator import splats
from orchestrator.judge import splat
from orchestrator.model import Role, Splat

DATA = Path(__file__).resolve().parents[1] / "data" / "splat"
RULES = splats.rules()


@dataclass
class Wanted:
    """What one report must be; `first` and `last` stand in the lines that its text begins and ends with."""

    kind: str
    title: str = ""
    frames: tuple[str, ...] = ()
    times: int = 1
    first: str = ""
    last: str = ""


@dataclass
class Case:
    wanted: list[Wanted] = field(default_factory=list)
    console: str = ""


def read(path: Path) -> Case:
    head, _, console = path.read_bytes().partition(b"\n\n")
    case = Case(console=console.decode("utf-8", "replace"))
    for line in head.decode().splitlines():
        name, _, value = line.partition(":")
        value = value.strip()
        if name == "kind":
            if value != "none":
                case.wanted.append(Wanted(value))
            continue
        last = case.wanted[-1]
        setattr(last, name, tuple(value.split()) if name == "frames" else type(getattr(last, name))(value))
    return case


def find(console: str) -> tuple[Splat, ...]:
    return splat.find([console], RULES).splats


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_each_report_of_a_console_is_found_and_told(path: Path) -> None:
    case = read(path)
    found = find(case.console)
    assert [(s.kind, s.title, s.frames, s.times) for s in found] == [
        (w.kind, w.title, w.frames, w.times) for w in case.wanted
    ]
    for report, wanted in zip(found, case.wanted, strict=True):
        lines = report.text.split("\n")
        assert wanted.first in lines[0]
        assert wanted.last in lines[-1]
        assert all(line in case.console for line in lines)


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_it_makes_no_difference_in_which_pieces_a_console_comes(path: Path) -> None:
    console = read(path).console
    pieces = [console[at : at + 777] for at in range(0, len(console), 777)]
    assert splat.find(pieces, RULES).splats == find(console)


WATCHED = {str(one) for one in Fate if one.survivable or one is Fate.PANIC} - {"out-of-memory"} | {"oom"}
OTHERWISE = {"070": {"panic"}, "071": {"panic"}, "159": set()}  # stack corruption, which panics; a cgroup's own


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_what_ends_a_guest_or_may_is_seen_as_it_comes_where_its_report_is_found(path: Path) -> None:
    case, seen, since = read(path), set(), 0.0
    for line in map(bytes.strip, case.console.encode().split(b"\n")):
        since = fate.time_of(line, since)
        if trouble := fate.of_line(line, since):
            assert fate.WORTH.search(line)
            seen.add(str(trouble.fate).replace("out-of-memory", "oom"))
    assert seen == OTHERWISE.get(path.name[:3], WATCHED & {wanted.kind for wanted in case.wanted})


def test_there_are_logs_of_both_architectures_and_logs_without_a_report() -> None:
    consoles = [read(path) for path in DATA.iterdir()]
    assert len(consoles) >= 120
    assert sum("Call trace:" in case.console for case in consoles) >= 30
    assert sum(not case.wanted for case in consoles) >= 15
    assert {rule.kind for rule in RULES.rules if rule.role in (Role.REPORT, Role.PREFACE, Role.ORPHAN)} == {
        wanted.kind for case in consoles for wanted in case.wanted
    }


def test_every_start_pattern_begins_a_report_of_the_logs() -> None:
    messages = [message for path in DATA.iterdir() for message in _messages(read(path).console)]
    patterns = [pattern for rule in RULES.rules for pattern in rule.start]
    assert [pattern.pattern for pattern in patterns if not any(map(pattern.match, messages))] == []


def _messages(text: str) -> list[str]:
    return [re.sub(r"^(<\d>)?\[.*?\](\[.*?\])? ", "", line) for line in text.splitlines()]


def test_what_a_program_prints_in_the_middle_of_a_line_is_no_report() -> None:
    assert find("my test says: Kernel panic - not syncing: no\n") == ()


def test_a_long_condition_in_a_warnings_head_is_found() -> None:
    [found] = find(f"[    1.0] WARNING: [{'a' * 200}] mm/madvise.c:100 at do_madvise+0x1/0x2, CPU#0: sh/1\n")
    assert (found.kind, found.title) == ("warning", "WARNING in do_madvise")


@pytest.mark.parametrize(
    "words", ["INFO: task x is blocked on a ", "WARNING: [", "Internal error: UBSAN: ", "NETDEV WATCHDOG: a ("]
)
def test_a_line_without_end_in_which_reports_begin_and_begin_ends(words: str) -> None:
    assert len(find(f"\n{f'] {words}' * 10_000}\n")) <= 1  # with a pattern that tries all of it each time: hours


def test_what_a_terminal_wrapped_is_read_as_one_line_at_any_usual_width() -> None:
    name = "a_function_with_a_rather_long_name_that_goes_on_and_on"
    line = f"[   12.000000] BUG: KASAN: slab-use-after-free in {name}+0x1/0x2 {'x' * 40}"
    for width in (80, 100, 120, 132):
        text = "\r\n".join([line[:width], line[width:], "[   12.000001] Read of size 4 at addr f by task a/1"])
        assert find(text)[0].title == f"KASAN: slab-use-after-free Read in {name}"


def test_numbers_that_change_from_boot_to_boot_are_not_part_of_a_title_or_fingerprint() -> None:
    one, other = (find(f"[1.0] WARNING: CPU: {cpu} PID: {cpu}1 at mm/a.c:{cpu}0 f+0x{cpu}/0x2\n")[0] for cpu in (1, 2))
    assert (one.title, one.fingerprint) == (other.title, other.fingerprint)
    one, other = (find(f"[1.0] Kernel panic - not syncing: at 0xffff{n}0 on CPU {n}: f+0x{n}/0x9\n")[0] for n in (1, 2))
    assert (one.title, one.fingerprint) == (other.title, other.fingerprint)
    assert one.title == "kernel panic: at ADDR on CPU NUM: f"


def test_a_title_does_not_depend_on_where_the_kernel_was_built() -> None:
    places = ("/src", f"/home/me/.cache/kdelta/trees/{'a' * 40}", f"/home/me/.cache/kdelta/trees/{'b' * 40}")
    for words in ("UBSAN: shift-out-of-bounds in {}/mm/a.c:3", "BUG: no good in {}/mm/a.c:3"):
        found = [find(f"[1.0] {words.format(place)}\n")[0] for place in places]
        assert len({(report.title, report.fingerprint) for report in found}) == 1


def test_the_same_function_called_from_elsewhere_is_another_report() -> None:
    warning = "[1.0] WARNING: CPU: 1 PID: 1 at mm/a.c:1 f+0x1/0x2\n[1.0] Call Trace:\n[1.0]  f+0x1/0x2\n"
    one, other = (find(f"{warning}[1.0]  {caller}+0x1/0x2\n")[0] for caller in ("g", "h"))
    assert one.title == other.title
    assert one.fingerprint != other.fingerprint


def test_no_more_than_a_bounded_number_of_reports_is_kept_and_the_rest_is_counted() -> None:
    warning = "[1.0] WARNING: CPU: 1 PID: 1 at mm/a.c:1 f{}+0x1/0x2\n[1.0] ---[ end trace 0 ]---\n"
    found = splat.find([warning.format(number) for number in range(splat.MOST_SPLATS + 7)], RULES)
    assert len(found.splats) == splat.MOST_SPLATS
    assert found.more == 7


def test_an_endless_report_is_cut_and_says_by_how_much() -> None:
    first = "[1.0] WARNING: CPU: 1 PID: 1 at mm/a.c:1 f+0x1/0x2"
    lines = [first, *["[1.0] and on"] * 1000, "[1.0] ---[ end trace 0 ]---"]
    [found] = find("\n".join(lines))
    assert found.text.count("\n") + 1 + found.left_out == len(lines)
    assert found.left_out > 0
    [found] = find("\n".join([lines[0], *["[1.0] " + "x" * 4000] * 100]))
    assert len(found.text) <= splat.MOST_CHARACTERS


WORDS = st.sampled_from(
    [line for path in sorted(DATA.iterdir())[::7] for line in read(path).console.splitlines()[:40]]
    + ["", "\r", "[ cut", "]"]
)


@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("utf-8", "replace"))))
def test_any_text_gives_an_answer(text: str) -> None:
    _check(text)


@settings(max_examples=300)
@given(st.lists(st.one_of(WORDS, st.text(max_size=40)), max_size=60), st.sampled_from(["\n", "\r\n", "", " "]))
def test_lines_of_reports_in_any_order_give_an_answer(lines: list[str], between: str) -> None:
    _check(between.join(lines))


def _check(text: str) -> None:
    found = splat.find([text], RULES)
    rows = {row.rstrip("\r") for row in text.split("\n")}
    for report in found.splats:
        assert report.kind and report.title and report.fingerprint
        assert all(any(line in row for row in rows) for line in report.text.split("\n"))


def test_a_rule_file_that_is_wrong_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "splats.yaml"
    path.write_text(
        "skip: ['a(']\n"
        "rules:\n"
        "  - kind: one\n"
        "    title: '{who} in {frame}'\n"
        "    start: ['BUG: (?P<what>x)']\n"
        "    until: mark\n"
        "    absorbs: [ona]\n"
        "  - kind: two\n"
        "    start: ['[', 'BUG']\n"
        "  - kind: three\n"
        "    start: ['BUG']\n"
    )
    with pytest.raises(UserError) as caught:
        splats.rules(path)
    assert caught.value.message.replace(f"{path}:", "").splitlines() == [
        "1:8: no regular expression: missing ), unterminated subpattern at position 1",
        "4:5: {who} is no named group of `start` or `words`",
        "6:5: `until: mark` and `end` go together",
        "7:15: no rule has the kind 'ona'; did you mean 'one'?",
        "9:13: no regular expression: unterminated character set at position 0",
        "10:5: the kind 'three' has no title",
    ]
    path.write_text("skip: [a]\nrules:\n  - kind: one\n    title: x\n    start: [BUG]\n    untill: line\n")
    with pytest.raises(UserError, match=r"splats\.yaml:6:5: unknown key 'untill'; did you mean 'until'\?"):
        splats.rules(path)


KNOWN = """\
known:
  - match: {{title: 'WARNING in f.*', kind: warning}}
    reason: being fixed
    link: https://example.org/1
    expiry: {expiry}
    arch: {arch}
"""


BARE = "known:\n  - {{{}, reason: a, link: a, expiry: 2040-01-01}}\n"


def test_a_list_of_known_issues_is_read_and_the_shipped_one_is_empty(tmp_path: Path) -> None:
    today = datetime.date(2030, 5, 6)
    assert splats.known(None, today) == ()
    path = tmp_path / "known.yaml"
    path.write_text(KNOWN.format(expiry="2030-05-06", arch="arm64"))
    [entry] = splats.known(path, today)
    assert (entry.kind, entry.arch, entry.reason, entry.expiry) == ("warning", "arm64", "being fixed", today)
    assert entry.title and entry.title.fullmatch("WARNING in foo")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (KNOWN.format(expiry="2030-05-05", arch="arm64"), "5:5: 'WARNING in f.*' expired on 2030-05-05: look whether"),
        (KNOWN.format(expiry="2030-13-45", arch="arm64"), "5:5: known.0.expiry: value error, month must be in 1..12"),
        (KNOWN.format(expiry="2031-05-05", arch="arm"), "6:5: no arch 'arm'; known: x86_64, arm64"),
        (
            BARE.format("match: {kind: bug}"),
            "2:6: neither `test` nor `title` nor `fingerprint`: it would match too much",
        ),
        (BARE.format("match: {test: a, title: b}"), "2:6: `test` names a test's failure, `title` and `kind` a report"),
        (BARE.format("match: {test: '('}"), "2:14: no regular expression: missing ), unterminated"),
        (BARE.format("match: {title: '('}"), "2:14: no regular expression: missing ), unterminated"),
        (BARE.format("match: {title: x}").replace("link: a, ", ""), "2:5: known.0.link: field required"),
    ],
)
def test_an_entry_that_expired_or_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        splats.known(path, datetime.date(2030, 5, 6))
    assert caught.value.message.startswith(f"{path}:{words}")
