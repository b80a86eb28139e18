"""Git repositories of every shape lend a tree; none of their programs runs and nothing of theirs changes."""

import subprocess
from pathlib import Path

import pytest

from orchestrator.intake import base, history, mail, series, source, tree
from orchestrator.intake import git as store
from tests.conftest import Kdelta
from tests.flow.conftest import git

LINES = [f"line {number}\n" for number in range(40)]
EDITED = "".join([*LINES[:5], "five and a half\n", *LINES[5:]])


def files_below(top: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and times; git makes the time of an object newer when it is asked to write one that an alternate has."""
    return {
        str(file.relative_to(top)): (file.read_bytes(), 0 if "objects" in file.parts else file.stat().st_mtime_ns)
        for file in top.rglob("*")
        if file.is_file()
    }


def planned(  # type: ignore[no-untyped-def]
    kdelta: Kdelta, path: Path, repository: Path, tmp_path: Path, **env: str
):
    done = kdelta("plan", path, "--kernel", f"git:{repository}", KDELTA_CACHE=str(tmp_path / "cache"), **env)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def shaped(fakelinux: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A repository of another shape that has the same HEAD."""

    def make(shape: str) -> Path:
        git(fakelinux, "commit", "-q", "--allow-empty", "-m", "one more")
        to = tmp_path / shape
        if shape == "shallow":
            git(tmp_path, "clone", "-q", "--depth", "1", f"file://{fakelinux}", str(to))
        elif shape == "bare":
            git(tmp_path, "clone", "-q", "--bare", str(fakelinux), str(to))
        elif shape == "worktree":
            git(fakelinux, "worktree", "add", "-q", "--detach", str(to), "main")
        elif shape == "borrowing":
            git(tmp_path, "clone", "-q", "--shared", str(fakelinux), str(to))
        elif shape == "below":
            to = fakelinux / "mm"
        else:
            git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{fakelinux}", str(to))
        return to

    return make


@pytest.mark.parametrize("shape", ["shallow", "bare", "worktree", "borrowing", "below"])
def test_a_repository_of_every_shape_gives_its_tree(
    shaped, make_series, fakelinux: Path, tmp_path: Path, shape: str
) -> None:
    path, repository = make_series(EDITED), shaped(shape)
    before = files_below(repository)
    origin = source.resolve(f"git:{repository}", None, tmp_path / "cache")
    assert origin.tree == git(fakelinux, "rev-parse", "main^{tree}")
    mails = mail.read(path).mails
    applied = series.apply(mails, origin)
    assert applied.tree == git(fakelinux, "rev-parse", "topic^{tree}")
    laid_out = tree.checkout(origin, applied.tree, tmp_path / "cache")
    assert (laid_out / "mm" / "madvise.c").read_text() == EDITED
    assert base.choose(mails, origin, base.Wish()).sure.startswith("the pre-image blob matches")
    assert {patch.presence for patch in history.find(mails, origin)} == {"absent"}
    assert files_below(repository) == before


def test_a_partial_clone_is_not_filled_up_by_the_program_that_it_names(
    kdelta: Kdelta, shaped, make_series, fakelinux: Path, tmp_path: Path
) -> None:
    path = make_series(EDITED)
    git(fakelinux, "config", "uploadpack.allowFilter", "true")
    repository = shaped("partial")
    git(repository, "config", "remote.origin.url", f"ext::touch {tmp_path}/ran")
    git(repository, "config", "protocol.ext.allow", "always")
    done = kdelta("plan", path, "--kernel", f"git:{repository}", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "partial clone" in done.stderr
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "cat-file", "-p", "HEAD:Makefile"], cwd=repository, check=False, capture_output=True)
    assert (tmp_path / "ran").exists(), "the trap does not work"


