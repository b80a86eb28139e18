"""Every form in which a run is written is read back by a reader of others, hostile words and all."""

import dataclasses
import email
import html as entities
import json
from collections import Counter
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from xml.etree import ElementTree

import junitparser
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from orchestrator import config
from orchestrator.model import (
    BuildRecord,
    ChangeKind,
    Evidence,
    FindingChange,
    FindingRecord,
    Known,
    Outcome,
    Posting,
    Rate,
    Run,
    Series,
    Side,
    ToolRecord,
    Verdict,
    VerdictValue,
)
from orchestrator.publish import outline
from orchestrator.publish.formats import FORMATS, cases, write
from orchestrator.publish.formats.cases import Standing
from orchestrator.trial.kinds import ktap
from tests.unit.runs import ARCHES, change, sample_run, with_strength

EVIL = (
    "]]> <b>&\x00\x1b[31m\ufffe\udcff\u202e\r\n::error::x\n##[error]x ok 2 x # SKIP `|* \\| @maintainer [a](http://x)"
)
WORST = (
    change("broke", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED, said=("ok\n", "not ok 7 forged\n# SKIP\n")),
    change("not_fixed", "arm64", Outcome.FAIL, Outcome.FAIL, ChangeKind.SAME_FAIL, expected=ChangeKind.FIXED),
    change("slow", patched=Outcome.TIMEOUT, kind=ChangeKind.REGRESSED),
    change("gone", patched=Outcome.MISSING, kind=ChangeKind.REMOVED),
    change("always_fails", base=Outcome.FAIL, patched=Outcome.FAIL, kind=ChangeKind.SAME_FAIL),
    change("skips", base=Outcome.SKIP, patched=Outcome.SKIP),
    change(
        "known_bad",
        patched=Outcome.FAIL,
        kind=ChangeKind.KNOWN,
        known=Known("flaky timer", "https://example.org/1", "2027-01-01", since="v6.12"),
    ),
    change("new_and_bad", base=Outcome.MISSING, patched=Outcome.FAIL, kind=ChangeKind.ADDED),
    change("good"),
)


def regressed(**more: object) -> Run:
    verdict = Verdict(VerdictValue.REGRESSED, ("x86_64: 2 regressed: madvise_locked/broke, madvise_locked/slow",))
    return sample_run(tests=WORST, metrics=(), verdict=verdict, **more)


def hostile(evil: str = EVIL) -> Run:
    """A run with words of a guest or a patch that would be much more than words."""
    run = sample_run()
    test = change(evil, suite=evil, patched=Outcome.FAIL, kind=ChangeKind.REGRESSED, said=(evil, evil))
    return dataclasses.replace(
        run,
        id=evil,
        series=Series(evil, run.series.patches),
        builds=(dataclasses.replace(run.builds[0], error=evil), *run.builds[1:]),
        guests=(dataclasses.replace(run.guests[0], detail=evil), *run.guests[1:]),
        tests=(test, test, *run.tests),
        findings=(finding(evil, file=evil, kind=evil, function=evil), finding("", file="", kind="", line=0)),
        metrics=(dataclasses.replace(run.metrics[0], name=evil, unit=evil, suite=evil),),
        notes=(evil,),
        verdict=Verdict(VerdictValue.REGRESSED, (evil,)),
    )


def finding(message: str = "unused variable 'x'", **more: object) -> FindingRecord:
    fields = {"kind": "-Wunused-variable", "file": "mm/madvise.c", "line": 12, "change": FindingChange.NEW, **more}
    return FindingRecord(tool="gcc", message=message, arch="x86_64", flavour="fast", **fields)  # type: ignore[arg-type]


RUNS = {"validated": sample_run(), "regressed": regressed(), "hostile": hostile()}
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def test_the_forms_are_those_that_pipeline_yaml_may_name() -> None:
    assert tuple(FORMATS) == config.FORMATS
    assert len({form.file for form in FORMATS.values()}) == len(FORMATS)


