"""Selftests out of the tree under test: built in the sandbox, kept by what they are made of."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from kvm import disk
from kvm.arch import get as get_arch
from orchestrator import cache
from orchestrator.build.order import Order
from orchestrator.build.sandbox import OBJ, SRC, Escape, Sandbox
from orchestrator.build.unsandboxed import Unsandboxed
from orchestrator.intake import git
from orchestrator.model import Outcome, Side
from orchestrator.trial.suites.debian import Packages
from orchestrator.trial.suites.run import Run, Unrun
from orchestrator.trial.suites.suite import Copy, Suite

log = logging.getLogger(__name__)

TREE = "tools/testing/selftests"
SECONDS = 45.0  # kselftest's own limit for a program whose target has no `settings`
LONGEST_SECONDS = 1800.0  # where `settings` say that there is none (`timeout=0`): nobody waits for ever
OTHER_NAMES = {"mm": "vm", "vm": "mm"}
_RECIPE = 1
_SCRIPT = Path(__file__).with_name("selftests_inside.py")
_INSIDE = "/tmp/inside.py"  # noqa: S108  (in the sandbox)
_SYSROOT = "/tmp/sysroot"  # noqa: S108  (in the sandbox)
_HEADERS = "/tmp/headers.tar"  # noqa: S108  (in the sandbox)
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class _Target:
    """What the script says of one target."""

    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unbuilt: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    below: dict[str, "_Target"] = field(default_factory=dict)
    absent: bool = False
    fault: str = ""


_ANSWER: TypeAdapter[dict[str, _Target]] = TypeAdapter(dict[str, _Target])


@dataclass(frozen=True)
class Made:
    """What a suite of selftests is: files by place, what to run of them, and what cannot be run."""

    files: dict[str, Path]
    runs: tuple[Run, ...]
    unrun: tuple[Unrun, ...]


def whose(suite: Suite, side: Side) -> Side:
    """Return the side whose copy runs in the guests of `side`."""
    return side if suite.copy is Copy.OWN else Side(suite.copy)


def make(suite: Suite, order: Order, sources: Path, cache_dir: Path, packages: Packages | None) -> Made:
    """Build the targets of `suite` in the tree of `order`, or find them built."""
    final = cache.keep(cache_dir / "suites" / cache.key(_inputs(suite, order, packages)))
    made = cache.find(final, lambda directory: _read(suite, directory))
    if made:
        return made
    log.info("building selftests of %s for %s", ", ".join(suite.targets), order.cell)
    with disk.scratch("kdelta-selftests-") as scratch:
        work = scratch / "objects"
        work.mkdir()
        if fault := _build(suite, order, sources, work, cache_dir, packages):
            return Made({}, (), tuple(Unrun(name, Outcome.FAIL, fault) for name in suite.targets))
        with cache.publish(final) as draft:
            _keep(work, draft)
            cache.seal(draft)
        if (work / "headers.tar").exists():
            with cache.publish(_headers(order, cache_dir)) as draft:
                (draft / "headers.tar").write_bytes(disk.read(work / "headers.tar", _MOST_BYTES))
                cache.seal(draft)
    return _read(suite, final)


def _inputs(suite: Suite, order: Order, packages: Packages | None) -> list[object]:
    """All that can change what is built."""
    debs = packages.versions if packages else ()
    return [*_tree(order), suite.targets, _asked(suite), debs]


def _tree(order: Order) -> list[object]:
    """Of the tree, what selftests and the headers for user space are made of, and with what."""
    repository = git.Repository(order.source.git_dir)
    parts = ("tools", "include", "scripts", "usr", "Makefile", f"arch/{get_arch(order.cell.arch).srcarch}")
    ids = [repository.id(f"{order.files}:{part}") for part in parts]
    return [_RECIPE, cache.sha256(_SCRIPT), ids, order.toolchain.identity, order.cell.arch]


def _headers(order: Order, cache_dir: Path) -> Path:
    """Where the headers of a tree are kept for its next suite: one with the same Makefiles, which may change them."""
    return cache.keep(cache_dir / "suites" / cache.key(["headers", *_tree(order)]))


def _asked(suite: Suite) -> list[str]:
    """The programs that are named, without their arguments."""
    return sorted({program.split()[0] for program in suite.programs})


def _build(suite: Suite, order: Order, sources: Path, work: Path, cache_dir: Path, packages: Packages | None) -> str:
    """Run the script in the sandbox, in `work`; return why it brought nothing back."""
    arch = get_arch(order.cell.arch)
    libraries, headers = f"{_SYSROOT}/usr/lib/{arch.triplet}", f"{_SYSROOT}/usr/include"
    job = {
        "targets": suite.targets,
        "programs": _asked(suite),
        "jobs": order.jobs,
        "variables": [f"ARCH={arch.kbuild}", f"CROSS_COMPILE={arch.prefix}"],
        "env": {
            "MACHINE": arch.name,  # what mm's Makefile would ask uname for
            # the kernel's headers first; static, so that programs need nothing of the guest
            "C_INCLUDE_PATH": f"{OBJ}/headers/usr/include:{headers}:{headers}/{arch.triplet}",
            "LDFLAGS": f"-static -L{libraries}",
        },
    }
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    made = cache.find(_headers(order, cache_dir), lambda kept: kept / "headers.tar")
    readable = {_INSIDE: _SCRIPT} | ({_HEADERS: made} if made else {})
    if packages:
        readable[_SYSROOT] = packages.merged(work.with_name("sysroot"))
    room = Sandbox if order.sandboxed else Unsandboxed
    box = room(sources, work, cache_dir / "ccache", order.quota, readable=readable)
    try:
        words = ["python3", "-I", _INSIDE, SRC, OBJ, *([_HEADERS] if made else [])]
        done = box.run(words, output=work.with_name("log"), timeout=order.limit_seconds)
    except Escape as fault:
        return fault.message
    if done.charge or done.timed_out:
        return done.charge or f"no end in {order.limit_seconds:.0f} s (limits.build)"
    return "" if (work / "answer.json").is_file() else "make gave no reason"


def _keep(work: Path, draft: Path) -> None:
    """Take what a tree's Makefiles left, which are not trusted: plain files, of a length."""
    out, places = work / "out", {}
    for number, path in enumerate(sorted(one for one in out.rglob("*") if one.is_file() and not one.is_symlink())):
        content = disk.read(path, _MOST_BYTES)
        kept = draft / f"{number:05d}"
        kept.write_bytes(content)
        kept.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
        places[str(path.relative_to(out))] = kept.name
    answer = _ANSWER.validate_json(disk.read(work / "answer.json", _MOST_BYTES))
    (draft / "answer.json").write_bytes(_ANSWER.dump_json(answer))
    (draft / "files.json").write_text(json.dumps(places), encoding="utf-8")


