"""The whole line on the fake tree: real git, make and compilers, and guests that follow the script in their image."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvm import proc
from kvm.arch import DEFAULT, get
from kvm.errors import InfraError, Interrupted, UserError
from kvm.qemu import Machine
from kvm.vm import Limits
from orchestrator import job, pipeline, plan, sides, store
from orchestrator.config import Pipeline
from orchestrator.model import Cell, Run, RunStatus, Side
from orchestrator.publish import text
from orchestrator.request import Request
from tests import scripted
from tests.contract import GuestContract

PASSES = "program:\nsay 1..2\nsay ok 1 first\nsay ok 2 second\n"
FAILS = "program:\nsay 1..2\nsay ok 1 first\nsay not ok 2 second\nexit 1\n"

Validate = Callable[..., Run]


@contextlib.contextmanager
def restored(machine: Machine, where: Path) -> Iterator[scripted.ScriptedGuest]:
    """A guest restored right after the boot."""
    with (
        scripted.take(machine, workdir=where / "boot", limits=Limits()) as kept,
        kept.restore(workdir=where, limits=Limits()) as alive,
    ):
        yield alive


class TestScriptedGuest(GuestContract):
    @pytest.fixture
    def machine(self, tmp_path: Path) -> Machine:
        (tmp_path / "image").write_text("")
        return Machine(get("arm64"), tmp_path / "image", tmp_path / "initrd", "tcg")

    @pytest.fixture
    def booted(self, machine: Machine, tmp_path: Path) -> GuestContract.Booted:
        return lambda: restored(machine, tmp_path)

    @pytest.fixture
    def broken(self, machine: Machine, tmp_path: Path) -> GuestContract.Booted:
        machine.image.write_text("boot: panic\n")
        return lambda: restored(machine, tmp_path)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite whose program the scripted guest does not run: what it says is in the image."""
    directory = tmp_path / "example"
    directory.mkdir()
    (directory / "main.c").write_text("int main(void) { return 0; }\n")
    (directory / "suite.yaml").write_text("name: example\nkind: ktap\nsources: [main.c]\n")
    return directory


@pytest.fixture
def request_for(fakelinux: Path, make_series, suite: Path, tmp_path: Path, shared_cache: Path):  # type: ignore[no-untyped-def]
    """Ask for a run whose base kernel follows one script and whose patched kernel another."""
    own = tmp_path / "cache"
    own.mkdir()
    for part in ("apt", "rootfs"):  # what is downloaded once need not be downloaded for every test
        (shared_cache / part).mkdir(parents=True, exist_ok=True)
        (own / part).symlink_to(shared_cache / part)

    def ask(base: str | None, *patches: str, **pipeline_keys: object) -> Request:
        from tests.flow.conftest import git

        if base is not None:  # else they are there
            (fakelinux / "mm" / "madvise.c").write_text(base)
            git(fakelinux, "commit", "-q", "-a", "-m", "the script of base")
            pipeline_keys = {"series": str(make_series(*patches)), **pipeline_keys}
        keys = {
            "kernel": f"git:{fakelinux}",
            "suites": [str(suite)],
            "arches": list(DEFAULT),
            **pipeline_keys,
        }
        return Request(pipeline=Pipeline(**keys), near=str(tmp_path), cache=str(own), jobs=2)

    return ask


@pytest.fixture
def validate(request_for, tmp_path: Path) -> Validate:
    def run(base: str, *patches: str, take=scripted.take, name: str = "run", **keys: object) -> Run:
        todo = plan.make(request_for(base, *patches, **keys))
        with job.start(todo, store.given_directory(tmp_path / name), lambda *_: None, take) as started:
            return pipeline.validate(started)

    return run


def changes(run: Run, arch: str = "arm64") -> dict[str, str]:
    return {change.name: change.change for change in run.tests if change.arch == arch}


def verdict(run: Run) -> tuple[str, str]:
    assert run.verdict
    return run.verdict.value, " ".join(run.verdict.reasons)


