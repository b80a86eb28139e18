"""Run inside the sandbox, alone: build selftests of a tree as kselftest does, in a copy that may be written.

argv: the tree, the directory to work in, and the kernel's headers if they were made before. job.json there says
what; out/ receives what is to be installed, headers.tar the headers, and answer.json what there is to run and what did
not compile.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

SRC, OBJ = map(pathlib.Path, sys.argv[1:3])
HEADERS = sys.argv[3:]
JOB: dict[str, Any] = json.loads((OBJ / "job.json").read_text())
TREE = OBJ / "tree"
SELFTESTS = TREE / "tools/testing/selftests"
OTHER_NAMES = {
    "mm": "vm",
    "vm": "mm",
}  # Linux commit baa489fabd01 ("selftests/vm: rename selftests/vm to selftests/mm")
VARIABLES = ("TEST_PROGS", "TEST_GEN_PROGS", "TEST_CUSTOM_PROGS")  # what runs by itself
BESIDE = ("TEST_GEN_FILES", "TEST_GEN_PROGS_EXTENDED", "TEST_PROGS_EXTENDED", "TEST_FILES", "SUBDIRS")
WORDS_SHOWN = 300


def main() -> None:
    """Do it all, and answer."""
    _copy_tree()
    said = _headers()
    targets = {name: ({"fault": said} if said else _target(name)) for name in JOB["targets"]}
    (OBJ / "answer.json").write_text(json.dumps(targets))
    shutil.rmtree(TREE)  # its links lead to where nobody else may follow them


def _copy_tree() -> None:
    """Link what is only read, and copy what selftests write into."""
    SELFTESTS.mkdir(parents=True)
    (OBJ / "headers").mkdir()
    (TREE / "usr").mkdir()
    (TREE / "usr/include").symlink_to(OBJ / "headers/usr/include")
    for place in (SRC, SRC / "tools", SRC / "tools/testing"):
        for entry in place.iterdir():
            link = TREE / entry.relative_to(SRC)
            if not link.exists():
                link.symlink_to(entry)
    shutil.copytree(SRC / "tools/testing/selftests", SELFTESTS, symlinks=True, dirs_exist_ok=True)


def _headers() -> str:
    """Make the headers that user space sees of this kernel, or take those made before; return why there are none."""
    if HEADERS:
        unpacked = _run(["tar", "-C", str(OBJ / "headers"), "-xf", *HEADERS])
        return _reason(unpacked.stdout) if unpacked.returncode else ""
    done = _run(["make", "-C", str(SRC), f"O={OBJ}/headers", f"-j{JOB['jobs']}", *JOB["variables"], "headers"])
    if done.returncode:
        return _reason(done.stdout)
    _run(["tar", "-C", str(OBJ / "headers"), "-cf", str(OBJ / "headers.tar"), "usr"])
    return ""


def _target(name: str) -> dict[str, Any]:
    """Build one target, and the targets below it."""
    directory = SELFTESTS / name
    if not (directory / "Makefile").is_file():
        first, *rest = name.split("/", 1)
        directory = SELFTESTS.joinpath(OTHER_NAMES.get(first, first), *rest)
    if not (directory / "Makefile").is_file():
        return {"absent": True}
    return _built(name, directory)


def _built(name: str, directory: pathlib.Path) -> dict[str, Any]:
    listed = _listed(directory)
    generated = [*listed["TEST_GEN_PROGS"], *listed["TEST_CUSTOM_PROGS"], *listed["TEST_GEN_FILES"]]
    generated += listed["TEST_GEN_PROGS_EXTENDED"]
    wanted = [one for one in generated if not JOB["programs"] or f"{name}/{one}" in JOB["programs"]]
    goals = [f"{directory}/{one}" for one in wanted]
    if goals:
        _make(directory, "-k", f"-j{JOB['jobs']}", *goals)
    unbuilt = {
        one: _reason(_make(directory, goal).stdout)
        for one, goal in zip(wanted, goals, strict=True)
        if not pathlib.Path(goal).exists()
    }
    _install(name, directory, listed, wanted)
    found: dict[str, Any] = {
        "programs": [one for variable in VARIABLES for one in listed[variable] if one not in unbuilt],
        "files": [one for one in generated if (directory / one).exists()],
        "unbuilt": unbuilt,
        "seconds": _seconds(directory),
        "below": {},
    }
    for part in listed["SUBDIRS"]:
        if (directory / part / "Makefile").is_file():
            found["below"][f"{name}/{part}"] = _built(f"{name}/{part}", directory / part)
    return found


def _listed(directory: pathlib.Path) -> dict[str, list[str]]:
    """Ask make what the target's Makefile and lib.mk say."""
    names = (*VARIABLES, *BESIDE)
    rule = "kdelta-list: ; @:" + "".join(f"$(info kdelta {name} $({name}))" for name in names)
    said = _make(directory, "-s", f"--eval={rule}", "kdelta-list").stdout
    found = {name: re.findall(rf"^kdelta {name} (.*)$", said, re.MULTILINE) for name in names}
    return {name: [_bare(word, directory) for line in lines for word in line.split()] for name, lines in found.items()}


def _bare(word: str, directory: pathlib.Path) -> str:
    """Without the directory that lib.mk puts before what is generated."""
    return os.path.normpath(word.removeprefix(f"{directory}/"))


def _install(name: str, directory: pathlib.Path, listed: dict[str, list[str]], wanted: list[str]) -> None:
    """Put what is to be pushed into out/."""
    extra = [one for one in ("settings", "config") if (directory / one).is_file()]
    given = [*listed["TEST_PROGS"], *listed["TEST_PROGS_EXTENDED"], *listed["TEST_FILES"], *extra, *wanted]
    for one in given:
        path = directory / one
        place = OBJ / "out" / name / (path.name if one.startswith((".", "/")) else one)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True)
        elif path.is_file():
            shutil.copy(path, place)


def _seconds(directory: pathlib.Path) -> float | None:
    """The limit of each program of the target; 0 is none."""
    settings = directory / "settings"
    text = settings.read_text(errors="replace") if settings.is_file() else ""
    found = re.search(r"^timeout=(\d+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def _make(directory: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    # KSFT_KHDR_INSTALL: older targets would install headers themselves, into the tree
    return _run(["make", "-C", str(directory), *JOB["variables"], "KSFT_KHDR_INSTALL=", *words])


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    sys.stdout.write(f"+ {' '.join(argv)}\n")
    done = subprocess.run(
        argv,
        env={**os.environ, **JOB["env"]},
        check=False,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    return done


def _reason(said: str) -> str:
    """The first line that says what is wrong."""
    lines = [line for line in said.splitlines() if re.search(r"error|undefined reference|\*\*\*|No such", line)]
    return (lines or said.splitlines() or ["make gave no reason"])[0].replace(f"{SELFTESTS}/", "")[:WORDS_SHOWN]


main()
