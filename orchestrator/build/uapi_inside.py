"""Run inside the sandbox, alone: install uapi headers as `make headers_install` does, and compile each for user space.

Only the wanted headers and what they include are installed, by the tree's own scripts/headers_install.sh: all of them
take half a minute. argv: a JSON file; answer.json is left beside it.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

_INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"]([\w./-]+\.h)[>\"]", re.MULTILINE)
_DIAGNOSTIC = re.compile(r"^(?P<file>[^:\s]+):\d+(?::\d+)?: (?P<words>(?:fatal )?(?:error|warning): .*)$", re.MULTILINE)
_ENUMERATOR = re.compile(
    r"DW_TAG_enumerator\)\n\s*<\w+>\s+DW_AT_name\s*:\s*(?:\([^)]*\)\s*)?(?:\([^)]*\):\s*)?(\w+)\s*\n"
    r"\s*<\w+>\s+DW_AT_const_value\s*:\s*(?:\([^)]*\)\s*)?(-?\d+)"
)
_MACRO = re.compile(r"^#define (\w+(?:\([^)]*\))?) ?(.*)$", re.MULTILINE)
_KERNEL_SPACES = ("linux/", "asm/", "asm-generic/")


class Tree:
    """The exported headers: where each comes from, and `out`, where it is installed."""

    def __init__(self, srcarch: str, out: pathlib.Path, seconds: float) -> None:
        self.out = out
        self.seconds = seconds
        self.roots = [
            pathlib.Path(f"/src/arch/{srcarch}/include/uapi"),
            pathlib.Path(f"/build/arch/{srcarch}/include/generated/uapi"),
            pathlib.Path("/src/include/uapi"),
            pathlib.Path("/build/include/generated/uapi"),
        ]
        self.faults: dict[str, list[str]] = {}
        self._installed: dict[str, bool] = {}

    def run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a tool, its words as text."""
        return subprocess.run(argv, check=False, capture_output=True, text=True, errors="replace", timeout=self.seconds)

    def find(self, name: str) -> pathlib.Path | None:
        """Return the source of an exported header."""
        return next((root / name for root in self.roots if (root / name).is_file()), None)

    def entrances(self, name: str) -> list[str]:
        """Return what user space includes to get `name`: of asm-generic/, the asm/ headers that lead there."""
        if not name.startswith("asm-generic/"):
            return [name]
        users: dict[str, list[str]] = {}
        for root in self.roots:
            for path in [*root.glob("asm/*.h"), *root.glob("asm-generic/*.h")]:
                for used in _INCLUDE.findall(path.read_text(errors="replace")):
                    users.setdefault(used, []).append(str(path.relative_to(root)))
        seen, waiting = {name}, [name]
        while waiting:
            waiting = [user for used in waiting for user in users.get(used, []) if user not in seen]
            seen.update(waiting)
        return sorted(user for user in seen if user.startswith("asm/")) or [name]

    def install(self, name: str) -> list[str]:
        """Install a header and what it includes; return what went wrong."""
        if name in self._installed:
            return []
        source = self.find(name)
        self._installed[name] = source is not None
        if source is None:
            return []
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        done = self.run(["sh", "/src/scripts/headers_install.sh", str(source), str(target)])
        if done.returncode or not target.is_file():
            return [_plain(line) for line in done.stderr.strip().splitlines()[:4]] or ["headers_install.sh failed"]
        faults = []
        for used in _INCLUDE.findall(target.read_text(errors="replace")):
            faults += self.install(used)
            if used.startswith(_KERNEL_SPACES) and not self._installed.get(used):
                faults.append(f"{name}: includes <{used}>, which is not exported")
        return faults


def main(job: str) -> None:
    """Do the job and write the answer."""
    wanted = json.loads(pathlib.Path(job).read_text())
    work = pathlib.Path(job).parent
    tree = Tree(wanted["srcarch"], work / "include", wanted["seconds"])
    pathlib.Path("/build/scripts").mkdir(exist_ok=True)
    built = tree.run(["gcc", "-o", "/build/scripts/unifdef", "/src/scripts/unifdef.c"])
    if built.returncode:
        sys.exit(f"scripts/unifdef.c: {built.stderr[:200]}")
    names = {entrance for name in wanted["headers"] if tree.find(name) for entrance in tree.entrances(name)}
    answer = {name: _probe(tree, wanted, work, name) for name in sorted(names)}
    (work / "answer.json").write_text(json.dumps(answer))


def _probe(tree: Tree, wanted: dict[str, str], work: pathlib.Path, name: str) -> dict[str, object]:
    faults = tree.install(name)
    problems = {"headers_install": faults} if faults else {}
    cc, cxx = wanted["cc"], wanted["cxx"]
    user = [f"-I{tree.out}", "-Wall"]
    twice = ["-include", name, "-include", name, "/dev/null"]  # a header without a guard shows here
    compilers = {
        "C90": [cc, "-std=c90", *user, "-fsyntax-only", "-x", "c", *twice],
        "C11": [cc, "-std=c11", *user, "-fsyntax-only", "-x", "c", *twice],
        **({"C++": [cxx, *user, "-fsyntax-only", "-x", "c++", *twice]} if shutil.which(cxx) else {}),
    }
    for compiler, argv in compilers.items():
        said = tree.run(argv)
        lines = [f"{_plain(file)}: {words}" for file, words in _DIAGNOSTIC.findall(said.stderr)]
        if lines or said.returncode:
            problems[compiler] = lines or ["the compiler failed without a word"]
    return {"problems": problems, **_contents(tree, [cc, *user], work, name)}


def _contents(tree: Tree, cc: list[str], work: pathlib.Path, name: str) -> dict[str, object]:
    """What a program that includes the header gets: macros, enumerators, layouts."""
    plain, full = ([*cc, "-E", "-dM", "-x", "c", *extra, "/dev/null"] for extra in ([], ["-include", name]))
    given = set(_MACRO.findall(tree.run(plain).stdout))
    macros = {macro: value for macro, value in _MACRO.findall(tree.run(full).stdout) if (macro, value) not in given}
    file = work / "probe.o"
    debug = ["-g", "-fno-eliminate-unused-debug-types", "-c", "-o", str(file), "-include", name, "/dev/null"]
    if tree.run([*cc, "-x", "c", *debug]).returncode:
        return {"macros": macros, "compiled": False}
    dwarf = tree.run(["readelf", "--debug-dump=info", str(file)]).stdout
    pahole = tree.run(["pahole", str(file)]).stdout if shutil.which("pahole") else ""
    return {"macros": macros, "enumerators": dict(_ENUMERATOR.findall(dwarf)), "pahole": pahole}


def _plain(words: str) -> str:
    """Say a header by the name it is included by."""
    return re.sub(r"/(?:build|src)/(?:\S*include/(?:uapi/|generated/uapi/)?|\.uapi/include/)?", "", words)


if __name__ == "__main__":
    main(sys.argv[1])