def test_what_fails_on_base_and_passes_on_patched_is_fixed_on_both_architectures(validate: Validate) -> None:
    run = validate(FAILS, PASSES)
    for arch in DEFAULT:
        assert changes(run, arch) == {"first": "same", "second": "fixed", "(exit)": "same"}
    assert verdict(run)[0] == "clean"
    assert {guest.outcome for guest in run.guests} == {"ok"}


def test_what_a_compiler_newly_warns_of_is_among_the_reasons_of_a_clean_verdict(
    validate: Validate, fakelinux: Path
) -> None:
    makefile = fakelinux / "Makefile"
    warn = "! grep -q ODD $< || echo '/src/mm/madvise.c:1:1: warning: that is odd [-Wodd]'"
    said = f"\t@echo '  CC      mm/madvise.o'; {warn}\n\t@echo COMPILED"
    makefile.write_text(makefile.read_text().replace("\t@echo COMPILED", said))
    run = validate(PASSES, f"# ODD\n{PASSES}")
    assert verdict(run) == ("clean", "1 new compiler warning: mm/madvise.c")


def test_the_run_says_which_tools_looked_at_both_kernels_and_whether_at_all_of_them(validate: Validate) -> None:
    looked = {(one.tool, one.arch): one.whole for one in validate(FAILS, PASSES).tools}
    assert {looked["cc", arch] for arch in DEFAULT} == {True}
    assert looked["checkpatch", ""] is False  # this tree has no such script


def test_a_kernel_that_watches_itself_gets_more_time_and_is_to_report_more_than_once(
    validate: Validate, tmp_path: Path
) -> None:
    seen = []

    def take(machine: Machine, *, workdir: Path, limits: Limits, prepare: Callable[..., None]):  # type: ignore[no-untyped-def]
        seen.append((limits.scale, *machine.words))
        return scripted.take(machine, workdir=workdir, limits=limits, prepare=prepare)

    fragment = tmp_path / "slow.config"
    fragment.write_text("CONFIG_KASAN=y\nCONFIG_PROVE_LOCKING=y\n")
    validate(FAILS, PASSES, take=take, arches=["arm64"], fragments=[str(fragment)], rerun={"pairs": 0})
    assert seen == [(4.0 * 3 * 2, "kasan_multi_shot")] * 2  # emulated, KASAN, lockdep


def test_the_memory_of_a_panicked_guest_is_asked_for_and_named_in_the_run(validate: Validate) -> None:
    def take(machine: Machine, *, workdir: Path, limits: Limits, prepare: Callable[..., None]):  # type: ignore[no-untyped-def]
        if machine.vmcore:
            workdir.mkdir(parents=True, exist_ok=True)
            (workdir / "vmcore").touch()
        return scripted.take(machine, workdir=workdir, limits=limits, prepare=prepare)

    run = validate(FAILS, PASSES, take=take, arches=["arm64"], vmcore=True)
    assert "base/arm64-fast: memory of a guest that panicked: base/arm64-fast/vmcore" in run.notes


def test_a_declared_change_that_happens_is_validated_and_one_that_does_not_is_unmet(
    validate: Validate, tmp_path: Path, make_series
) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "expect.yaml").write_text("suites: {example: {fixed: [second], same: [first]}}\n")
    assert verdict(validate(FAILS, PASSES))[0] == "validated"


def test_what_is_declared_of_a_suite_that_does_not_run_is_not_validated(validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "expect.yaml").write_text("suites: {example: {fixed: [second]}, other: {fixed: [x]}}\n")
    value, reasons = verdict(validate(FAILS, PASSES))
    assert value == "clean"
    assert "other: of what the series declares nothing was tested" in reasons


def test_a_declared_change_that_does_not_happen_is_unmet(validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "expect.yaml").write_text("suites: {example: {fixed: [second]}}\n")
    value, reasons = verdict(validate(FAILS, f"# a comment\n{FAILS}"))
    assert value == "unmet"
    assert "second" in reasons