def test_what_git_complains_of_is_no_part_of_its_answer(fakelinux: Path, make_series, tmp_path: Path) -> None:
    path, tip = make_series("one\n", "two\n", cover=False), git(fakelinux, "rev-parse", "topic^{tree}")
    (fakelinux / ".git" / "objects" / "info" / "alternates").write_text(f"{tmp_path}/gone/objects\n")
    git(fakelinux, "update-ref", "refs/heads/HEAD", "topic")  # and now `HEAD` is ambiguous, which git says each time
    found = source.resolve(f"git:{fakelinux}", "main", tmp_path / "cache")
    assert found.tree == git(fakelinux, "rev-parse", "main^{tree}")
    assert source.uncommitted(found) is None
    assert series.apply(mail.read(path).mails, found).tree == tip
    assert series.apply(mail.read("main..topic", repository=fakelinux).mails, found).tree == tip


def test_a_dirty_tree_is_taken_as_it_was_committed(
    kdelta: Kdelta, make_series, fakelinux: Path, tmp_path: Path
) -> None:
    path = make_series(EDITED)
    (fakelinux / "mm" / "madvise.c").write_text("dirty\n")
    (fakelinux / "Makefile").write_text("staged\n")
    git(fakelinux, "add", "Makefile")
    before = files_below(fakelinux)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert origin.tree == git(fakelinux, "rev-parse", "main^{tree}")
    note = source.uncommitted(origin)
    assert note == "changes that are not committed are left out: Makefile, mm/madvise.c"
    planned(kdelta, path, fakelinux, tmp_path)
    assert files_below(fakelinux) == before


