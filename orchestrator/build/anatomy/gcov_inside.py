"""Run inside the sandbox, alone: ask the compiler and gcov about the lines of objects that count.

argv: a JSON file with "argv" by object (what compiled it; the preprocessor is run again), "readings" by name (the
object, and its .gcda in base64, "" for none), the "files" wanted, "gcov", "seconds" for each tool.
Leaves answer.json beside it: "left" by object and file, "lines" by reading and file, "errors".
"""

import base64
import gzip
import json
import pathlib
import re
import shutil
import subprocess
import sys

BUILD, SOURCES = pathlib.Path("/build"), "/src/"
LARGEST = 1 << 28  # bytes of JSON that are read of one object
_MARKER = re.compile(r'^# (\d+) "([^"]*)"')


def main(job: str) -> None:
    """Do the job and write the answer."""
    wanted, top = json.loads(pathlib.Path(job).read_text()), pathlib.Path(job).parent
    files, errors = set(wanted["files"]), {}
    left, lines = {}, {}
    for name, argv in wanted["argv"].items():
        try:
            left[name] = _left(argv, top / "left.i", files, wanted["seconds"])
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            errors[name] = str(fault)[:500]
    for number, (name, (target, counts)) in enumerate(wanted["readings"].items()):
        try:
            lines[name] = _lines(target, counts, top / f"reading{number}", files, wanted)
        except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError, EOFError) as fault:
            errors[name] = str(fault)[:500]
    (top / "answer.json").write_text(json.dumps({"left": left, "lines": lines, "errors": errors}))


def _left(argv: list[str], into: pathlib.Path, files: set[str], seconds: float) -> dict[str, list[int]]:
    """Return the lines that #if and its like leave; macros stay as they are, so that lines stay where they are."""
    words = ["-E" if word == "-c" else word for word in argv if not re.match(r"-Wp,-M|-M[MDTFP]*\b|-Werror", word)]
    words[words.index("-o") + 1] = str(into)
    _run([*words, "-fdirectives-only"], BUILD, seconds)
    found: dict[str, set[int]] = {}
    lines, number = None, 0
    with into.open(errors="replace") as text:
        for line in text:
            if marker := _MARKER.match(line):
                number, name = int(marker[1]), _in_tree(marker[2])
                lines = found.setdefault(name, set()) if name in files else None
                continue
            if lines is not None and line.strip():
                lines.add(number)
            number += 1
    into.unlink()
    return {name: sorted(numbers) for name, numbers in found.items()}


def _lines(target: str, counts: str, where: pathlib.Path, files: set[str], wanted: dict) -> dict[str, dict]:  # type: ignore[type-arg]
    """Return how often each line with counters ran, and each branch that leaves it."""
    where.mkdir()
    shutil.copyfile((BUILD / target).with_suffix(".gcno"), where / "object.gcno")
    if counts:
        (where / "object.gcda").write_bytes(base64.b64decode(counts, validate=True))
    argv = [wanted["gcov"], "--json-format", "--branch-probabilities", "object.gcno"]
    said = _run(argv, where, wanted["seconds"])
    written = list(where.glob("*.gcov.json.gz"))
    if not written or "mismatch" in said:  # the counters of another build, of which gcov says so and goes on
        raise ValueError(said.strip()[-300:] or "gcov wrote nothing")
    with gzip.open(written[0]) as packed:
        content = packed.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("gcov wrote too much")
    shutil.rmtree(where)
    return _of_files(json.loads(content)["files"], files)


def _of_files(told: list[dict], files: set[str]) -> dict[str, dict]:  # type: ignore[type-arg]
    """Add up what is told of a line by each function that it was compiled into."""
    found: dict[str, dict] = {}  # type: ignore[type-arg]
    for one in told:
        if (name := _in_tree(one["file"])) in files:
            lines = found.setdefault(name, {})
            for line in one["lines"]:
                have = lines.setdefault(line["line_number"], {"times": 0, "branches": []})
                have["times"] += line["count"]
                have["branches"] = _add(have["branches"], [branch["count"] for branch in line["branches"]])
    return found


def _add(some: list[int], more: list[int]) -> list[int]:
    if len(some) == len(more):
        return [one + other for one, other in zip(some, more, strict=True)]
    return some + more


def _in_tree(name: str) -> str:
    """The path in the tree, of a kernel that names its files whole or, by -ffile-prefix-map, from there."""
    return name.removeprefix(SOURCES).removeprefix("./")


def _run(argv: list[str], where: pathlib.Path, seconds: float) -> str:
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, errors="replace", timeout=seconds, cwd=where
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise ValueError(next((line for line in said if "error" in line), said[-1]))
    return done.stderr


if __name__ == "__main__":
    main(sys.argv[1])
