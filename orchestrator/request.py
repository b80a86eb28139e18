"""Options over pipeline.yaml: what was asked for, as it is kept beside the run."""

from pathlib import Path

from kvm.arch import get as get_arch
from kvm.errors import UserError
from orchestrator import config
from orchestrator.config import Pipeline
from orchestrator.yamlfile import Section

FILE = "pipeline.yaml"


class Request(Section):
    """What was asked for: absolute paths, so that a later stage finds them again from anywhere."""

    pipeline: Pipeline
    near: str
    cache: str
    jobs: int


def make(  # noqa: PLR0913  (one for each option)
    cache_dir: Path,
    *,
    series: str | None,
    file: Path | None,
    kernel: str | None,
    base: str | None,
    arches: tuple[str, ...],
    flavours: tuple[str, ...],
    config_: str | None,
    fragments: tuple[str, ...],
    toolchain: str | None,
    each_patch: bool,
    suites: tuple[str, ...],
    jobs: int,
) -> Request:
    """Put the options over what pipeline.yaml says: `file`, else the one here, else the shipped one."""
    here = Path.cwd()
    path = file or (here / FILE if (here / FILE).is_file() else config.share() / FILE)
    found = config.load(path.absolute())
    near = here if not file and not (here / FILE).is_file() else path.absolute().parent
    # what stands on the command line is relative to where we are, what stands in the file to the file
    given = {
        "series": str(config.find_series(series, here)) if series else None,
        "kernel": _absolute(kernel, here) if kernel else _absolute(found.kernel, near),
        "base": base,
        "arches": list(arches) or None,
        "flavours": [config.find_flavour(name) for name in flavours] or None,
        "config": _start(config_, here) if config_ else _start(found.config, near),
        "fragments": [_file(name, here) for name in fragments] or [_file(name, near) for name in found.fragments],
        "toolchain": toolchain,
        "each_patch": each_patch or None,
        "suites": [str(config.find_suite(name, here)) for name in suites] or None,
    }
    for arch in arches:
        get_arch(arch)
    changes = {name: value for name, value in given.items() if value is not None}
    return Request(pipeline=found.model_copy(update=changes), near=str(near), cache=str(cache_dir), jobs=jobs)


def _start(name: str, near: Path) -> str:
    """A goal of make as it is, a .config with its whole path."""
    return name if name in config.CONFIG_GOALS else _file(name, near)


def _file(name: str, near: Path) -> str:
    path = (near / Path(name).expanduser()).resolve()
    if not path.is_file():
        raise UserError(f"no such file: {path}", hint="a .config or a Kconfig fragment is meant")
    return str(path)


def _absolute(kernel: str, near: Path) -> str:
    kind, _, rest = kernel.partition(":")
    return f"{kind}:{(near / Path(rest).expanduser()).resolve()}" if kind in ("git", "tar") and rest else kernel
