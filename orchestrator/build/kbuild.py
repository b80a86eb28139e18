"""One order in, a kernel image with its .config out, from the cache if the same inputs were built before."""

import contextlib
import io
import json
import logging
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import disk
from kvm.arch import get as get_arch
from kvm.errors import BuildError, InfraError
from orchestrator import cache
from orchestrator.build import ccache, dissect, kconfig, objdir
from orchestrator.build.findings import units
from orchestrator.build.findings.units import Units
from orchestrator.build.make import ENV, Make
from orchestrator.build.order import Order
from orchestrator.build.sandbox import Escape, Sandbox
from orchestrator.build.unsandboxed import Unsandboxed
from orchestrator.intake import tree
from orchestrator.model import BuildRecord, Cell

log = logging.getLogger(__name__)

IMAGE_BYTES = 1 << 30  # no boot loader takes more
MODULES_BYTES = 1 << 29  # all that are kept of one kernel
ORDER_BYTES = 16 << 20  # an allmodconfig names 10,000
_FACTS = "build.json"
_FINDINGS = "findings.json"
_MODULES = "modules.tar"
_ORDER = "modules.order"


@dataclass(frozen=True)
class KernelBuild:
    """What came out. `seconds` and `cpu_seconds` are what this build cost when it was made, cached or not.

    `setting` names what it is a measure for: nothing, if a series could have forged it.
    """

    cell: Cell
    directory: Path
    image_sha256: str
    config_sha256: str
    seconds: float
    cpu_seconds: float
    cached: bool
    ccache_hits: int = 0
    ccache_asked: int = 0
    ccache_saved_cpu_seconds: float | None = None
    setting: str = ""
    tried: tuple[str, ...] = ()
    modules_sha256: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """What two kernels that are the same have in common: image and modules."""
        return self.image_sha256, self.modules_sha256

    @property
    def image(self) -> Path:
        """The bootable image."""
        return self.directory / "image"

    @property
    def config(self) -> Path:
        """The final .config."""
        return self.directory / "config"

    @property
    def modules(self) -> Path | None:
        """The archive of the modules; None if it has none."""
        archive = self.directory / _MODULES
        return archive if archive.is_file() else None

    @property
    def findings(self) -> Units:
        """What the compilers said of each object, whichever make compiled it."""
        found = units.load(self.directory / _FINDINGS)
        if found is None:
            raise InfraError(f"{self.directory / _FINDINGS} was damaged", hint="run it again: it will be built anew")
        return found

    @property
    def log(self) -> Path:
        """All that make said."""
        return self.directory / "build.log"

    def record(self, *, noop: bool) -> BuildRecord:
        """Say it for run.json; `noop` when the kernel is the one of base."""
        cell = self.cell
        return BuildRecord(
            side=cell.side,
            arch=cell.arch,
            flavour=cell.flavour,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            cached=self.cached,
            image_sha256=self.image_sha256,
            modules_sha256=self.modules_sha256,
            noop=noop,
            log=f"{cell}/build.log",
            ccache_hits=self.ccache_hits,
            ccache_asked=self.ccache_asked,
            ccache_saved_cpu_seconds=self.ccache_saved_cpu_seconds,
            tried=self.tried,
            image_bytes=self.image.stat().st_size,
        )


def failed(cell: Cell, fault: BuildError) -> BuildRecord:
    """Say for run.json that a side does not build."""
    return BuildRecord(
        cell.side,
        cell.arch,
        cell.flavour,
        0.0,
        0.0,
        False,
        None,
        False,
        f"{cell}/build.log",
        error=fault.message,
        tried=fault.tried,
        unfinished=fault.unfinished,
    )


def find(order: Order, cache_dir: Path) -> KernelBuild | None:
    """Return the finished build from the cache, if it is there and as it was written."""

    def read(directory: Path) -> KernelBuild:
        facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
        tried = tuple(facts.pop("tried", ()))
        return KernelBuild(cell=order.cell, directory=directory, cached=True, tried=tried, **facts)

    return cache.find(cache_dir / "builds" / order.key, read)


def newest_image(arch: str, cache_dir: Path) -> Path | None:
    """Return the image for `arch` that was used last, of any tree."""
    images = [path.with_name("image") for path in cache_dir.glob(f"builds/*/{arch}")]
    return max(images, key=lambda path: path.parent.stat().st_mtime, default=None)


def build(order: Order, cache_dir: Path, log: Path) -> KernelBuild:
    """Build, or find built; make's words go to `log` as they come. Raises BuildError when the tree does not build."""
    with disk.hold(cache_dir / "builds" / order.key):
        done = find(order, cache_dir)  # whatever another run makes in that O= now
        if not done:
            with objdir.lock(order, cache_dir):
                done = find(order, cache_dir)
                if not done:
                    with _compiled(order, cache_dir, log) as (made, findings):
                        return _keep(order, made, findings, cache_dir)
        shutil.copyfile(done.log, log)
        return done


@contextlib.contextmanager
def compiled(order: Order, cache_dir: Path, log: Path) -> Iterator[Make]:
    """Lend make in an O= in which `order` is compiled; no other run moves it to another tree meanwhile."""
    with objdir.lock(order, cache_dir), _compiled(order, cache_dir, log) as (made, _):
        yield made