def test_what_passes_on_base_and_fails_on_patched_is_regressed(validate: Validate) -> None:
    run = validate(PASSES, FAILS)
    assert changes(run)["second"] == "regressed"
    assert verdict(run)[0] == "regressed"
    assert "second" in verdict(run)[1]


@pytest.mark.parametrize(
    ("last", "outcome", "running"),
    [("panic", "panic", "crash"), ("die", "reboot", "crash"), ("nap 9999", "ok", "timeout")],
)
def test_a_patched_kernel_that_ends_in_the_middle_keeps_what_passed_and_loses_no_test(
    validate: Validate, last: str, outcome: str, running: str
) -> None:
    run = validate(PASSES, f"program:\nsay 1..2\nsay ok 1 first\n{last}\n")
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": outcome}
    assert changes(run)["first"] == "same"
    [second] = [change for change in run.tests if (change.name, change.arch) == ("second", "arm64")]
    assert second.base.outcome == "pass"
    assert second.patched.outcome == "missing"
    [end] = [change for change in run.tests if (change.name, change.arch) == ("(exit)", "arm64")]
    assert end.patched.outcome in (running, "lost")
    assert verdict(run)[0] == "regressed"


@pytest.mark.parametrize("kind", ["panic", "hang", "no-boot"])
def test_a_patched_kernel_that_does_not_boot_is_regressed_when_base_does(validate: Validate, kind: str) -> None:
    run = validate(PASSES, f"boot: {kind}\n{PASSES}")
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": kind}
    boots = [change for change in run.tests if change.suite == "(boot)"]
    assert {(change.change, change.patched.outcome) for change in boots} == {("regressed", "crash")}
    assert {change.patched.outcome for change in run.tests if change not in boots} == {"missing"}
    assert verdict(run)[0] == "regressed"


def test_a_test_that_kills_its_guest_costs_no_other_test_where_each_has_its_own(
    validate: Validate, suite: Path
) -> None:
    (suite / "suite.yaml").write_text((suite / "suite.yaml").read_text() + "isolation: test\n")
    three = "program:\nsay 1..3\nsay ok 1 first\n{}\nsay ok 3 third\n"
    run = validate(three.format("say ok 2 second"), three.format("panic second"))
    assert changes(run) == {"first": "same", "second": "regressed", "third": "same", "(exit)": "regressed"}
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": "panic"}


def test_suites_have_guests_of_their_own_unless_they_say_boot(validate: Validate, suite: Path, tmp_path: Path) -> None:
    other = shutil.copytree(suite, tmp_path / "other")
    (other / "suite.yaml").write_text("name: other\nkind: ktap\nsources: [main.c]\n")
    dies = "program:\nsay 1..1\nsay ok 1 only\npanic\n"
    run = validate(PASSES, dies, suites=[str(suite), str(other)], arches=["arm64"])
    ends = {change.suite: change.patched.outcome for change in run.tests if change.name == "(exit)"}
    assert ends == {"example": "lost", "other": "lost"}  # each died by itself
    for path in (suite, other):
        (path / "suite.yaml").write_text((path / "suite.yaml").read_text() + "isolation: boot\n")
    (tmp_path / "run").rename(tmp_path / "first")
    run = validate(f"# again\n{PASSES}", f"# again\n{dies}", suites=[str(suite), str(other)], arches=["arm64"])
    ends = {change.suite: change.patched.outcome for change in run.tests if change.name == "(exit)"}
    assert ends == {"example": "lost", "other": "lost"}  # what follows in the same guest gets another one


def test_the_console_of_a_cell_holds_the_words_of_all_its_guests_in_order(validate: Validate, tmp_path: Path) -> None:
    validate(PASSES, FAILS, arches=["arm64"])
    console = (tmp_path / "run" / "base" / "arm64-fast" / "console.log").read_text()
    assert console.count("scripted kernel") == 2
    assert console.index("--- example: restored") < console.index("kdelta: example starts")


