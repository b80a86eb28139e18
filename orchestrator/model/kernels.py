"""What came of the builds."""

from dataclasses import dataclass

from orchestrator.model.cells import Side


@dataclass(frozen=True)
class BuildRecord:
    """One kernel build. Paths are relative to the run directory; `error` is the first compiler error, or None.

    ccache was asked for `ccache_asked` compilations and answered `ccache_hits`. `ccache_saved_cpu_seconds` is the
    processor time that this saved, at least: what as many compilations cost in the largest build of the same
    configuration and tools in the cache that compilers made, less `cpu_seconds`; None while there is no such build.
    `tried` is what the build tried and the sandbox denied: "touch tried to write /etc/x". One that is `unfinished` was
    ended at a limit of the host's.
    """

    side: Side
    arch: str
    flavour: str
    seconds: float
    cpu_seconds: float
    cached: bool
    image_sha256: str | None
    noop: bool
    log: str
    error: str | None = None
    ccache_hits: int = 0
    ccache_asked: int = 0
    ccache_saved_cpu_seconds: float | None = None
    tried: tuple[str, ...] = ()
    image_bytes: int | None = None
    modules_sha256: str = ""
    unfinished: bool = False

    @property
    def identity(self) -> tuple[str | None, str]:
        """What two kernels that are the same have in common: image and modules."""
        return self.image_sha256, self.modules_sha256


@dataclass(frozen=True)
class StepRecord:
    """The tree after the first `number` patches of the series, built; `error` to `unfinished` as in BuildRecord."""

    number: int
    subject: str
    arch: str
    flavour: str
    seconds: float
    cpu_seconds: float
    cached: bool
    log: str
    error: str | None = None
    tried: tuple[str, ...] = ()
    unfinished: bool = False


@dataclass(frozen=True)
class ConfigChange:
    """An option that came out otherwise on patched, as in .config; "n" where it is not set or not known."""

    arch: str
    flavour: str
    option: str
    base: str
    patched: str


@dataclass(frozen=True)
class Uncompiled:
    """A source file of the series that a lane's kernel is built without.

    `options` are those it waits for, `needs` says what these depend on and is off.
    """

    arch: str
    flavour: str
    file: str
    options: tuple[str, ...]
    needs: str = ""