def test_a_clean_tree_a_bare_one_and_a_tarball_have_nothing_uncommitted(shaped, fakelinux: Path, tmp_path) -> None:
    for repository in (fakelinux, shaped("bare")):
        assert source.uncommitted(source.resolve(f"git:{repository}", None, tmp_path / "cache")) is None
    subprocess.run(["git", "archive", "-o", tmp_path / "x.tar", "main"], cwd=fakelinux, check=True)
    assert source.uncommitted(source.resolve(f"tar:{tmp_path}/x.tar", None, tmp_path / "cache")) is None


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a trace."""
    program = tmp_path / "trap"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/ran\ncat\n')
    program.chmod(0o755)
    return program


def set_traps(repository: Path, trap: Path) -> None:
    """Have every program that git knows to start from a repository be the trap."""
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-index-change", "pre-commit", "post-commit", "reference-transaction"):
        (hooks / hook).write_text(trap.read_text())
        (hooks / hook).chmod(0o755)
    for key in (
        *(
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
            "core.editor",
            "core.alternateRefsCommand",
            "core.askPass",
        ),
        *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command"),
        *("diff.external", "gpg.program", "credential.helper", "pager.log", "pager.diff", "sequence.editor"),
        *("merge.evil.driver", "interactive.diffFilter", "uploadpack.packObjectsHook"),
    ):
        git(repository, "config", key, str(trap))
    for command in ("rev-parse", "log", "apply", "read-tree", "diff-tree", "cat-file", "mailinfo", "status"):
        git(repository, "config", f"alias.{command}", f"!{trap}")
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "core.hooksPath", str(hooks))


def test_no_program_that_a_repository_names_runs(
    kdelta: Kdelta, make_series, fakelinux: Path, tmp_path: Path, trap: Path
) -> None:
    (fakelinux / ".gitattributes").write_text("* filter=evil diff=evil merge=evil text eol=crlf ident\n")
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "attributes")
    path = make_series(EDITED)
    wanted = git(fakelinux, "rev-parse", "topic^{tree}")
    set_traps(fakelinux, trap)
    before = files_below(fakelinux)
    planned(kdelta, path, fakelinux, tmp_path)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    mails = mail.read(path).mails
    applied = series.apply(mails, origin)
    assert applied.tree == wanted
    laid_out = tree.checkout(origin, applied.tree, tmp_path / "cache")
    assert (laid_out / "mm" / "madvise.c").read_bytes() == EDITED.encode()
    base.choose(mails, origin, base.Wish(prerequisites=("1" * 40,)))
    history.find(mails, origin)
    source.uncommitted(origin)
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert files_below(fakelinux) == before
    (fakelinux / "mm" / "madvise.c").touch()
    git(fakelinux, "status")
    assert (tmp_path / "ran").exists(), "the trap does not work"


def test_the_callers_git_variables_decide_nothing(
    kdelta: Kdelta, make_series, fakelinux: Path, tmp_path: Path, trap: Path
) -> None:
    path, other = make_series(EDITED), tmp_path / "other"
    subprocess.run(["git", "init", "-q", other], check=True)
    before = files_below(other)
    variables = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(tmp_path / "their-index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "their-objects"),
        "GIT_NAMESPACE": "theirs",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(trap),
        "GIT_CONFIG_KEY_1": "core.attributesFile",
        "GIT_CONFIG_VALUE_1": str(tmp_path / "attributes"),
        "GIT_CONFIG_PARAMETERS": f"'diff.external={trap}'",
        "GIT_EXTERNAL_DIFF": str(trap),
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_TEMPLATE_DIR": str(tmp_path),
    }
    done = planned(kdelta, path, fakelinux, tmp_path, **variables)
    assert "6.1.0-fake" in done.stdout
    for made in ("their-index", "their-objects", "trace", "ran"):
        assert not (tmp_path / made).exists(), made
    assert files_below(other) == before


def test_a_thousand_branches_and_tags_are_one_question(fakelinux: Path, make_series, tmp_path: Path) -> None:
    path = make_series(EDITED)
    head = git(fakelinux, "rev-parse", "main")
    refs = "".join(f"create refs/heads/b{n} {head}\ncreate refs/tags/t{n} {head}\n" for n in range(1000))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=fakelinux, input=refs, text=True, check=True)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    found = base.choose(mail.read(path).mails, origin, base.Wish())
    assert found.sure.startswith("the pre-image blob matches t")


def test_the_store_in_the_cache_lends_the_objects_and_copies_none(fakelinux: Path, tmp_path: Path) -> None:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert origin.git_dir.is_relative_to(tmp_path / "cache")
    assert [path for path in (origin.git_dir / "objects").rglob("*") if path.is_file()] == [
        origin.git_dir / "objects" / "info" / "alternates"
    ]


def test_a_shallow_clone_that_became_whole_is_whole(fakelinux: Path, shaped, tmp_path: Path) -> None:
    shallow = shaped("shallow")
    origin = source.resolve(f"git:{shallow}", None, tmp_path / "cache")
    repository = store.Repository(origin.git_dir)
    assert repository.run("rev-list", origin.commit).split() == [origin.commit]
    git(shallow, "fetch", "-q", "--unshallow")
    assert source.resolve(f"git:{shallow}", None, tmp_path / "cache") == origin
    assert repository.run("rev-list", origin.commit).split() == git(fakelinux, "rev-list", "main").split()


def test_a_clone_without_a_checkout_has_nothing_uncommitted(
    kdelta: Kdelta, make_series, fakelinux: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--no-checkout", str(fakelinux), "clone")
    done = planned(kdelta, make_series(EDITED), tmp_path / "clone", tmp_path)
    assert "not committed" not in done.stdout + done.stderr


def test_a_dirty_tree_with_a_split_index_is_noticed(fakelinux: Path, tmp_path: Path) -> None:
    git(fakelinux, "update-index", "--split-index")
    (fakelinux / "mm" / "madvise.c").write_text("dirty\n")
    git(fakelinux, "add", "mm/madvise.c")
    assert list((fakelinux / ".git").glob("sharedindex.*"))
    before = files_below(fakelinux)
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert source.uncommitted(origin) == "changes that are not committed are left out: mm/madvise.c"
    assert files_below(fakelinux) == before


def test_a_repository_of_another_hash_is_refused_in_words(
    kdelta: Kdelta, make_series, fakelinux: Path, tmp_path: Path
) -> None:
    path = make_series(EDITED)
    subprocess.run(["git", "init", "-q", "--object-format=sha256", tmp_path / "sha256"], check=True)
    for file in ("Makefile", "mm"):
        subprocess.run(["cp", "-r", fakelinux / file, tmp_path / "sha256"], check=True)
    git(tmp_path / "sha256", "add", ".")
    git(tmp_path / "sha256", "commit", "-q", "-m", "Linux fake")
    done = kdelta("plan", path, "--kernel", f"git:{tmp_path}/sha256", KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "names its objects by SHA-256" in done.stderr
    assert "--kernel tar:" in done.stderr
