"""Any series that `git format-patch` writes, from any history, comes back as the trees that it was made from."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.intake import guard, mail, series
from orchestrator.intake.source import Source
from tests.flow.conftest import git

pytestmark = pytest.mark.long

PATHS = [  # what guard.py lets pass
    b"a", b"dir", b"dir/b", b"dir/sub/c", b"with space", b"dir/with  two", b'quo"te', b"-dash", b":(glob)*", b"[x]*",
    "ünï".encode(), b"dir/a", b"b/a", b"trailing ",
]  # fmt: skip
LINES = [
    b"", b"x", b"y", b"z", b"- ", b"-- ", b"--- a/a", b"+++ b/a", b"From a@b Mon Sep 17 00:00:00 2001", b">From x",
    b"@@", "größe".encode(), b"latin \xe9", b"\tint i;", b"trailing ", b"cr\r", b"\x0cpage", b"diff --git a/a b/a",
]  # fmt: skip
TITLES = [
    "", "mm: fix it", "Re: an answer", "[media] brackets", "[PATCH v7 3/9] twice", "Größe", "x " * 60, "a: b: c",
    "=?utf-8?q?no?=", "dot.",
]  # fmt: skip
BODIES = [
    "", "Why.\n", "From ada@example.org Mon Jan  1 10:00:00 2024\nand on\n", ">From here\n", "-- \nsig\n",
    "> quoted\n", "  indented\n\n\nand on\n", "Größe\n", "base-commit: 1234\n", "8< cut\n",
    "Subject: [PATCH v4 1/5] no\n",
]  # fmt: skip
AUTHORS = ["Ada Example", "Zoë Größe", 'Q "Quote" R', "Comma, Name", "dot.name", "ünï" * 12]
FLAGS = [
    "--binary", "--no-renames", "--find-copies-harder", "-B", "--attach", "--inline", "--full-index", "-v3",
    "--zero-commit", "--cover-letter", "--thread=deep", "-U1", "--rfc", "--subject-prefix=PATCH net-next",
    "--signoff", "--no-stat", "--pretty=mboxrd", "--no-numbered", "--start-number=1", "--no-signature",
]  # fmt: skip

EXAMPLES = int(os.environ.get("KDELTA_EXAMPLES", "15"))
FIXED = "KDELTA_EXAMPLES" not in os.environ  # a search for more is at random; the usual run is the same every time

Tree = dict[bytes, tuple[bytes, bytes]]

texts = st.tuples(st.lists(st.sampled_from(LINES), max_size=30), st.booleans()).map(
    lambda drawn: b"\n".join(drawn[0]) + b"\n" * (drawn[1] and bool(drawn[0]))
)
binaries = st.binary(max_size=60).map(lambda content: b"\0" + content)
contents = st.one_of(texts, texts, texts, binaries)
files = st.one_of(
    st.tuples(st.sampled_from([b"100644", b"100644", b"100755"]), contents),
    st.tuples(st.just(b"120000"), st.sampled_from([b"a", b"out", b"dir/b"])),
)
paths = st.sampled_from(PATHS)
edits = st.one_of(
    st.tuples(st.just("write"), paths, files),
    st.tuples(st.just("append"), paths, texts),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("mode"), paths, st.just(b"")),
    st.tuples(st.just("delete"), paths, st.just(b"")),
)


@dataclass
class Step:
    title: str
    body: str
    author: str
    tree: Tree


def put(tree: Tree, path: bytes, file: tuple[bytes, bytes]) -> None:
    """A file stands in no directory's way: what is above or below it goes."""
    for other in list(tree):
        if other.startswith(path + b"/") or path.startswith(other + b"/"):
            del tree[other]
    tree[path] = file


def edit(tree: Tree, kind: str, path: bytes, value) -> None:  # type: ignore[no-untyped-def]
    if kind == "write":
        put(tree, path, value)
    elif path in tree:
        mode, content = tree[path]
        if kind == "append" and mode != b"120000":
            tree[path] = (mode, content + value)
        elif kind == "mode" and mode != b"120000":
            tree[path] = (b"100755" if mode == b"100644" else b"100644", content)
        elif kind in ("move", "delete"):
            del tree[path]
            if kind == "move":
                put(tree, value, (mode, content))