def test_a_taint_without_a_report_is_regressed_and_names_the_suite(validate: Validate) -> None:
    run = validate(PASSES, f"{PASSES}taint 512\n", arches=["arm64"])
    assert changes(run) == {"first": "same", "second": "same", "(exit)": "same", "(taint)": "regressed"}
    assert verdict(run) == ("regressed", "arm64: 1 regressed: example/(taint)")


def test_a_kernel_that_is_tainted_by_a_program_out_of_time_is_found_out(validate: Validate) -> None:
    run = validate(PASSES, f"{PASSES}taint 128\nnap 9999\n", arches=["arm64"])
    assert changes(run)["(taint)"] == "regressed"


def test_a_console_that_falls_silent_under_a_suite_is_no_good_news(validate: Validate) -> None:
    run = validate(PASSES, f"{PASSES}hush\n", arches=["arm64"])
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": "console-cut"}
    words = "patched/arm64-fast: console-cut: the console says nothing of the end of example"
    assert verdict(run) == ("inconclusive", words)
    assert changes(run)["second"] == "same"


def test_a_base_that_does_not_boot_gives_no_verdict_on_the_series(validate: Validate) -> None:
    assert verdict(validate(f"boot: panic\n{PASSES}", PASSES))[0] == "inconclusive"


def test_a_test_that_is_new_or_gone_is_said(validate: Validate) -> None:
    run = validate(PASSES, "program:\nsay 1..2\nsay ok 1 first\nsay ok 2 third\n")
    assert changes(run) == {"first": "same", "second": "removed", "third": "added", "(exit)": "same"}


def test_a_fault_of_the_host_ends_the_run_as_interrupted_and_keeps_what_is_done(request_for, tmp_path: Path) -> None:
    def full(machine: Machine, **_: object):  # type: ignore[no-untyped-def]
        raise InfraError("the disk is full")

    todo = plan.make(request_for(PASSES, FAILS))
    where = store.given_directory(tmp_path / "run")
    with pytest.raises(InfraError, match="disk is full"), job.start(todo, where, lambda *_: None, full) as started:
        pipeline.validate(started)
    record = store.load(where)
    assert record.status is RunStatus.INTERRUPTED
    assert len(record.builds) >= 2
    assert record.guests == ()


def test_the_stages_one_by_one_give_what_the_whole_gives(validate: Validate, request_for, tmp_path: Path) -> None:
    whole = validate(FAILS, PASSES)
    quiet = lambda *_: None  # noqa: E731
    where = store.given_directory(tmp_path / "stages")
    with job.start(plan.make(store_request(tmp_path)), where, quiet, scripted.take) as started:
        built = {lane: sides.build(started, lane) for lane in started.plan.lanes}
    for lane, both in built.items():
        with job.resume(where, quiet, scripted.take) as resumed:
            pipeline.test(resumed, lane, both, {})
    with job.resume(where, quiet, scripted.take) as resumed:
        apart = pipeline.compare(resumed)
    tests = tuple(dataclasses.replace(change, earlier="") for change in apart.tests)  # there was a run before
    assert (tests, apart.verdict) == (whole.tests, whole.verdict)
    without_time = [dataclasses.replace(build, seconds=0, cached=True) for build in apart.builds]
    assert without_time == [dataclasses.replace(build, seconds=0, cached=True) for build in whole.builds]


def test_a_run_that_was_cut_off_goes_on_with_what_is_left(request_for, tmp_path: Path) -> None:
    booted = []

    def take(machine: Machine, *, workdir: Path, **asked: object):  # type: ignore[no-untyped-def]
        booted.append(workdir.parent.name)
        if cut and workdir.parent.name == "patched":
            raise InfraError("cut off")
        return scripted.take(machine, workdir=workdir, **asked)  # type: ignore[arg-type]

    where, cut = store.given_directory(tmp_path / "run"), True
    todo = plan.make(request_for(FAILS, PASSES, arches=["arm64"], rerun={"pairs": 0}))
    with pytest.raises(InfraError), job.start(todo, where, lambda *_: None, take) as started:
        pipeline.validate(started)
    cut = False
    proc.stop.clear()  # as in another process
    kept = where / "base" / "arm64-fast" / "guest.json"
    before = kept.stat().st_ino
    with job.resume(where, lambda *_: None, take) as resumed:
        with pytest.raises(UserError, match="another kdelta works on this run"), job.resume(where, lambda *_: None):
            pass
        run = pipeline.go_on(resumed)
    assert sorted(booted) == ["base", "patched", "patched"]
    assert kept.stat().st_ino == before
    assert changes(run)["second"] == "fixed"
    assert {guest.side: guest.outcome for guest in run.guests} == {"base": "ok", "patched": "ok"}
    assert store.load(where).status is RunStatus.DONE


