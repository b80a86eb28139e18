"""One tree, one cell: a kernel image with its .config, from the cache if the same inputs were built before."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import disk, proc
from kvm.arch import get as get_arch
from kvm.errors import BuildError, InfraError, UserError
from orchestrator import cache
from orchestrator.build import kconfig, toolchain
from orchestrator.build.quota import Quota
from orchestrator.build.sandbox import OBJ, SRC, Sandbox
from orchestrator.intake import git, tree
from orchestrator.intake.source import Source
from orchestrator.model import BuildRecord, Cell

RECIPE = 1  # raise it when the same inputs would give another image
FULL_BYTES = 16 << 20  # less room than this is none
_HIDDEN = "half-built"  # marks objects that a killed make may have left half written
_USAGE = ".cpu-seconds"
_LAST = "built-from"  # names the tree that the objects were built from


@dataclass(frozen=True)
class Order:
    """What to build: `files` is the git tree id, `wish` the Kconfig fragments as one text."""

    cell: Cell
    source: Source
    files: str
    wish: str
    jobs: int
    limit_seconds: float
    quota: Quota


@dataclass(frozen=True)
class KernelBuild:
    """What came out. `seconds` and `cpu_seconds` are what this build cost when it was made, cached or not."""

    cell: Cell
    directory: Path
    image_sha256: str
    config_sha256: str
    seconds: float
    cpu_seconds: float
    cached: bool

    @property
    def image(self) -> Path:
        """The bootable image."""
        return self.directory / "image"

    @property
    def config(self) -> Path:
        """The final .config."""
        return self.directory / "config"

    @property
    def log(self) -> Path:
        """All that make said."""
        return self.directory / "build.log"

    def record(self, *, noop: bool) -> BuildRecord:
        """Say it for run.json; `noop` when the image is the one of base."""
        cell = self.cell
        return BuildRecord(
            side=cell.side,
            arch=cell.arch,
            flavour=cell.flavour,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            cached=self.cached,
            image_sha256=self.image_sha256,
            noop=noop,
            log=f"{cell}/build.log",
        )


def failed(cell: Cell, fault: BuildError) -> BuildRecord:
    """Say for run.json that a side does not build."""
    return BuildRecord(
        cell.side, cell.arch, cell.flavour, 0.0, 0.0, False, None, False, f"{cell}/build.log", error=fault.message
    )


def key(order: Order) -> str:
    """Name the build by all that can change its image."""
    inputs = [RECIPE, order.files, order.cell.arch, order.wish, toolchain.find(order.cell.arch).version]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:40]


def find(order: Order, cache_dir: Path) -> KernelBuild | None:
    """Return the finished build from the cache; one whose image does not match its hash is thrown away."""
    directory = cache_dir / "builds" / key(order)
    try:
        facts = json.loads((directory / "build.json").read_text(encoding="utf-8"))
        build = KernelBuild(cell=order.cell, directory=directory, cached=True, **facts)
        whole = (_sha256(build.image), _sha256(build.config)) == (build.image_sha256, build.config_sha256)
    except (OSError, ValueError, TypeError):
        whole = False
    if not whole:
        shutil.rmtree(directory, ignore_errors=True)
        return None
    os.utime(directory)  # last use, for gc
    return build


def newest_image(arch: str, cache_dir: Path) -> Path | None:
    """Return the image for `arch` that was used last, of any tree."""
    images = [path.with_name("image") for path in cache_dir.glob(f"builds/*/{arch}")]
    return max(images, key=lambda path: path.parent.stat().st_mtime, default=None)


def build(order: Order, cache_dir: Path, log: Path) -> KernelBuild:
    """Build, or find built; make's words go to `log` as they come. Raises BuildError when the tree does not build."""
    with disk.lock(cache_dir / "locks" / f"objects-{_objects(order)}"):
        if done := find(order, cache_dir):
            shutil.copyfile(done.log, log)
            return done
        sources = tree.checkout(order.source, order.files, cache_dir)
        with _objects_for(order, sources, cache_dir) as objects:
            ccache = cache_dir / "ccache"
            ccache.mkdir(parents=True, exist_ok=True)
            made = _Make(order, Sandbox(sources, objects, ccache, _ENV), log)
            made.configure()
            made.compile()
            return _keep(order, made, cache_dir)