def test_only_what_counts_against_the_series_is_against_it() -> None:
    standings = {case.name: case.standing for case in cases.of(regressed()) if case.group != cases.OWN}
    assert standings == {
        "broke": Standing.AGAINST,
        "not_fixed": Standing.AGAINST,
        "slow": Standing.AGAINST,
        "gone": Standing.UNSURE,
        "always_fails": Standing.ASIDE,
        "skips": Standing.UNTESTED,
        "known_bad": Standing.ASIDE,
        "new_and_bad": Standing.UNSURE,
        "good": Standing.GOOD,
    }


@pytest.mark.parametrize(
    ("verdict", "standing"),
    [
        (VerdictValue.CLEAN, Standing.GOOD),
        (VerdictValue.UNMET, Standing.AGAINST),
        (VerdictValue.INCONCLUSIVE, Standing.UNSURE),
    ],
)
def test_a_run_without_a_test_has_its_verdict_as_a_case(verdict: VerdictValue, standing: Standing) -> None:
    first = cases.of(sample_run(tests=(), verdict=Verdict(verdict, ("why",))))[0]
    assert (first.name, first.standing, first.why) == ("verdict", standing, f"{verdict}: why")
    assert cases.of(sample_run(verdict=None))[0].standing is Standing.UNSURE


@pytest.mark.parametrize("name", ["junit", "ktap", "kcidb", "markdown", "mail"])
def test_a_good_verdict_says_what_it_rests_on_however_many_its_reasons_are(name: str) -> None:
    run = with_strength("0 of 41 changed lines ran")
    assert run.verdict
    reasons = tuple(f"reason {number}" for number in range(99))
    run = dataclasses.replace(run, verdict=dataclasses.replace(run.verdict, reasons=reasons))
    assert "0 of 41 changed lines ran" in write(name, run)


def test_a_broken_build_of_patched_is_a_failure_and_of_base_an_error() -> None:
    base, patched = (
        BuildRecord(side, "arm64", "fast", 1, 1, False, None, False, "log", error="x.c:1") for side in Side
    )

    def standings(*builds: BuildRecord) -> list[Standing]:
        return [case.standing for case in cases.of(sample_run(builds=builds)) if case.name.startswith("build")]

    assert standings(dataclasses.replace(base, error=None), patched) == [Standing.GOOD, Standing.AGAINST]
    assert standings(base, patched) == [Standing.UNSURE, Standing.UNSURE]  # it is not the series' doing


def test_junit_counts_what_its_readers_count() -> None:
    read = junitparser.JUnitXml.fromstring(write("junit", regressed()).encode())
    counts = Counter(type(entry).__name__ for suite in read for case in suite for entry in case.result)
    assert counts == {"Failure": 4, "Error": 2, "Skipped": 3}  # the verdict is a failure, too
    assert (read.failures, read.errors, read.tests) == (4, 2, 1 + 8 + len(WORST))
    suites = {suite.name: suite for suite in read}
    assert list(suites) == ["kdelta", "x86_64-fast/kdelta", "arm64-fast/kdelta"] + [
        f"{arch}-fast/madvise_locked" for arch in ("x86_64", "arm64")
    ]
    broke = next(iter(suites["x86_64-fast/madvise_locked"]))
    assert (broke.classname, broke.name) == ("x86_64-fast.madvise_locked", "broke")
    assert broke.result[0].message == "pass on base, fail on patched: regressed"
    assert broke.result[0].type == "against"
    assert broke.system_out == "base:\nok\npatched:\nnot ok 7 forged\n# SKIP\n"
    for suite in read:
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == _counted(suite)


def _counted(suite: junitparser.TestSuite) -> tuple[int, ...]:
    kinds = [type(entry).__name__ for case in suite for entry in case.result]
    return len(list(suite)), *(kinds.count(kind) for kind in ("Failure", "Error", "Skipped"))