def store_request(tmp_path: Path) -> Request:
    """The request that the first run wrote down."""
    return Request.model_validate_json((tmp_path / "run" / "request.json").read_bytes())


def test_a_stop_request_in_a_guest_is_no_result(request_for, tmp_path: Path) -> None:
    def stopped(machine: Machine, **_: object):  # type: ignore[no-untyped-def]
        raise Interrupted

    todo = plan.make(request_for(PASSES, FAILS))
    where = store.given_directory(tmp_path / "run")
    with pytest.raises(Interrupted), job.start(todo, where, lambda *_: None, stopped) as started:
        pipeline.validate(started)
    assert store.load(where).status is RunStatus.INTERRUPTED


def test_a_patch_in_the_middle_that_does_not_build_is_named(validate: Validate) -> None:
    run = validate(PASSES, f"SYNTAX\n{PASSES}", f"# two\n{PASSES}", f"# three\n{PASSES}", each_patch=True)
    assert [(step.number, step.arch, bool(step.error)) for step in run.steps] == [
        (1, "arm64", True),
        (2, "arm64", False),
        (1, "x86_64", True),
        (2, "x86_64", False),
    ]
    assert not any(build.error for build in run.builds)
    assert verdict(run)[0] == "regressed"
    assert "the tree after patch 1 (mm: step 0) does not build" in verdict(run)[1]


def test_without_each_patch_only_the_two_sides_are_built(validate: Validate) -> None:
    run = validate(PASSES, f"SYNTAX\n{PASSES}", f"# two\n{PASSES}")
    assert run.steps == ()
    assert verdict(run)[0] == "clean"


def test_every_flavour_is_a_lane_of_its_own(validate: Validate) -> None:
    run = validate(FAILS, PASSES, flavours=["fast", "coverage"], arches=["arm64"])
    assert {(guest.side, guest.flavour) for guest in run.guests} == {
        (side, flavour) for side in ("base", "patched") for flavour in ("fast", "coverage")
    }
    assert [change.flavour for change in run.tests if change.name == "second"] == ["fast", "coverage"]


def test_gcov_in_the_kernel_instruments_what_the_series_touches(request_for) -> None:
    todo = plan.make(request_for(FAILS, PASSES, flavours=["fast", "coverage"]))
    variables = {(cell.flavour, order.variables) for cell, order in todo.orders.items()}
    assert ("fast", ()) in variables
    [counting] = [words for flavour, words in variables if flavour == "coverage"]
    assert counting[0] == "GCOV_PROFILE_madvise.o=$(if $(filter .,$(obj)),y,n)"  # whose only Makefile is the top one


WARNING = """\
[    2.000000] WARNING: CPU: 0 PID: 44 at mm/madvise.c:790 do_madvise+0x1/0x20
[    2.000001] Call trace:
[    2.000002]  do_madvise+0x1/0x20
[    2.000003]  madvise_vma+0x1/0x20
[    2.000004] ---[ end trace 0000000000000000 ]---
"""