def below_a_symlink(before: Tree, after: Tree) -> bool:
    """`git apply`, and so `git am`, cannot read git's own rename of a symlink to below itself: no mode stands in it."""
    links = [path for path, (mode, _) in before.items() if mode == b"120000"]
    return any(path.startswith(link + b"/") for link in links for path in after)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    tree: Tree = {}
    for path in draw(st.lists(paths, max_size=8)):
        put(tree, path, draw(files))
    steps = [Step("base", "", "Ada Example", dict(tree))]
    for _ in range(draw(st.integers(1, 5))):
        for change in draw(st.lists(edits, min_size=1, max_size=4)):
            edit(tree, *change)
        if below_a_symlink(steps[-1].tree, tree):
            tree = dict(steps[-1].tree)
        if tree != steps[-1].tree:  # an empty commit is a gap in an mbox
            words = (draw(st.sampled_from(TITLES)), draw(st.sampled_from(BODIES)), draw(st.sampled_from(AUTHORS)))
            steps.append(Step(*words, dict(tree)))
    return steps


def quoted(path: bytes) -> bytes:
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'


def stream(history: list[Step]) -> bytes:
    out = b""
    for number, step in enumerate(history):
        message = f"{step.title}\n\n{step.body}".encode() if step.title or step.body else b""
        out += f"commit refs/heads/topic\nauthor {step.author} <a@example.org> {1700000000 + number} +0100\n".encode()
        out += b"committer C <c@example.org> 1700000000 +0000\ndata %d\n" % len(message) + message + b"\ndeleteall\n"
        for path, (mode, content) in step.tree.items():
            out += b"M " + mode + b" inline " + quoted(path) + b"\ndata %d\n" % len(content) + content + b"\n"
    return out


def make(where: Path, history: list[Step]) -> tuple[Source, list[str]]:
    git(where, "init", "-q", "--bare", ".")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=where, input=stream(history), check=True)
    commits = git(where, "rev-list", "--reverse", "topic").split()
    trees = git(where, "log", "--reverse", "--format=%T", "topic").split()
    git(where, "tag", "base", commits[0])
    return Source("random", where, commits[0], trees[0], "6.1"), trees[1:]


@pytest.mark.parametrize("form", ["directory", "mbox", "crlf", "range"])
@settings(max_examples=EXAMPLES, derandomize=FIXED, suppress_health_check=list(HealthCheck))
@given(history=histories(), flag=st.sampled_from(FLAGS))
def test_a_series_comes_back_as_the_trees_it_was_made_from(form: str, history: list[Step], flag: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, trees = make(Path(scratch), history)
        mails = read(form, Path(scratch), flag, bool(trees))
        applied = series.apply(mails.mails, source, guard.Limits(allow_binary=True))
        got = [git(Path(scratch), "rev-parse", f"{commit}^{{tree}}") for commit in applied.commits]
        assert got == trees, mails.notes
        assert applied.tree == (trees or [source.tree])[-1]
        if form == "range":
            authors = [f"{step.author} <a@example.org>" for step in history[1:]]
            assert [patch.author for patch in applied.series.patches] == authors
            assert mails.base_commit == source.commit


def read(form: str, where: Path, flag: str, changes: bool) -> mail.Mails:
    if form == "range" or not changes:
        return mail.read("base..topic", repository=where)
    if form == "directory":
        git(where, "format-patch", "-q", "-o", str(where / "out"), flag, "base..topic")
        return mail.read(where / "out")
    command = ["git", "format-patch", "--stdout", flag, "base..topic"]
    content = subprocess.run(command, cwd=where, check=True, capture_output=True).stdout
    return mail.read_bytes(content if form == "mbox" else content.replace(b"\n", b"\r\n"), "series.mbox")
