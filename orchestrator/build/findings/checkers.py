"""Static checkers, a row each: what to run over one side, and how to read what it said.

They run in the sandbox, because a series may bring sources made to harm them. checkpatch, kernel-doc and the semantic
patches are base's on both sides: a series cannot change its judge. A checker that cannot run is a note, never silence.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.build.findings import warnings
from orchestrator.build.findings.units import Units
from orchestrator.build.findings.words import path, plain
from orchestrator.build.sandbox import DENIED, PATH, SRC, Sandbox
from orchestrator.model import Finding

JUDGE = "/judge"  # base's tree, on both sides

_CHECKED = re.compile(r"^ {2}CHECK(?: \[M\])? +(\S+)$", re.MULTILINE)
_COCCI = re.compile(r"^(?P<file>[^\s:][^:]*):(?P<line>\d{1,9}):(?P<column>\d{1,9})-\d+: (?P<message>.*)$", re.ASCII)
_COCCI_OPTIONS = re.compile(r"^// Options: *(.*)$", re.MULTILINE)
_COCCI_REPORT = re.compile(r"^virtual\b.*\breport\b", re.MULTILINE)
_PATCH = re.compile(r"(?:WARNING|ERROR|CHECK):(?P<kind>[A-Z0-9_]+): (?P<message>.*)")
_PATCH_PLACE = re.compile(r"#\d+: FILE: (?P<file>[^:]+):(?P<line>\d{1,9}):", re.ASCII)


@dataclass(frozen=True)
class Scene:
    """One side, as checkers see it: `sandbox` holds its tree and an O= configured for it, `judge` is base's tree.

    `make` is make with its variables; `files` are what the series touches and this side has; `objects` are to be
    compiled from them; `patches` are the mails of the series, on patched only.
    """

    sandbox: Sandbox
    judge: Path
    make: tuple[str, ...]
    files: tuple[str, ...]
    objects: tuple[str, ...] = ()
    patches: tuple[Path, ...] = ()
    limit_seconds: float = 600.0


@dataclass(frozen=True)
class Task:
    """One command. `about` is what it looks at: files or a patch; `rule` is the semantic patch, if it is one."""

    argv: list[str]
    about: tuple[str, ...]
    rule: str = ""


@dataclass(frozen=True)
class Checker:
    """One row. `read` gives what was looked at, with the findings; `per_arch` says whether architectures can differ.

    `judges_patches` marks one that has nothing to say about base: all it finds is new. `helpers` are programs without
    which it says less.
    """

    name: str
    program: str
    tasks: Callable[[Scene], Iterator[Task]]
    read: Callable[[str, Task], Units]
    script: str = ""  # what base's tree must have
    per_arch: bool = False
    judges_patches: bool = False
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What one checker said of one side: every unit it looked at, and what it could not do.

    It is `late` for want of time or room, and may say more the next time.
    """

    units: Units
    notes: tuple[str, ...] = ()
    late: bool = False


def run(checker: Checker, scene: Scene) -> Checked:
    """Run one checker over one side; what goes wrong is a note, and what it did not look at is not in the answer."""
    if not shutil.which(checker.program, path=PATH):
        return Checked({}, (f"{checker.program} is not installed",))
    if checker.script and not (scene.judge / checker.script).exists():
        return Checked({}, (f"{checker.name}: base has no {checker.script}",))
    answer = Checked({})
    deadline = time.monotonic() + scene.limit_seconds
    for task in checker.tasks(scene):
        seen = _run(checker, task, scene, deadline - time.monotonic())
        notes = (f"{checker.name}: {note}" for note in seen.notes)
        answer = Checked(answer.units | seen.units, (*answer.notes, *notes), answer.late or seen.late)
    denied = tuple(f"{checker.name}: {DENIED}{deed}" for deed in scene.sandbox.tried)
    return replace(answer, notes=(*answer.notes, *denied))


def _run(checker: Checker, task: Task, scene: Scene, limit_seconds: float) -> Checked:
    """One task; a non-zero exit without a finding is no answer."""
    what = task.rule or ", ".join(task.about[:3]) + (" ..." if len(task.about) > 3 else "")
    if limit_seconds <= 0:
        return Checked({}, (f"no time left for {what}",), late=True)
    done = _inside(scene).run(task.argv, timeout=limit_seconds)
    if done.charge:
        return Checked({}, (f"no answer on {what}: {done.charge}",), late=True)
    if done.timed_out:
        return Checked({}, (f"no end after {limit_seconds:.0f} s on {what}",), late=True)
    units = checker.read(done.output, task)
    if done.returncode and not any(units.values()):
        words = (done.output.strip().splitlines() or ["no output"])[-1]
        return Checked({}, (f"no answer on {what} (exit {done.returncode}): {words[:200]}",))
    return Checked(units)


def _inside(scene: Scene) -> Sandbox:
    mails = {_mail(number): patch for number, patch in enumerate(scene.patches)}
    return replace(scene.sandbox, readable={**scene.sandbox.readable, JUDGE: scene.judge, **mails})


def _mail(number: int) -> str:
    return f"/patches/{number:04d}.patch"


def _sources(scene: Scene) -> tuple[str, ...]:
    return tuple(file for file in scene.files if file.endswith((".c", ".h")))