def test_what_only_the_patched_kernel_says_is_told_and_judges_nothing(validate: Validate) -> None:
    @contextlib.contextmanager
    def take(machine: Machine, *, workdir: Path, **asked):  # type: ignore[no-untyped-def]
        with scripted.take(machine, workdir=workdir, **asked) as kept:
            with (workdir / "console.log").open("a") as console:
                console.write("[    1.500000] madvise: is here\n" * ("# patched" in machine.image.read_text()))
            yield kept

    run = validate(PASSES, f"# patched\n{PASSES}", take=take)
    assert verdict(run)[0] == "clean"
    assert [(line.arch, line.side, line.words) for line in run.lines] == [
        (arch, Side.PATCHED, "madvise: is here") for arch in DEFAULT
    ]
    assert "new line arm64 x86_64: madvise: is here" in text.summary(run, None).replace("x86_64 arm64", "arm64 x86_64")


@contextlib.contextmanager
def warns(machine: Machine, *, workdir: Path, **asked):  # type: ignore[no-untyped-def]
    """A kernel that warns as it boots, if its image says so."""
    with scripted.take(machine, workdir=workdir, **asked) as kept:
        with (workdir / "console.log").open("a") as console:
            console.write(WARNING * ("WARN" in machine.image.read_text()))
        yield kept


def test_a_report_that_patched_alone_gives_is_regressed_and_kept_with_its_frames(validate: Validate) -> None:
    run = validate(PASSES, f"# WARN\n{PASSES}", take=warns)
    assert verdict(run) == (
        "regressed",
        " ".join(f"{arch}: 1 regressed: (boot)/(report) WARNING in do_madvise" for arch in sorted(DEFAULT)),
    )
    reports = {guest.side: guest.splats for guest in run.guests if guest.arch == "arm64"}
    assert reports["base"] == ()
    [report] = reports["patched"]
    assert report.frames == ("do_madvise", "madvise_vma")
    assert report.text == WARNING.strip()


def test_a_report_of_both_sides_is_not_the_series_doing(validate: Validate) -> None:
    assert verdict(validate(f"# WARN\n{PASSES}", f"# WARN\n# too\n{PASSES}", take=warns))[0] == "clean"


def test_a_known_report_is_shown_and_does_not_count_and_an_expired_entry_is_refused(
    validate: Validate, request_for, tmp_path: Path
) -> None:
    known = tmp_path / "known.yaml"
    entry = "known:\n- match: {title: WARNING in do_madvise}\n  reason: being fixed\n  link: https://example.org\n"
    known.write_text(f"{entry}  expiry: 2999-01-01\n")
    run = validate(PASSES, f"# WARN\n{PASSES}", take=warns, known=str(known), arches=["arm64"])
    assert verdict(run) == (
        "clean",
        "patched/arm64-fast: known warning on the console: WARNING in do_madvise (being fixed, https://example.org)",
    )
    [report] = run.guests[1].splats
    assert report.known and report.known.expiry == "2999-01-01"
    known.write_text(f"{entry}  expiry: 2001-01-01\n")
    with pytest.raises(UserError, match=r"known.yaml:5:3: 'WARNING in do_madvise' expired on 2001-01-01"):
        plan.make(store_request(tmp_path))


def test_what_a_suite_needs_and_nobody_has_is_named_before_anything_is_built(
    validate: Validate, suite: Path, tmp_path: Path
) -> None:
    (suite / "suite.yaml").write_text("name: example\nbinaries: [gone]\n")
    with pytest.raises(UserError, match=r"suite example: 'gone' names nothing for arm64"):
        validate(PASSES, FAILS, arches=["arm64"])
    proc.stop.clear()
    assert not list((tmp_path / "cache").glob("builds/*"))


def test_what_is_the_same_on_both_sides_is_made_once_before_anything_is_built(  # type: ignore[no-untyped-def]
    request_for, suite: Path, tmp_path: Path
) -> None:
    def watch(_: Cell, stage: str) -> None:
        if stage == "build":
            (suite / "main.c").unlink(missing_ok=True)  # who looks again finds nothing

    todo = plan.make(request_for(FAILS, PASSES, arches=["arm64"]))
    with job.start(todo, store.given_directory(tmp_path / "run"), watch, scripted.take) as started:
        run = pipeline.validate(started)
    assert changes(run)["second"] == "fixed"