def test_junit_shows_what_xml_cannot_hold() -> None:
    read = junitparser.JUnitXml.fromstring(write("junit", hostile()).encode())
    names = [case.name for suite in read for case in suite]
    assert (
        "]]> <b>&^@<U+FFFE>\\xff<U+202E>^J::error::x^J##[error]x ok 2 x # SKIP `|* \\| @maintainer [a](http://x)"
        in names
    )


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_text_gives_xml_that_is_well_formed_and_keeps_what_it_can(text: str) -> None:
    test = change(text, suite=text, patched=Outcome.FAIL, kind=ChangeKind.REGRESSED, said=(text, text))
    top = ElementTree.fromstring(write("junit", sample_run(tests=(test,), series=Series(text, ()))).encode())
    case = top.findall("testsuite/testcase")[-1]
    assert case.find("failure") is not None
    if text.isalnum() and text.isascii():
        assert case.get("name") == text


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_forges_a_line_of_ktap(text: str) -> None:
    test = change(text, suite="mm", patched=Outcome.FAIL, kind=ChangeKind.REGRESSED, said=(text, f"{text}\nok 1 x\n"))
    read = ktap.parse(write("ktap", sample_run(builds=(), guests=(), tests=(test,))), "kdelta")
    assert [result.outcome for result in read.results if result.name.startswith("x86_64-fast/mm/")] == [Outcome.FAIL]
    assert read.faults == ()


def test_ktap_is_read_by_our_own_reader() -> None:
    said = write("ktap", regressed())
    assert "\n  KTAP version 1\n  # Subtest: arm64-fast\n" in said  # without it kunit.py gives a lane no name
    read = ktap.parse(said, "kdelta")
    assert read.faults == ()
    outcomes = {result.name: result.outcome for result in read.results}
    below = {name.split("/", 2)[2]: seen for name, seen in outcomes.items() if "/madvise_locked/" in name}
    assert below == {
        "broke": Outcome.FAIL,
        "not_fixed": Outcome.FAIL,
        "slow": Outcome.TIMEOUT,
        "gone": Outcome.FAIL,
        "always_fails": Outcome.XFAIL,
        "skips": Outcome.SKIP,
        "known_bad": Outcome.XFAIL,
        "new_and_bad": Outcome.FAIL,
        "good": Outcome.PASS,
    }
    assert outcomes["all/kdelta/verdict"] is Outcome.FAIL
    assert outcomes["x86_64-fast/kdelta/build base"] is Outcome.PASS
    assert len([name for name in outcomes if name.count("/") == 2]) == len(cases.of(regressed()))


@each_run
def test_kcidb_records_have_names_of_their_own_and_refer_to_what_is_there(run: Run) -> None:
    submission = json.loads(write("kcidb", run, "mylab"))
    ids = [record["id"] for group in ("checkouts", "builds", "tests") for record in submission[group]]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("mylab:") for name in ids)
    assert {record["checkout_id"] for record in submission["builds"]} <= set(ids)
    assert {record["build_id"] for record in submission["tests"]} <= set(ids)


def test_kcidb_gets_the_facts_of_both_kernels() -> None:
    tests = json.loads(write("kcidb", regressed()))["tests"]
    found = {(test["id"].split("-")[5], test["path"].rpartition(".")[2]): test["status"] for test in tests}
    assert found["base", "broke"] == "PASS"
    assert found["patched", "broke"] == "FAIL"
    assert (found["base", "gone"], found.get(("patched", "gone"))) == ("PASS", None)
    assert (found.get(("base", "new_and_bad")), found["patched", "new_and_bad"]) == (None, "FAIL")
    assert found["patched", "boot"] == "PASS"
    metric = next(test for test in json.loads(write("kcidb", sample_run()))["tests"] if test["status"] == "DONE")
    assert (metric["path"], metric["number"]) == ("mm.mlock_1024_pages", {"value": 1848.8, "unit": "us"})


def test_kcidb_names_a_commit_only_where_others_have_it() -> None:
    commit = "f2a6c1b8de0419a7" + "0" * 24
    kernel = dataclasses.replace(sample_run().kernel, source="git:/home/ada/linux", base_commit=commit)
    of_git, reverted, of_debian = (
        [one.get("git_commit_hash") for one in json.loads(write("kcidb", sample_run(kernel=found)))["checkouts"]]
        for found in (kernel, dataclasses.replace(kernel, reverted=True), sample_run().kernel)
    )
    assert (of_git, reverted, of_debian) == ([commit] * 2, [None] * 2, [None] * 2)


FINDINGS = (
    finding(),
    dataclasses.replace(finding(), arch="arm64"),
    finding("moved", change=FindingChange.MOVED, base_line=7),
    finding("stays", change=FindingChange.SAME),
    finding("went", change=FindingChange.GONE),
    dataclasses.replace(
        finding("a # b", file="a b/ü:%.c", line=0), tool="checkpatch", kind="LONG_LINE", arch="", flavour=""
    ),
)