def _make_check(command: str) -> Callable[[Scene], Iterator[Task]]:
    """C=2 checks what is compiled already without compiling it again; -k goes on behind an object that cannot be."""

    def tasks(scene: Scene) -> Iterator[Task]:
        if scene.objects:
            yield Task([*scene.make, "-k", "C=2", f"CHECK={command}", *scene.objects], scene.objects)

    return tasks


def _read_make(tool: str) -> Callable[[str, Task], Units]:
    """Everything that make says it checked was looked at; the compiler's own words are the build's."""

    def read(output: str, task: Task) -> Units:
        stems = {name.rpartition(".")[0] for name in task.about}
        units: dict[str, list[Finding]] = {}
        for hit in _CHECKED.finditer(output):
            if path(hit[1]).rpartition(".")[0] in stems:
                units[path(hit[1])] = []
        for finding in warnings.parse(output, tool):
            unit = finding.chain[0] if finding.chain else finding.file
            if finding.tool == tool and unit in units:
                units[unit].append(finding)
        return {unit: tuple(found) for unit, found in units.items()}

    return read


def _kernel_doc(scene: Scene) -> Iterator[Task]:
    if files := _sources(scene):
        yield Task([f"{JUDGE}/scripts/kernel-doc", "-none", *(f"{SRC}/{file}" for file in files)], files)


def _read_kernel_doc(output: str, task: Task) -> Units:
    found = [finding for finding in warnings.parse(output, "kernel-doc") if finding.tool == "kernel-doc"]
    return {file: tuple(one for one in found if one.file == file) for file in task.about}


def _coccinelle(scene: Scene) -> Iterator[Task]:
    top = scene.judge / "scripts" / "coccinelle"
    files = _sources(scene)
    for script in sorted(top.rglob("*.cocci")) if files else ():
        text = script.read_text(encoding="utf-8", errors="replace")
        if _COCCI_REPORT.search(text):
            rule = script.relative_to(top).with_suffix("").as_posix()
            inside = f"{JUDGE}/{script.relative_to(scene.judge)}"
            fixed = ["-D", "report", "--no-show-diff", "--very-quiet", "--cocci-file", inside]
            yield Task(["spatch", *fixed, *_options(text), *(f"{SRC}/{file}" for file in files)], files, rule)


def _options(script: str) -> list[str]:
    """What the semantic patch itself asks for; `--very-quiet` is given already, and spatch takes it once."""
    found = _COCCI_OPTIONS.search(script)
    words = found[1].split() if found else []
    return [word for word in words if word.startswith("--") and word != "--very-quiet"]


def _read_coccinelle(output: str, task: Task) -> Units:
    """A unit is a file under one semantic patch: another one may have had no time."""
    units: dict[str, list[Finding]] = {file: [] for file in task.about}
    for line in output.splitlines():
        if (hit := _COCCI.match(line)) and (file := path(hit["file"])) in units:
            place = int(hit["line"]), int(hit["column"])
            units[file].append(Finding("coccinelle", task.rule, file, *place, plain(hit["message"])))
    return {f"{file} {task.rule}": tuple(found) for file, found in units.items()}


def _checkpatch(scene: Scene) -> Iterator[Task]:
    fixed = [f"{JUDGE}/scripts/checkpatch.pl", f"--root={JUDGE}", "--show-types", "--no-summary", "--color=never"]
    for number, patch in enumerate(scene.patches):
        yield Task([*fixed, _mail(number)], (patch.name,))


def _read_checkpatch(output: str, task: Task) -> Units:
    """A finding is a line with its type; the next line gives its place, unless it is about the mail as a whole."""
    found: list[Finding] = []
    waiting: re.Match[str] | None = None
    for line in [*output.splitlines(), ""]:
        if waiting:
            place = _PATCH_PLACE.match(line)
            file, number = (place["file"], int(place["line"])) if place else (task.about[0], 0)
            found.append(Finding("checkpatch", waiting["kind"], file, number, 0, plain(waiting["message"])))
        waiting = _PATCH.match(line)
    return {task.about[0]: tuple(found)}


CHECKERS: tuple[Checker, ...] = (
    Checker("sparse", "sparse", _make_check("sparse"), _read_make("sparse"), per_arch=True),
    Checker("smatch", "smatch", _make_check("smatch -p=kernel"), _read_make("smatch"), per_arch=True),
    Checker("kernel-doc", "perl", _kernel_doc, _read_kernel_doc, script="scripts/kernel-doc"),
    Checker(
        "coccinelle",
        "spatch",
        _coccinelle,
        _read_coccinelle,
        script="scripts/coccinelle",
        helpers=("ocamlopt", "ocamlopt.opt"),  # for semantic patches with parts in OCaml
    ),
    Checker("checkpatch", "perl", _checkpatch, _read_checkpatch, script="scripts/checkpatch.pl", judges_patches=True),
)


def named(names: tuple[str, ...]) -> tuple[Checker, ...]:
    """Return the rows of these names, in the table's order; a name that no row has is a KeyError."""
    rows = {checker.name: checker for checker in CHECKERS}
    return tuple(rows[name] for name in rows if rows[name].name in {rows[asked].name for asked in names})
