"""What a machine can do for runs: build for an architecture, run its guests; and whether that is what a run wants."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvm import accel, proc
from kvm.arch import ARCHES
from kvm.arch import get as get_arch
from kvm.errors import Error
from orchestrator import doctor
from orchestrator.build import sandbox, toolchain
from orchestrator.cluster import blobs

BUILD, GUESTS = "build", "guests"
MEMORY = "memory"  # in MiB


@dataclass(frozen=True)
class Ability:
    """Building (`BUILD`) with a toolchain, or running guests (`GUESTS`) under kvm or tcg, for one architecture.

    `versions` are those of all that can change a result: kdelta's code, and the compiler's or QEMU's.
    """

    kind: str
    arch: str
    means: str
    versions: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The name of the resource: a worker of other versions has another one, and is given nothing to do."""
        return f"{self.kind}-{self.arch}-{self.means}-{blobs.key(self.versions)[:12]}"

    def takes(self, mib: float) -> dict[str, float]:
        """What an errand of this kind takes of a worker while it lasts, with so much memory; in Dask's words."""
        return {self.tag: 1, self.kind: 1, MEMORY: mib}

    @property
    def words(self) -> str:
        """Say it to a person."""
        return f"{self.kind} {self.arch} {self.means} ({', '.join(filter(None, self.versions))})"

    def plain(self) -> dict[str, Any]:
        """Say it to another machine."""
        return asdict(self)


def read(told: Mapping[str, Any]) -> Ability:
    """Return what another machine said."""
    return Ability(**{**told, "versions": tuple(told["versions"])})


@functools.cache
def code() -> str:
    """Name kdelta's own code, each byte of it: two checkouts of one version may differ."""
    top, whole = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted((*top.glob("kvm/**/*.*"), *top.glob("orchestrator/**/*.py"))):
        if path.suffix != ".pyc":
            whole.update(path.read_bytes())
    return f"kdelta {whole.hexdigest()[:12]}"


def building(arch: str, kind: str) -> Ability:
    """What builds as this machine would; raises UserError without the compiler."""
    return Ability(BUILD, arch, kind, (code(), *toolchain.find(arch, kind).identity))


def running(arch: str, means: str) -> Ability:
    """What runs guests as this machine would."""
    version = proc.check([get_arch(arch).qemu, "--version"], timeout=30).splitlines()[0]
    return Ability(GUESTS, arch, means, (code(), version))


def found(cache_dir: Path) -> Iterator[Ability]:
    """All that this machine can do; what is missing is missing without a word, `kdelta doctor` says it."""
    contained = not sandbox.fault()
    for arch in ARCHES:
        for kind in toolchain.kinds(arch) if contained else ():
            try:
                yield building(arch, kind)
            except Error:
                continue
        try:
            yield running(arch, _means(arch, cache_dir))
        except Error:
            continue


def _means(arch: str, cache_dir: Path) -> str:
    """The accelerator: KVM is believed when a kernel has run under it."""
    if accel.obstacle(get_arch(arch)):
        return "tcg"
    return accel.choose(get_arch(arch), lambda: doctor.kernel(arch, cache_dir), cache_dir).used
