"""git, run so that nothing of the user's or the repository's configuration, hooks or index takes part."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError, UserError
from orchestrator import cache

# Commits must come out the same on every machine: identity and dates are ours unless a patch brings its own.
_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",  # a partial clone that lacks an object would ask its remote, by any program it names
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # an object is what its name says
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_NAME": "kdelta",
    "GIT_AUTHOR_EMAIL": "kdelta@localhost",
    "GIT_AUTHOR_DATE": "@946684800 +0000",
    "GIT_COMMITTER_NAME": "kdelta",
    "GIT_COMMITTER_EMAIL": "kdelta@localhost",
    "GIT_COMMITTER_DATE": "@946684800 +0000",
}
_CORE = ("kernel", "mm", "lib", "fs", "init", "block", "security", "net/core", "drivers/base")
_OPTIONS = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.quotePath=false"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.looseCompression=1"),
    *("-c", "pack.compression=1"),
    *("-c", "core.protectNTFS=true"),
    *("-c", "core.protectHFS=true"),
    *("-c", "log.showSignature=false"),
    *("-c", "gc.auto=0"),
    *("-c", "safe.directory=*"),  # reading another user's tree runs nothing of theirs
)

# The highest of all attributes files: what .gitattributes of a tree says about filters and line ends does not count,
# so that a file is its blob, byte for byte.
_ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding !diff\n"

# A file's ctime changes whenever another checkout links it. Its other times, size, inode and mode tell a change.
_LINKED = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.trustctime", "GIT_CONFIG_VALUE_0": "false"}


def environment() -> dict[str, str | None]:
    """Return what git gets to see: nothing of the caller's GIT_* variables, and ours."""
    theirs: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GIT_")}
    return {**theirs, **_ENV}


def alone(*args: str | Path, input: bytes = b"") -> proc.Completed:
    """Run a git command that needs no repository, or looks for it by -C, and return how it ended."""
    return _run(args, environment(), input)


def _run(
    args: Sequence[str | Path], env: Mapping[str, str | None], input: bytes, output: Path | None = None
) -> proc.Completed:
    """Run git: its output is its answer, and where it fails also its complaint; a warning is no part of an answer."""
    with tempfile.NamedTemporaryFile(prefix="kdelta-git-") as said:
        done = proc.run(["git", *_OPTIONS, *args], env=env, input=input, output=output, errors=Path(said.name))
        complaint = Path(said.name).read_text(encoding="utf-8", errors="replace") if done.returncode else ""
    return replace(done, output=done.output + complaint)


class Repository:
    """A git directory, and the index file and the directory of ours that are used with it."""

    def __init__(self, git_dir: Path, *, index: Path | None = None, work_tree: Path | None = None) -> None:
        self.git_dir = git_dir
        self._env = {"GIT_DIR": str(git_dir), **({"GIT_INDEX_FILE": str(index)} if index else {})}
        if work_tree:
            self._env |= {"GIT_WORK_TREE": str(work_tree), **_LINKED}

    def attempt(self, *args: str | Path, input: bytes = b"", env: Mapping[str, str] | None = None) -> proc.Completed:
        """Run git and return how it ended, whatever that was."""
        return _run(args, {**environment(), **self._env, **(env or {})}, input)

    def run(self, *args: str | Path, input: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run git and return its output; raises InfraError when it fails."""
        done = self.attempt(*args, input=input, env=env)
        if done.returncode:
            raise InfraError(f"git {args[0]} failed (exit {done.returncode}): {done.output.strip()[-500:]}")
        return done.output

    def raw(self, *args: str | Path, input: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Run git and return its output byte by byte: names and contents need not be UTF-8."""
        with tempfile.NamedTemporaryFile(prefix="kdelta-git-") as out:
            self.into(Path(out.name), *args, input=input, env=env)
            return Path(out.name).read_bytes()

    def into(self, output: Path, *args: str | Path, input: bytes = b"", env: Mapping[str, str] | None = None) -> None:
        """Run git and have its output in a file; raises InfraError when it fails."""
        done = _run(args, {**environment(), **self._env, **(env or {})}, input, output)
        if done.returncode:
            raise InfraError(f"git {args[0]} failed (exit {done.returncode}): {done.output.strip()[-500:]}")

    @property
    def common(self) -> Path:
        """Where its objects are: of a linked worktree, in the repository that it belongs to."""
        return (self.git_dir / self.run("rev-parse", "--git-common-dir").strip()).resolve()

    def id(self, revision: str) -> str | None:
        """Return the object id of `revision`, or None where there is no such object."""
        done = self.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        return done.output.strip() if done.returncode == 0 else None

    def text(self, tree: str, path: str) -> str | None:
        """Return a file of a tree as text; None if there is no such file."""
        done = self.attempt("cat-file", "blob", f"{tree}:{path}")
        return done.output if done.returncode == 0 else None

    def users(self, tree: str, header: str) -> list[str]:
        """Return sources of a tree that include a header: below its directory, or where most are if that is for all."""
        directory, _, name = header.rpartition("/")
        if "include" in (parts := directory.split("/")):
            name = header.rpartition("include/")[2]  # as all call it
            places = [*(["/".join(parts[:2])] if parts[0] == "arch" else []), *_CORE]
        else:
            places = [directory or "init"]  # nothing but Kbuild's own lies at the top
        words = name.replace(".", r"\.").replace("+", r"\+")
        line = rf'^[[:space:]]*#[[:space:]]*include[[:space:]]+["<]([^">]*/)?{words}[">]'
        done = self.attempt("grep", "-l", "-E", line, tree, "--", *(f"{place}/*.c" for place in places))
        return [row.partition(":")[2] for row in done.output.splitlines()] if done.returncode == 0 else []

    def tree(self, commit: str) -> str:
        """Return the id of the tree of `commit`."""
        return self.run("rev-parse", "--verify", f"{commit}^{{tree}}").strip()

    def changed_files(self, before: str, after: str) -> tuple[str, ...]:
        """Return the paths that differ between two trees or commits."""
        listing = self.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after)
        return tuple(path for path in listing.split("\0") if path)


def opened(path: Path) -> Repository:
    """Return the repository that the user's directory `path` is in; raises UserError where there is none."""
    asked = alone("-C", path, "rev-parse", "--absolute-git-dir")
    if asked.returncode:
        raise UserError(f"{path} is not a git repository", hint=asked.output.strip()[-200:])
    return Repository(Path(asked.output.strip()))


def create(git_dir: Path, *, borrow: Path | None = None) -> Repository:
    """Create the bare repository `git_dir` unless it is there; it reads objects of `borrow` without copying them.

    The caller holds its lock; who reads it meanwhile sees all of it or nothing.
    """
    if not git_dir.is_dir():
        with cache.publish(git_dir) as draft:
            proc.check(["git", "init", "--quiet", "--bare", draft], env={**environment(), "GIT_TEMPLATE_DIR": ""})
            disk.write(draft / "info" / "attributes", _ATTRIBUTES)
    if borrow:
        disk.write_if_other(git_dir / "objects" / "info" / "alternates", f"{borrow}\n")
    return Repository(git_dir)


def prune(git_dir: Path, age: float) -> None:
    """Drop from a store what no ref holds and what is older than `age` seconds, and make one pack of several."""
    repository, expiry = Repository(git_dir), f"{int(age)}.seconds.ago"
    if len(list((git_dir / "objects" / "pack").glob("*.pack"))) > 1:
        repository.run("repack", "-A", "-d", "-l", "-q", "--window=0", f"--unpack-unreachable={expiry}")
    repository.run("prune", f"--expire={expiry}")