def _read(suite: Suite, directory: Path) -> Made:
    """Read what was kept, and say what of it is to be run."""
    places: dict[str, str] = json.loads((directory / "files.json").read_text(encoding="utf-8"))
    files = {place: directory / kept for place, kept in places.items()}
    targets = dict(_flat(_ANSWER.validate_json((directory / "answer.json").read_bytes())))
    unrun = [Unrun(name, Outcome.SKIP, "the tree has no such selftests") for name, one in targets.items() if one.absent]
    unrun += [Unrun(name, Outcome.FAIL, one.fault) for name, one in targets.items() if one.fault]
    runs: list[Run] = []
    named = Counter(words.split()[0] for words in suite.programs)  # with other arguments it is another test
    for words in suite.programs or [f"{target}/{one}" for target, found in targets.items() for one in found.programs]:
        name, _, args = words.partition(" ")
        target = targets.get(name.rpartition("/")[0], _Target())
        if name in files:
            runs.append(_run(suite, name, args, target, words if named[name] > 1 else name))
        elif suite.programs and name.rpartition("/")[2] not in target.unbuilt and not target.absent:
            unrun.append(Unrun(name, Outcome.SKIP, "the tree has no such selftest"))
    for name, one in targets.items():
        unrun += (
            Unrun(f"{name}/{program}", Outcome.FAIL, f"does not compile: {why}") for program, why in one.unbuilt.items()
        )
    return Made(files, tuple(runs), tuple(unrun))


def _flat(targets: Mapping[str, _Target]) -> Iterable[tuple[str, _Target]]:
    for name, target in targets.items():
        yield name, target
        yield from _flat(target.below)


def _run(suite: Suite, name: str, args: str, target: _Target, known_as: str) -> Run:
    directory, _, program = name.rpartition("/")
    own = SECONDS if target.seconds is None else target.seconds
    seconds = suite.timeout or own or LONGEST_SECONDS
    return Run(known_as, f"./{program} {args}".rstrip(), name, directory, seconds)


def config(suite: Suite, order_files: str, repository: git.Repository) -> str:
    """Return the Kconfig fragments of the suite's targets in one tree."""
    texts: list[str] = []
    for target in suite.targets:
        first, slash, rest = target.partition("/")
        for name in (target, f"{OTHER_NAMES.get(first, first)}{slash}{rest}"):
            if (text := repository.text(order_files, f"{TREE}/{name}/config")) is not None:
                texts.append(text)
                break
    return "\n".join(texts)