def test_sarif_has_a_run_for_each_tool_and_base_as_its_baseline() -> None:
    checkpatch, gcc = json.loads(write("sarif", sample_run(findings=FINDINGS)))["runs"]
    assert [run["tool"]["driver"]["name"] for run in (checkpatch, gcc)] == ["checkpatch", "gcc"]
    found = {result["message"]["text"]: (result["baselineState"], result["level"]) for result in gcc["results"]}
    assert found == {
        "unused variable 'x'": ("new", "warning"),
        "moved": ("updated", "note"),
        "stays": ("unchanged", "note"),
    }
    assert gcc["results"][0]["properties"] == {"lanes": ["x86_64-fast", "arm64-fast"]}
    assert checkpatch["results"][0]["properties"] == {"lanes": []}  # it looks at the patch
    place = gcc["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "mm/madvise.c", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    other = checkpatch["results"][0]["locations"][0]["physicalLocation"]
    assert other == {"artifactLocation": {"uri": "a%20b/%C3%BC%3A%25.c", "uriBaseId": "%SRCROOT%"}}


def test_sarif_has_an_empty_run_for_each_tool_that_looked_everywhere_and_for_no_other() -> None:
    once, everywhere = ToolRecord("checkpatch", "", ""), [ToolRecord("cc", arch, "fast") for arch in ARCHES]

    def runs(*tools: ToolRecord, **more: object) -> dict[str, int]:
        log = json.loads(write("sarif", sample_run(tools=tools, **more)))
        return {run["automationDetails"]["id"].split("/")[1]: len(run["results"]) for run in log["runs"]}

    assert runs(once, *everywhere) == {"checkpatch": 0, "cc": 0}
    assert runs(once, everywhere[0]) == {"checkpatch": 0}  # the other lane was not built
    assert runs(dataclasses.replace(once, whole=False), *everywhere) == {"cc": 0}
    assert runs(once, findings=FINDINGS) == {"checkpatch": 1, "gcc": 3}
    assert runs(once, verdict=None) == runs() == {"kdelta": 0}  # GitHub takes none without any


def test_a_finding_keeps_its_fingerprint_when_its_line_moves() -> None:
    one, other = (
        json.loads(write("sarif", sample_run(findings=(finding(line=line),))))["runs"][0]["results"][0]
        for line in (12, 70)
    )
    assert one["partialFingerprints"] == other["partialFingerprints"]


def test_markdown_says_the_verdict_the_changes_and_on_what() -> None:
    evidence = Evidence(Rate(0, 6, 0.0, 0.56), Rate(6, 6, 0.44, 1.0), 0.01)
    broke = dataclasses.replace(WORST[0], evidence=evidence)
    said = MarkdownIt().render(write("markdown", regressed() and sample_run(tests=(broke,), findings=FINDINGS)))
    assert "<h2>VALIDATED: mm: add MADV_DONTNEED_LOCKED</h2>" in said
    assert (
        "<li>madvise_locked/broke on x86_64: pass on base, fail on patched: regressed; "
        "failed 0 of 6 (0..56 %) on base, 6 of 6 (44..100 %) on patched</li>"
    ) in said
    assert "<li>mm/madvise.c:12: unused variable 'x' (gcc -Wunused-variable)</li>" in said
    assert "<li>base: Linux 5.10.223 (debian:linux-source-5.10, commit f2a6c1b8de04)</li>" in said


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_markdown_shows_any_text_as_text(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(write("markdown", sample_run(series=Series(f"a{text}", ()), notes=(text, EVIL))))
    kinds = {token.type for token in tokens} | {child.type for token in tokens for child in token.children or ()}
    assert not kinds & {
        "link_open",
        "image",
        "code_inline",
        "fence",
        "code_block",
        "em_open",
        "strong_open",
        "table_open",
    }
    raw = {child.content for token in tokens for child in token.children or () if child.type == "html_inline"}
    assert raw <= {"<!-- -->"}
    assert [token.tag for token in tokens if token.type == "heading_open"].count("h2") == 1


def test_markdown_calls_nobody_and_keeps_long_lists_short() -> None:
    run = sample_run(notes=("@ada", *(f"note {number}" for number in range(99))))
    said = write("markdown", run)
    assert "@<!-- -->ada" in said
    assert "and 81 more" in entities.unescape(MarkdownIt().render(said))


def test_what_is_known_is_said_with_its_reason_since_when_and_where() -> None:
    known = [text for text in outline.changes(regressed()) if "known_bad" in text]
    assert known[0].endswith("fail on patched: known; known: flaky timer, since v6.12, https://example.org/1")


def test_tests_of_which_the_same_is_to_be_said_are_one_line() -> None:
    alike = [change(f"t{number}", arch, kind=ChangeKind.FIXED) for number in range(20) for arch in ARCHES]
    other = change("t3b", kind=ChangeKind.REGRESSED, patched=Outcome.FAIL)
    assert [*outline.changes(sample_run(tests=(*alike, other)))] == [
        "madvise_locked/t3b on x86_64: pass on base, fail on patched: regressed",
        "madvise_locked/t0, t1, t10, t11, t12, t13, t14, t15 and 12 more on x86_64, arm64: "
        "pass on base, pass on patched: fixed",
    ]


POSTING = Posting(
    "<3@example.org>",
    "re: RE: [PATCH v2 0/2] mm: größe",
    "Ada Ünder <ada@example.org>",
    ("linux-mm@kvack.org", "B, C <b@example.org>", "Ada Ünder <ada@example.org>"),
    ("<1@example.org>", "<2@example.org>"),
)


def reply(**more: object) -> EmailMessage:
    """What a mail program makes of it."""
    series = dataclasses.replace(sample_run().series, posting=dataclasses.replace(POSTING, **more))  # type: ignore[arg-type]
    return BytesParser(policy=policy.default).parsebytes(write("mail", sample_run(series=series)).encode())  # type: ignore[return-value]


def test_mail_answers_the_series_in_its_thread() -> None:
    mail = reply()
    assert dict(mail.items()) == {
        "Subject": "Re: [PATCH v2 0/2] mm: größe",
        "To": "Ada Ünder <ada@example.org>",
        "Cc": 'linux-mm@kvack.org, "B, C" <b@example.org>',
        "In-Reply-To": "<3@example.org>",
        "References": "<1@example.org> <2@example.org> <3@example.org>",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "8bit",
        "MIME-Version": "1.0",
    }
    said = mail.get_content()
    assert said.startswith(
        "kdelta compared Linux 5.10.223 without and with this series:\n\n"
        "VALIDATED: mm: add MADV_DONTNEED_LOCKED\n\n"
        "- 3 of 3 declared tests fixed on x86_64 and arm64\n"
        "- no other test changed in 9 compared per arch\n\n"
        "Changed tests:\n"
        "- madvise_locked/drops_locked_pages, keeps_vm_locked,\n"
        "  refaults_zero_filled on x86_64, arm64: fail on base, pass on patched:\n"
        "  fixed\n"
    )
    assert "Tested-by" not in said
    assert max(map(len, said.splitlines())) <= 72


def test_a_mail_about_a_series_that_came_by_none_names_nobody() -> None:
    mail = email.message_from_string(write("mail", sample_run()))
    assert [mail[name] for name in ("To", "Cc", "In-Reply-To", "References")] == [None] * 4
    assert mail["Subject"] == "Re: mm: add MADV_DONTNEED_LOCKED"


def test_a_long_message_id_is_still_that_message_id() -> None:
    name = f"<{'x' * 200}@example.org>"
    assert reply(message_id=name)["In-Reply-To"] == name


@given(st.text(st.characters(exclude_categories=()), max_size=40))
@example("0\x1b")  # with the ` <` behind it an escape sequence, which is taken out
def test_no_text_adds_a_header_or_an_address(text: str) -> None:
    evil = f"{text}\r\nBcc: x@y\n\n<z@example.com>,"
    mail = reply(
        subject=evil, sender=evil, recipients=(evil, f"{text} <b@example.org>"), message_id=text, references=(text,)
    )
    assert set(mail.keys()) <= {"To", "Cc", *reply().keys()}
    addresses = {one.addr_spec for name in ("To", "Cc") if mail[name] for one in mail[name].addresses}
    assert addresses <= {"b@example.org"}
    assert mail["Subject"].startswith("Re: ")
