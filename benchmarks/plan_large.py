"""Time `kdelta plan` on a git repository with 1000 branches and 70,000 files that the cache has never seen.

    python benchmarks/plan_large.py [--keep DIRECTORY]

The repository is made with `git fast-import`: 1000 commits on main, a branch at each, random contents.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FILES, BRANCHES, RUNS = 70_000, 1000, 5
MAKEFILE = b"VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION = -large\n"


def stream() -> Iterator[bytes]:
    """What git fast-import reads: one commit with all files, then one for each branch."""
    dice = random.Random(1)
    names = [f"dir{number % 300}/sub{number % 7}/file{number}.c".encode() for number in range(FILES)]
    yield b"commit refs/heads/main\ncommitter A <a@example.org> 1700000000 +0000\ndata 5\nlarge\n"
    yield b"M 100644 inline Makefile\ndata %d\n%s\n" % (len(MAKEFILE), MAKEFILE)
    for name in names:
        text = b"".join(b"line %d\n" % dice.randrange(10**9) for _ in range(40))
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text)
    for number in range(BRANCHES):
        yield b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\n" % (1700000001 + number)
        yield b"data 6\nstep\n\nM 100644 inline %s\ndata 4\n%03d\n\n" % (dice.choice(names), number)
        yield b"reset refs/heads/topic/%d\nfrom refs/heads/main\n\n" % number


def make(top: Path) -> Path:
    """Make the repository and, beside it, a series of ten patches, each to one file."""
    subprocess.run(["git", "init", "-q", "-b", "main", top], check=True)
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=top, stdin=subprocess.PIPE)
    assert importer.stdin
    for piece in stream():
        importer.stdin.write(piece)
    importer.stdin.close()
    assert importer.wait() == 0
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=top, check=True)
    for number in range(10):
        path = next(top.glob(f"dir{number}/*/file{number}.c"))
        path.write_text(path.read_text() + "one more\n")
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qam", f"mm: {number}"],
            cwd=top,
            check=True,
        )
    subprocess.run(["git", "format-patch", "-q", "-o", top.parent / "series", "HEAD~10"], cwd=top, check=True)
    subprocess.run(["git", "reset", "-q", "--hard", "HEAD~10"], cwd=top, check=True)
    return top


def plan(top: Path, cache: Path) -> tuple[float, float]:
    """Wall and processor seconds of one `kdelta plan` with a cache of its own."""
    code = "from orchestrator.cli import entry; entry()"
    argv = [sys.executable, "-c", code, "--cache-dir", cache, "plan", top.parent / "series", "--kernel", f"git:{top}"]
    began, spent = time.monotonic(), _children()
    subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.DEVNULL, cwd=cache.parent)
    return time.monotonic() - began, _children() - spent


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="make the repository there, or use the one that is there")
    keep = parser.parse_args().keep
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    with tempfile.TemporaryDirectory(prefix="kdelta-large-") as scratch:
        home = keep.absolute() if keep else Path(scratch)
        top = home / "linux"
        if not top.is_dir():
            home.mkdir(parents=True, exist_ok=True)
            make(top)
        for number in range(RUNS):
            wall, cpu = plan(top, Path(scratch) / f"cache{number}")
            print(f"fresh cache: {wall:.2f} s wall, {cpu:.2f} s processor")
        wall, cpu = plan(top, Path(scratch) / "cache0")
        print(f"again:       {wall:.2f} s wall, {cpu:.2f} s processor")


if __name__ == "__main__":
    main()