# Whatever differs between two builds of one tree by itself is nailed down (Documentation/kbuild/reproducible-builds).
_ENV = {
    "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
    "KBUILD_BUILD_USER": "kdelta",
    "KBUILD_BUILD_HOST": "kdelta",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
}


class _Unfinished(BuildError):
    """make was killed at a limit: what it left cannot be trusted."""


class _Make:
    """make in the sandbox, with the time it took added up."""

    def __init__(self, order: Order, sandbox: Sandbox, log: Path) -> None:
        self.order = order
        self.sandbox = sandbox
        self.log = log
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        log.write_bytes(b"")

    def configure(self) -> None:
        """Merge the fragments onto tinyconfig and check that every option asked for is there."""
        config = self.sandbox.obj / ".config"
        before = config.read_bytes() if config.is_file() else None
        time = config.stat() if before else None
        self._make("tinyconfig")
        with config.open("a", encoding="utf-8") as out:
            out.write("\n" + self.order.wish)
        self._make("olddefconfig")
        if before == config.read_bytes() and time:  # the same answer must not rebuild what hangs on its time
            os.utime(config, ns=(time.st_atime_ns, time.st_mtime_ns))
        if lost := kconfig.dropped(self.order.wish, config.read_text(encoding="utf-8")):
            names = ", ".join(f"CONFIG_{loss.option}" for loss in lost)
            raise UserError(
                f"{self.order.cell}: olddefconfig dropped {names}: {kconfig.describe(lost, self._why(lost))}",
                hint="add what they depend on to the fragment, or take them out",
                log=self.log,
            )

    def compile(self) -> None:
        """Build the image."""
        arch = get_arch(self.order.cell.arch)
        self._make(Path(arch.image).name, f"-j{self.order.jobs}")

    def _make(self, *goals: str) -> None:
        arch = get_arch(self.order.cell.arch)
        prefix = toolchain.find(arch.name).prefix
        argv = [
            *("make", "-C", SRC, f"O={OBJ}", f"ARCH={arch.name}"),
            *(f"CROSS_COMPILE={prefix}", f"CC=ccache {prefix}gcc", "HOSTCC=ccache gcc"),
            *goals,
        ]
        # bwrap does not reap what it ran, so its own usage says nothing: GNU time asks inside.
        timed = ["time", "--quiet", "--format=%U %S", f"--output={OBJ}/{_USAGE}", *argv]
        quota, limit = self.order.quota, self.order.limit_seconds
        with quota.fence() as fence:
            words = [*fence, *self.sandbox.argv(timed)]
            done = proc.run(words, output=self.log, timeout=limit, police=quota.exceeded)
        self.seconds += done.seconds
        self.cpu_seconds += _cpu_seconds(self.sandbox.obj / _USAGE)
        if done.charge:
            raise _Unfinished(f"{self.order.cell}: {done.charge}, and was ended", log=self.log)
        if done.timed_out:
            raise _Unfinished(
                f"{self.order.cell}: make {goals[0]} did not end in {self.order.limit_seconds:.0f} s",
                hint="limits.build in pipeline.yaml",
                log=self.log,
            )
        if done.returncode:
            raise self._failure(goals[0])

    def _failure(self, goal: str) -> BuildError | InfraError:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if "No space left on device" in text and disk.room(self.sandbox.obj) < FULL_BYTES:
            return InfraError(f"{self.order.cell}: the disk is full", hint="`kdelta gc` frees space", log=self.log)
        first = re.search(r"^(bwrap: .*|.*\berror: .*|.*\*\*\* .*)$", text, re.MULTILINE)
        words = first[1] if first else "make gave no reason"
        if words.startswith("bwrap: "):
            return InfraError(f"{self.order.cell}: the sandbox did not start: {words}", log=self.log)
        return BuildError(f"{self.order.cell}: make {goal} failed: {words.replace(f'{SRC}/', '')}", log=self.log)

    def _why(self, lost: list[kconfig.Dropped]) -> dict[str, str]:
        """Ask Kconfig itself which dependency is not met; no answer is no fault."""
        import kconfiglib  # noqa: PLC0415  (only here, and it is large)

        arch = get_arch(self.order.cell.arch)
        prefix = toolchain.find(arch.name).prefix
        env = {
            **{"srctree": SRC, "ARCH": arch.name, "SRCARCH": arch.srcarch, "CONFIG_": "CONFIG_"},
            **{"CC": f"{prefix}gcc", "LD": f"{prefix}ld", "KERNELVERSION": self.order.source.release},
        }
        readable = {
            "/tmp/why/kconfiglib.py": Path(kconfiglib.__file__),  # noqa: S108
            "/tmp/why/why.py": Path(__file__).with_name("kconfig_why.py"),  # noqa: S108
        }
        inside = replace(self.sandbox, env={**self.sandbox.env, **env}, readable=readable)
        argv = ["python3", "/tmp/why/why.py", "/tmp/why", *(loss.option for loss in lost)]  # noqa: S108
        done = proc.run(inside.argv(argv), timeout=120)
        return dict(line.split("\t", 1) for line in done.output.splitlines() if "\t" in line)


