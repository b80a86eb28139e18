"""Kernel sources: a Debian source package, a tarball or a git repository in, a commit to start from out."""

import contextlib
import hashlib
import logging
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvm import disk, packages, proc
from kvm.errors import InfraError, UserError
from orchestrator import cache, listing
from orchestrator.intake import git

log = logging.getLogger(__name__)

FORMS = "debian:PACKAGE/SUITE, git:PATH or tar:PATH"
_REF = "refs/heads/source"  # in a store that was made of a tarball


@dataclass(frozen=True)
class Source:
    """A kernel tree in a git store: `git_dir` holds `commit`, whose tree is `tree`; `release` is e.g. 5.10.223."""

    spec: str
    git_dir: Path
    commit: str
    tree: str
    release: str


def resolve(spec: str, base: str | None, cache_dir: Path) -> Source:
    """Find the tree that `spec` names, bring it into the cache's git store if it is not there, and return it."""
    kind, _, rest = spec.partition(":")
    openers: dict[str, Callable[[str], tuple[Path, str]]] = {
        "debian": lambda name: _debian(name, cache_dir),
        "tar": lambda name: _tar(disk.expanded(name), cache_dir),
        "git": lambda name: _git(disk.expanded(name), base, cache_dir),
    }
    if kind not in openers or not rest:
        raise UserError(f"kernel source {spec!r} is not understood", hint=f"give {FORMS}")
    if base and kind != "git":
        raise UserError(f"a base commit needs a git source, not {spec!r}", hint="give git:PATH")
    git_dir, commit = openers[kind](rest)
    repository = git.Repository(git_dir)
    tree = repository.id(f"{commit}^{{tree}}")
    assert tree, "a resolved commit has a tree"
    return Source(spec, git_dir, commit, tree, _release(repository, commit, spec))


def at(origin: Source, commit: str) -> Source:
    """Return the tree of another commit of the same repository."""
    repository = git.Repository(origin.git_dir)
    tree = repository.id(f"{commit}^{{tree}}")
    if tree is None:
        raise UserError(f"{origin.spec} has no commit {commit}")
    return replace(origin, commit=commit, tree=tree, release=_release(repository, commit, origin.spec))


def uncommitted(origin: Source) -> str | None:
    """Return a note where the user's working tree differs from what is committed there: that is not looked at.

    Their index is read as a copy, and with our configuration: git would write to it, and run their filters.
    """
    kind, _, path = origin.spec.partition(":")
    words = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--git-path", "index", "HEAD")
    asked = git.alone("-C", disk.expanded(path), *words) if kind == "git" else None
    if not asked or asked.returncode:  # a bare repository has no working tree
        return None
    top, index, head = asked.output.splitlines()
    if not Path(index).is_file():  # `git clone --no-checkout`: nothing is there yet
        return None
    with tempfile.TemporaryDirectory(prefix="kdelta-index-") as scratch:
        ours = git.create(Path(scratch) / "git", borrow=origin.git_dir / "objects")
        for file in (Path(index), *Path(index).parent.glob("sharedindex.*")):  # a split index is several files
            shutil.copyfile(file, ours.git_dir / file.name)
        command = ("diff", "--name-only", "-z", "--no-ext-diff", "--no-renames", "--ignore-submodules=all", head)
        found = ours.attempt(*command, env={"GIT_WORK_TREE": top})
    files = [file for file in found.output.split("\0") if file] if not found.returncode else []
    if not files:
        return None
    return f"changes that are not committed are left out: {listing.first(files, 3)}"


