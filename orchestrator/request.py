"""Options over pipeline.yaml: what was asked for, as it is kept beside the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvm import disk
from kvm.arch import get as get_arch
from kvm.errors import UserError
from kvm.root import HOST
from orchestrator import config
from orchestrator.config import Accept, Pipeline
from orchestrator.yamlfile import Section

FILE = "pipeline.yaml"


class Request(Section):
    """What was asked for: absolute paths, so that a later stage finds them again from anywhere.

    `mutants` says how many are tried when there is a verdict.
    """

    pipeline: Pipeline
    near: str
    cache: str
    jobs: int
    mutants: int | None = None


def make(cache_dir: Path, *, file: Path | None, jobs: int, **asked: Any) -> Request:
    """Put the options over what pipeline.yaml says: `file`, else the one here, else the shipped one.

    `asked` holds keys of Pipeline and of Accept, and checkers to run besides; what was not asked for is None, False or
    empty.
    """
    for key, value in asked.items():
        if value == "" or (isinstance(value, tuple) and "" in value):
            raise UserError(f"{key}: an empty word names nothing", hint="is a variable of the shell unset?")
    here = Path.cwd()
    own_file = file or (here / FILE if (here / FILE).is_file() else None)
    found = config.load((own_file or config.share() / FILE).absolute())
    near = own_file.absolute().parent if own_file else here
    asked = {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items() if value}
    if more := [name for name in config.CHECKS if asked.pop(name, False)]:
        asked["checks"] = list(dict.fromkeys((*asked.get("checks", found.checks), *more)))
    accept = found.accept.model_copy(update={key: asked.pop(key) for key in Accept.model_fields.keys() & asked.keys()})
    # what stands on the command line is relative to where we are, what stands in the file to the file
    own = {key: found.__dict__[key] for key in _NAMES if key not in asked}
    named = {**_named(asked, here), **_named(own, near)}
    name, where = (asked["series"], here) if "series" in asked else (found.series, near)
    if name and not asked.get("whole", found.whole):  # two commits are no path
        named["series"] = _series(name, named["kernel"], where)
    rerun = found.rerun.model_copy(update={"pairs": 0} if asked.pop("no_rerun", False) else {})
    given = asked.pop("root", None)
    root = _roots(given, here) if given else _roots(found.guest.root, near)
    guest = found.guest.model_copy(update={"root": root})
    whole = found.model_copy(update={**asked, **named, "accept": accept, "rerun": rerun, "guest": guest})
    return Request(pipeline=whole, near=str(near), cache=str(cache_dir), jobs=jobs)


def _named(given: dict[str, Any], near: Path) -> dict[str, Any]:
    """Resolve what the keys name, seen from `near`."""
    known = {key: value for key, value in given.items() if key in _NAMES and value is not None}
    return {
        key: [_NAMES[key](name, near) for name in value] if isinstance(value, list) else _NAMES[key](value, near)
        for key, value in known.items()
    }


def _roots(given: str | dict[str, str] | None, near: Path) -> str | dict[str, str] | None:
    """Whole paths of root file systems; `host` is none."""
    if isinstance(given, dict):
        return {arch: _root(name, near) for arch, name in given.items()}
    return _root(given, near) if given else None


def _root(name: str, near: Path) -> str:
    return name if name == HOST else str((near / disk.expanded(name)).resolve())


def _series(name: str, kernel: str, near: Path) -> str:
    """A shipped series or a path as a path; commits, a Message-ID, a URL or - as they are."""
    found = config.find("patches", name, near)
    if found is None and not config.is_series(name, kernel, near):
        return str(config.find_series(name, near))  # says which there are
    return str(found or name)


def _start(name: str, near: Path) -> str:
    """A goal of make as it is, a .config with its whole path."""
    return name if name in config.CONFIG_GOALS else _file(name, near)


def _file(name: str, near: Path) -> str:
    path = (near / disk.expanded(name)).resolve()
    if not path.is_file():
        raise UserError(f"no such file: {path}", hint="a .config, a fragment or a list of known splats is meant")
    return str(path)


def _absolute(kernel: str, near: Path) -> str:
    kind, _, rest = kernel.partition(":")
    return f"{kind}:{(near / disk.expanded(rest)).resolve()}" if kind in ("git", "tar") and rest else kernel


_NAMES: dict[str, Callable[[str, Path], str]] = {
    "kernel": _absolute,
    "config": _start,
    "fragments": _file,
    "known": _file,
    "suites": lambda name, near: str(config.find_suite(name, near)),
    "flavours": lambda name, _: config.find_flavour(name),
    "arches": lambda name, _: get_arch(name).name,
}