def _objects(order: Order) -> str:
    """Name the O= directory: base and every version of a series share one, so that only what differs is rebuilt."""
    inputs = [RECIPE, order.source.tree, order.cell.arch, order.wish, toolchain.find(order.cell.arch).version]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:40]


@contextlib.contextmanager
def _objects_for(order: Order, sources: Path, cache_dir: Path) -> Iterator[Path]:
    """Yield the O= directory, ready to be taken to the wanted tree; the caller holds its lock."""
    objects = cache_dir / "objects" / _objects(order)
    last = objects.with_suffix(f".{_LAST}")
    dirty = objects.with_suffix(f".{_HIDDEN}")
    if dirty.exists() or not _move(order, last, sources):
        shutil.rmtree(objects, ignore_errors=True)
    objects.mkdir(parents=True, exist_ok=True)
    dirty.touch()
    last.write_text(order.files, encoding="utf-8")
    try:
        yield objects
    except _Unfinished:
        raise
    except BuildError:
        dirty.unlink()  # make itself ended: what it left is consistent
        raise
    else:
        dirty.unlink()


def _move(order: Order, last: Path, sources: Path) -> bool:
    """Make what differs between the last tree and this one newer than the objects; false if that is not known."""
    try:
        previous = last.read_text(encoding="utf-8")
        differing = git.Repository(order.source.git_dir).changed_files(previous, order.files)
    except (OSError, InfraError):
        return False
    tree.touch(sources, differing)
    return True


def _keep(order: Order, made: _Make, cache_dir: Path) -> KernelBuild:
    final = cache_dir / "builds" / key(order)
    objects = made.sandbox.obj
    with cache.publish(final) as draft:
        shutil.copyfile(objects / get_arch(order.cell.arch).image, draft / "image")
        shutil.copyfile(objects / ".config", draft / "config")
        shutil.copyfile(made.log, draft / "build.log")
        (draft / order.cell.arch).touch()
        facts: dict[str, object] = {
            "image_sha256": _sha256(draft / "image"),
            "config_sha256": _sha256(draft / "config"),
            "seconds": round(made.seconds, 3),
            "cpu_seconds": round(made.cpu_seconds, 3),
        }
        (draft / "build.json").write_text(json.dumps(facts), encoding="utf-8")
    build = find(order, cache_dir)
    if build is None:
        raise InfraError(f"{order.cell}: the build vanished from the cache as it was stored", hint=f"look at {final}")
    return replace(build, cached=False)


def _cpu_seconds(usage: Path) -> float:
    try:
        return sum(float(word) for word in usage.read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # make was killed before it ended
        return 0.0


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
