"""A branch of a real kernel that grows without a work tree: the bundled series' tree, with the series in it."""

from pathlib import Path

from orchestrator import cache, plan
from orchestrator.config import Pipeline
from orchestrator.intake import git
from orchestrator.request import Request
from tests.conftest import ROOT

FILE = "mm/madvise.c"
WORKS, BREAKS = "\t\trefuse &= ~VM_LOCKED;\n", "\t\trefuse |= VM_LOCKED;\n"


class Branch:
    """The bare repository `git_dir`, in which the branch called `name` is what HEAD names."""

    def __init__(self, git_dir: Path, name: str) -> None:
        series = str(ROOT / "patches" / "madv-dontneed-locked")
        asked = Request(pipeline=Pipeline(series=series), near=str(ROOT), cache=str(cache.default_root()), jobs=1)
        todo = plan.make(asked)
        self.git_dir, self.name = git_dir, name
        self._repository = git.create(git_dir, borrow=todo.source.git_dir / "objects")
        self._repository.run("symbolic-ref", "HEAD", f"refs/heads/{name}")
        self._repository.run("update-ref", "HEAD", todo.applied.commits[-1])

    @property
    def text(self) -> str:
        """mm/madvise.c as it is at the tip."""
        return self._repository.run("cat-file", "blob", f"HEAD:{FILE}")

    def commit(self, text: str, subject: str, on: str = "HEAD") -> None:
        """Put a commit that makes mm/madvise.c `text` on the tip, or on it as the new tip of another branch `on`."""
        git = self._repository.run
        blob = git("hash-object", "-w", "--stdin", input=text.encode()).strip()
        git("read-tree", "HEAD")
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{FILE}")
        commit = git("commit-tree", git("write-tree").strip(), "-p", "HEAD", "-m", subject).strip()
        git("update-ref", on, commit)

    def mails(self, last: str) -> str:
        """The commits since HEAD to `last`, as git format-patch writes them."""
        return self._repository.run("format-patch", "--stdout", f"HEAD..{last}")
