"""O= directories. The user's own tree has one for each wish; what a series makes of it is built in a copy beside that.

Objects decide about later builds: make takes what is newer than its sources as it is. So a series, which may run
anything in its builds, never writes where another one, or another version of it, starts from.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kvm import disk, proc
from kvm.errors import BuildError, InfraError
from orchestrator.build import kconfig, stock
from orchestrator.build.make import Unfinished
from orchestrator.build.order import Order
from orchestrator.build.sandbox import Escape
from orchestrator.intake import git, tree

_HIDDEN = ".half-built"  # marks objects that a killed make may have left half written
_FINDINGS = ".findings"  # what was said of the objects
_TREES = ".built-from"  # the trees that were built in a copy


@contextlib.contextmanager
def lock(order: Order, cache_dir: Path) -> Iterator[None]:
    """Keep other runs from the directory of `order`, and gc from removing it.

    Who holds a copy's may wait for its origin's, never otherwise.
    """
    objects = _directory(order, cache_dir)
    with disk.hold(objects), disk.lock(_lock(objects)):
        yield


def findings(objects: Path) -> Path:
    """Where what was said of the objects stands, beside them."""
    return objects.with_suffix(_FINDINGS)


def is_usable(order: Order, cache_dir: Path) -> bool:
    """Are there objects that a make ended with, if only by failing, and that nobody has touched since?"""
    return _is_usable(_directory(order, cache_dir))


def is_spoiled(order: Order, cache_dir: Path) -> bool:
    """Was a make killed there?"""
    return _is_spoiled(_directory(order, cache_dir))


def holds(order: Order, cache_dir: Path) -> bool:
    """Did the last make there leave the objects of this very tree, so that another one has nothing to do?"""
    last = _trees(_directory(order, cache_dir))[-1:] if order.start else (order.files,)
    return last == (order.files,) and is_usable(order, cache_dir)


@contextlib.contextmanager
def lend(order: Order, sources: Path, cache_dir: Path) -> Iterator[Path]:
    """Yield the directory, ready for `order` to be made in; the caller holds its lock."""
    objects = _directory(order, cache_dir)
    hidden = objects.with_suffix(_HIDDEN)
    seen = _trees(objects)
    if not is_usable(order, cache_dir) or not order.follows(seen):
        seen = ()
        for path in (findings(objects), objects.with_suffix(_TREES)):
            path.unlink(missing_ok=True)
        disk.clear(objects)
        if order.start:
            _copy(order.start, objects, cache_dir)
    objects.mkdir(parents=True, exist_ok=True)
    objects.chmod(0o700)  # a build may leave programs that run as the user, for whoever starts them
    hidden.touch()
    if order.start:
        _carry(order, (order.start.files, *seen)[-1], sources)
        done = seen if seen[-1:] == (order.files,) else (*seen, order.files)
        disk.write(objects.with_suffix(_TREES), json.dumps(done))
    try:
        yield objects
    except Escape:
        disk.clear(objects)  # nobody else shall fall over what was left
        raise
    except Unfinished:
        raise
    except BuildError:  # make itself ended: what it left is consistent
        stock.take(objects, findings(objects))
        hidden.unlink()
        raise
    else:
        stock.take(objects, findings(objects))
        hidden.unlink()


def adopt(order: Order, config: str, cache_dir: Path) -> None:
    """Fill an O= in which nothing but `config` was made with the objects of the nearest other .config of the same tree.

    make sees which of them the options between the two concern. All that the other one sets is set in `config`, too, so
    that no object is there that a make from nothing would not leave, but those few that a Makefile has for an option
    that is off.
    """
    objects = _directory(order, cache_dir)
    if order.start or not order.sandboxed or findings(objects).exists():
        return  # it has some, or they would know each other by other paths
    for kin in _nearest(order, config, cache_dir):
        with disk.hold(kin), disk.try_lock(_lock(kin)) as free:  # who waits for it may hold what that one waits for
            if free and _is_usable(kin):
                _fill(objects, kin)
                disk.write(objects / ".config", config)  # newer than what was made of the other one
                return


def _nearest(order: Order, config: str, cache_dir: Path) -> list[Path]:
    """Find the directories whose .config sets nothing but what `config` sets; that which sets the most comes first."""
    wanted, found = _set(config), []
    for kin in (cache_dir / "objects").glob(f"{order.kin}-{'?' * len(order.kin)}"):
        with contextlib.suppress(OSError, ValueError):  # it is gone, or damaged
            has = _set((kin / ".config").read_text(encoding="utf-8"))
            if has <= wanted and kin != _directory(order, cache_dir):
                found.append((len(has), kin))
    return [kin for _, kin in sorted(found, reverse=True)]


def _set(config: str) -> set[tuple[str, str]]:
    return {(option, value) for option, value in kconfig.parse(config).items() if value in ("y", "m")}


def _directory(order: Order, cache_dir: Path) -> Path:
    return cache_dir / "objects" / order.objects


def _lock(objects: Path) -> Path:
    return objects.parent.parent / "locks" / f"objects-{objects.name}"


def _is_usable(objects: Path) -> bool:
    said = findings(objects)
    return not _is_spoiled(objects) and said.is_file() and stock.is_as_left(objects, said)


def _is_spoiled(objects: Path) -> bool:
    return objects.with_suffix(_HIDDEN).exists()


def _copy(origin: Order, objects: Path, cache_dir: Path) -> None:
    """Copy the directory of `origin`, and what was said of it, if it can be used."""
    with lock(origin, cache_dir):
        if is_usable(origin, cache_dir):
            _fill(objects, _directory(origin, cache_dir))


def _fill(objects: Path, kept: Path) -> None:
    os.utime(kept)  # last use, for gc
    done = proc.run(["cp", "--archive", "--reflink=auto", "--no-target-directory", kept, objects])
    if done.returncode:
        disk.clear(objects)
        raise InfraError(f"{kept} could not be copied: {done.output.strip()[-300:]}", hint="is the disk full?")
    shutil.copyfile(findings(kept), findings(objects))


def _trees(objects: Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads(objects.with_suffix(_TREES).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ()


def _carry(order: Order, last: str, sources: Path) -> None:
    """Make what differs between the tree that was made there last and this one newer than the objects."""
    tree.touch(sources, git.Repository(order.source.git_dir).changed_files(last, order.files))