@contextlib.contextmanager
def _compiled(order: Order, cache_dir: Path, log: Path) -> Iterator[tuple[Make, Units]]:
    """Compile `order` on top of what the last one left in its O=; the caller holds the lock."""
    if order.start:
        _compile_start(order.start, cache_dir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk.hold(cache_dir / "trees" / order.files))
        sources = tree.checkout(order.source, order.files, cache_dir)
        objects = stack.enter_context(objdir.lend(order, sources, cache_dir))
        room, env = Sandbox if order.sandboxed else Unsandboxed, {**ENV, "CCACHE_MAXSIZE": f"{order.ccache_mib}Mi"}
        box = room(
            sources, objects, cache_dir / "ccache", order.quota, env, trusted=not order.start, shared=ccache.shared()
        )
        made = Make(order, box, log)
        try:
            made.configure()
            objdir.adopt(order, made.config, cache_dir)
            made.compile()
        except BuildError as fault:
            fault.tried = tuple(box.tried)
            if not (fault.unfinished or isinstance(fault, Escape)):  # of which nothing is used
                _record(made)
            raise
        yield made, _record(made)


def _compile_start(start: Order, cache_dir: Path) -> None:
    """See that there are objects of the user's own tree to start from; without them make starts from nothing.

    They may be gone (gc), or not made yet: of a series that is taken out of the tree, base is built first.
    """
    with objdir.lock(start, cache_dir):
        known = find(start, cache_dir)
        if objdir.is_usable(start, cache_dir) or (objdir.is_spoiled(start, cache_dir) and not known):
            return  # the latter was ended at a limit, and would be again
        with (
            tempfile.TemporaryDirectory(prefix="kdelta-start-") as scratch,
            contextlib.suppress(BuildError),
            _compiled(start, cache_dir, Path(scratch) / "log") as (made, findings),
        ):
            if not known:
                _keep(start, made, findings, cache_dir)


def _record(made: Make) -> Units:
    """Bring up to date what is known of the objects, by what make said."""
    said = made.log.read_text(encoding="utf-8", errors="replace")
    box = made.sandbox
    return units.record(objdir.findings(box.obj), said, src=box.src, obj=box.obj)


def _keep(order: Order, made: Make, findings: Units, cache_dir: Path) -> KernelBuild:
    final = cache_dir / "builds" / order.key
    objects = made.sandbox.obj
    use = ccache.Use(*made.ccache(), round(made.cpu_seconds, 3))
    known = ccache.measures((cache_dir / "builds").glob(f"*/{_FACTS}"), order.setting)
    with cache.publish(final) as draft:
        _take(made, get_arch(order.cell.arch).image, draft / "image")
        (draft / "config").write_text(made.config, encoding="utf-8")
        _take_modules(made, draft / _MODULES)
        shutil.copyfile(made.log, draft / "build.log")
        (draft / order.cell.arch).touch()
        (draft / _FINDINGS).write_bytes(units.dump(findings))
        dissect.keep(objects, draft, sandboxed=order.sandboxed)
        facts: dict[str, object] = {
            "image_sha256": cache.sha256(draft / "image"),
            "config_sha256": cache.sha256(draft / "config"),
            "modules_sha256": cache.sha256(draft / _MODULES) if (draft / _MODULES).is_file() else "",
            "seconds": round(made.seconds, 3),
            "cpu_seconds": use.cpu_seconds,
            "ccache_hits": use.hits,
            "ccache_asked": use.asked,
            "ccache_saved_cpu_seconds": use.saved(known),
            "setting": "" if order.start else order.setting,
            "tried": made.sandbox.tried,
        }
        (draft / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        cache.seal(draft)
    build = find(order, cache_dir)
    if build is None:
        raise InfraError(f"{order.cell}: the build vanished from the cache as it was stored", hint=f"look at {final}")
    return replace(build, cached=False)


def _take(made: Make, name: str, into: Path) -> None:
    try:
        into.write_bytes(disk.read(made.sandbox.obj / name, IMAGE_BYTES))
    except OSError as fault:
        raise BuildError(f"{made.order.cell}: make left no image: {name}: {fault.strerror}", log=made.log) from fault


def _take_modules(made: Make, into: Path) -> None:
    """Pack what make built as modules, unless that is more than anybody loads into a small guest."""
    if "m" not in kconfig.parse(made.config).values() or not (made.sandbox.obj / _ORDER).is_file():
        return  # what lies there is of another .config
    try:
        paths = _modules(made.sandbox.obj)
        if sum(path.stat().st_size for path in paths) > MODULES_BYTES:
            log.warning("%s: modules of more than %d MiB are not kept", made.order.cell, MODULES_BYTES >> 20)
            return
        with tarfile.open(into, "w") as archive:
            for path in paths:
                content = disk.read(path, MODULES_BYTES)
                member = tarfile.TarInfo(str(path.relative_to(made.sandbox.obj)))
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    except OSError as fault:
        said = f"make left modules that cannot be read: {fault.strerror}"
        raise BuildError(f"{made.order.cell}: {said}", log=made.log) from fault


def _modules(objects: Path) -> list[Path]:
    """Return the modules that make names, once each, where they are files in `objects` itself."""
    names = disk.read_text(objects / _ORDER, ORDER_BYTES).split()
    paths = [objects / f"{name.removeprefix('kernel/').rpartition('.')[0]}.ko" for name in names]
    top = objects.resolve()
    return [path for path in dict.fromkeys(paths) if path.is_file() and path.parent.resolve().is_relative_to(top)]
