"""`make bench`, second part: what another patch, another build and a plan cost, as ratios of one cold build.

On one architecture, in a cache of its own; CPU seconds are the builds' own, so little else may run beside it.
"""

import difflib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ARCH = "arm64"
FILES = (
    *("mm/mincore.c", "mm/msync.c", "mm/mlock.c", "mm/mprotect.c", "mm/mremap.c"),
    *("mm/util.c", "kernel/sys.c", "fs/open.c", "fs/read_write.c", "lib/string.c"),
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kdelta-bench-") as scratch:
        where = Path(scratch)
        cache = where / "cache"
        bundled = build(cache, where / "bundled", "madv-dontneed-locked")
        whole = bundled["builds"][0]["cpu_seconds"]
        print(f"{ARCH}: a full build: {whole:.1f} s processor")
        ratio("patched, a uapi header", bundled["builds"][1], whole)
        sources = next(tree for tree in (cache / "trees").iterdir() if (tree / "mm/mincore.c").is_file())
        one = build(cache, where / "one", series(where / "series-1", sources, FILES[:1]))
        ratio("patched, one file", one["builds"][1], whole)
        ten = build(cache, where / "ten", series(where / "series-10", sources, FILES), "--each-patch")
        for step in ten["steps"]:
            ratio(f"patch {step['number']} of 10, one file each", step, whole)
        for part in ("builds", "objects"):
            shutil.rmtree(cache / part)
        again = build(cache, where / "again", "madv-dontneed-locked")["builds"][0]
        ratio(f"a full build, ccache warm ({again['ccache_hits']} of {again['ccache_asked']} hits)", again, whole)
        plan(cache, series(where / "series-100", sources, FILES, 10))


def build(cache: Path, out: Path, name: str | Path, *options: str) -> dict[str, Any]:
    """Run `kdelta build` and return its record."""
    kdelta(cache, "build", str(name), "--arch", ARCH, "--out", str(out), *options)
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return record


def plan(cache: Path, directory: Path) -> None:
    """Time `kdelta plan` on the bundled series and on a hundred patches in one mbox."""
    mbox = directory.with_suffix(".mbox")
    mbox.write_bytes(b"".join(file.read_bytes() for file in sorted(directory.iterdir())))
    for name, label in (("madv-dontneed-locked", "the bundled series"), (str(mbox), "an mbox of 100 patches")):
        started = time.monotonic()
        kdelta(cache, "plan", name, "--arch", ARCH)
        print(f"plan, {label}: {time.monotonic() - started:.2f} s wall")


def series(directory: Path, sources: Path, files: tuple[str, ...], rounds: int = 1) -> Path:
    """Write patches that each add a function to one file, and return their directory."""
    directory.mkdir()
    texts = {file: (sources / file).read_text(encoding="utf-8") for file in files}
    total = len(files) * rounds
    for number in range(1, total + 1):
        file = files[(number - 1) % len(files)]
        name = f"kdelta_bench_{number}"
        after = f"{texts[file]}\nint {name}(void);\nint {name}(void)\n{{\n\treturn {number};\n}}\n"
        diff = difflib.unified_diff(texts[file].splitlines(True), after.splitlines(True), f"a/{file}", f"b/{file}")
        head = (
            f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: B <b@example.org>\nSubject: [PATCH {number}/{total}] more"
        )
        body = f"{head}\n\nWhy.\n---\n\ndiff --git a/{file} b/{file}\n{''.join(diff)}-- \n2.39\n\n"
        (directory / f"{number:04d}-more.patch").write_text(body, encoding="utf-8")
        texts[file] = after
    return directory


def kdelta(cache: Path, *words: str) -> None:
    program = [sys.executable, "-c", "from orchestrator.cli import entry; entry()", "--cache-dir", str(cache)]
    subprocess.run([*program, *words], check=True, stdout=subprocess.DEVNULL)


def ratio(what: str, made: dict[str, Any], whole: float) -> None:
    print(f"{what}: {made['cpu_seconds']:.1f} s processor, {made['cpu_seconds'] / whole:.3f} of a full build")


if __name__ == "__main__":
    main()
