"""A tiny tree whose Makefile knows Kbuild's targets: real git and real make, no compiler."""

import subprocess
from pathlib import Path

import pytest

from orchestrator.build.quota import Quota

QUOTA = Quota(50, 1 << 28)

MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 0
EXTRAVERSION = -fake

tinyconfig:
\t@printf 'CONFIG_TINY=y\\n' >$(O)/.config
olddefconfig:
\t@grep -vf Kconfig.off $(O)/.config >$(O)/.new; mv $(O)/.new $(O)/.config
modules:
\t@echo BUILT MODULES; ! grep -q BAD drivers/foo.c
bzImage Image: $(O)/built
\t@mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot
\t@cp $(O)/built $(O)/arch/x86/boot/bzImage; cp $(O)/built $(O)/arch/arm64/boot/Image
$(O)/built: mm/madvise.c
\t@! grep -q SYNTAX $< || { echo "/src/mm/madvise.c:1:1: error: SYNTAX"; exit 1; }
\t@echo COMPILED; cat $< >$@
"""


def git(where: Path, *args: str) -> str:
    identity = ["-c", "user.name=A Developer", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *identity, *args], cwd=where, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def fakelinux(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    top = tmp_path / "fakelinux"
    (top / "mm").mkdir(parents=True)
    (top / "Makefile").write_text(MAKEFILE)
    (top / "drivers").mkdir()
    (top / "drivers" / "foo.c").write_text("a module\n")
    (top / "Kconfig.off").write_text("BROKEN\n")  # what olddefconfig drops
    (top / "mm" / "madvise.c").write_text("".join(f"line {number}\n" for number in range(40)))
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "Linux fake")
    return top


@pytest.fixture
def make_series(fakelinux: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Commit edits of mm/madvise.c on a branch and write them as `git format-patch` does."""

    def make(*texts: str, cover: bool = True) -> Path:
        git(fakelinux, "checkout", "-q", "-B", "topic", "main")
        for number, text in enumerate(texts):
            (fakelinux / "mm" / "madvise.c").write_text(text)
            git(fakelinux, "commit", "-q", "-a", "-m", f"mm: step {number}\n\nWhy it is.")
        out = tmp_path / "series"
        letter = ["--cover-letter"] if cover else []
        git(fakelinux, "format-patch", "-q", "-o", str(out), *letter, "main..topic")
        git(fakelinux, "checkout", "-q", "main")
        return out

    return make