def _release(repository: git.Repository, commit: str, spec: str) -> str:
    done = repository.attempt("cat-file", "blob", f"{commit}:Makefile")
    words: dict[str, str] = dict(
        re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)$", done.output, re.MULTILINE)
    )
    if done.returncode or "VERSION" not in words:
        hint = "a partial clone lacks files: `git fetch --refetch --no-filter` brings them"
        raise UserError(f"{spec} is not a Linux tree: its top Makefile names no VERSION", hint=hint)
    numbers = [words.get(key, "0") or "0" for key in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    return ".".join(numbers) + words.get("EXTRAVERSION", "")


def _git(path: Path, base: str | None, cache_dir: Path) -> tuple[Path, str]:
    """Borrow the objects of the user's repository; nothing is ever written to it."""
    theirs = git.opened(path)
    wanted = base or "HEAD"
    commit = theirs.id(f"{wanted}^{{commit}}")
    if commit is None:
        raise UserError(f"{path} has no commit {wanted!r}", hint="name a commit, tag or branch that it has, by --base")
    if theirs.run("rev-parse", "--show-object-format").strip() != "sha1":
        hint = "give its files: `git archive -o linux.tar COMMIT`, and --kernel tar:linux.tar"
        raise UserError(f"{path} names its objects by SHA-256, which kdelta cannot read", hint=hint)
    objects = theirs.common / "objects"
    name = hashlib.sha256(str(objects).encode()).hexdigest()[:16]
    with _store(name, cache_dir) as git_dir:
        git.create(git_dir, borrow=objects)
        _borrow_ends(objects.parent / "shallow", git_dir / "shallow")
    return git_dir, commit


@contextlib.contextmanager
def _store(name: str, cache_dir: Path) -> Iterator[Path]:
    """Lend the place of a git store to make it or change it; gc leaves it to this process from now on."""
    git_dir = cache.keep(cache_dir / "git" / f"{name}.git")
    with disk.lock(cache_dir / "locks" / f"git-{name}"):
        yield git_dir
        os.utime(git_dir)  # last use, for gc


def _borrow_ends(theirs: Path, ours: Path) -> None:
    """Say to git where history ends: the parents of a shallow clone's last commits are not there, and are no damage."""
    try:
        disk.write_if_other(ours, theirs.read_text(encoding="ascii"))
    except FileNotFoundError:  # it is whole, or has become so
        ours.unlink(missing_ok=True)


def _debian(name: str, cache_dir: Path) -> tuple[Path, str]:
    package, _, suite = name.partition("/")
    if not suite:
        raise UserError(f"debian:{name} names no suite", hint=f"for example debian:{package}/bookworm")

    def unpack(into: Path) -> Path:
        machine = {"aarch64": "arm64"}.get(platform.machine(), "amd64")  # the package is the same on all
        with disk.hold(cache_dir / "apt" / suite):
            [deb] = packages.fetch([package], suite=suite, deb_arch=machine, cache_dir=cache_dir)
            packages.unpack(deb, into)
        tarballs = sorted(into.glob("usr/src/linux-source-*.tar.*"))
        if not tarballs:
            raise UserError(
                f"package {package} holds no usr/src/linux-source-*.tar", hint="name a linux-source package"
            )
        return tarballs[0]

    return _import(f"debian-{package}_{suite}", unpack, cache_dir)


def _tar(path: Path, cache_dir: Path) -> tuple[Path, str]:
    if not path.is_file():
        raise UserError(f"no such tarball: {path}")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return _import(f"tar-{digest[:32]}", lambda _: path.resolve(), cache_dir)


def _import(name: str, tarball: Callable[[Path], Path], cache_dir: Path) -> tuple[Path, str]:
    """Bring a tarball into a store of its own once; `tarball` is asked for it only then."""
    with _store(name, cache_dir) as git_dir:
        store = git.create(git_dir)
        commit = store.id(f"{_REF}^{{commit}}") or _import_tarball(name, tarball, store, cache_dir)
    return git_dir, commit


def _import_tarball(name: str, tarball: Callable[[Path], Path], store: git.Repository, cache_dir: Path) -> str:
    log.info("importing %s, once", name)
    draft = store.git_dir.with_name(f".{store.git_dir.name}.import")
    disk.clear(draft)  # what an interrupted import left; the caller holds the store's lock
    draft.mkdir(parents=True)
    with cache.scratch(draft):
        unpacked = draft / "tree"
        unpacked.mkdir()
        words = ["--no-same-owner", "--no-same-permissions", "--exclude=.git"]  # of a clone that was packed whole
        done = proc.run(["tar", "-xf", tarball(draft), "-C", unpacked, *words])
        if done.returncode:
            raise InfraError(f"{name}: tar failed: {done.output.strip()[-300:]}", hint="is the disk full?")
        entries = list(unpacked.iterdir())
        top = entries[0] if len(entries) == 1 and entries[0].is_dir() else unpacked
        repository = git.Repository(store.git_dir, index=draft / "index", work_tree=top)
        # --force: a tarball's own .gitignore must not hide files of the tarball
        repository.run("add", "--all", "--force", top)
        tree = repository.run("write-tree").strip()
        commit = repository.run("commit-tree", tree, "-m", name).strip()
        repository.run("update-ref", _REF, commit)  # what a ref holds is not pruned
        store.run("repack", "-a", "-d", "-q", "--window=0")  # to search for deltas would take minutes
        return commit
