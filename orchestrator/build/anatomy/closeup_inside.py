"""Run inside the sandbox, alone: compile objects again with debug info and ask pahole for their layouts.

argv: a JSON file with {"argv" by object, "flags" to add to each, "layouts" wanted or not, "seconds" for each tool}.
Leaves answer.json beside it: by object the error or the file, its .su and pahole's output.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys


def main(job: str) -> None:
    """Do the job and write the answer."""
    wanted = json.loads(pathlib.Path(job).read_text())
    top = pathlib.Path(job).parent
    answer = {
        name: _look([*argv, *wanted["flags"]], top / str(number), wanted["layouts"], wanted["seconds"])
        for number, (name, argv) in enumerate(wanted["argv"].items())
    }
    (top / "answer.json").write_text(json.dumps(answer))


def _look(argv: list[str], stem: pathlib.Path, layouts: bool, seconds: float) -> dict[str, str]:
    file = stem.with_suffix(".o")
    words = [word for word in argv if not re.match(r"-Wp,-M|-M[MDTFP]*\b|-Werror$|-flto", word)]
    words[words.index("-o") + 1] = str(file)
    try:
        made = subprocess.run(words, check=False, capture_output=True, text=True, timeout=seconds, errors="replace")
        if made.returncode:
            said = made.stderr.strip().splitlines() or ["no reason given"]
            return {"error": next((line for line in said if "error" in line), said[-1])}
        usage = stem.with_suffix(".su")
        found = {"file": file.name, "usage": usage.read_text(errors="replace") if usage.exists() else ""}
        if layouts and shutil.which("pahole"):
            shown = subprocess.run(
                ["pahole", file], check=False, capture_output=True, text=True, timeout=seconds, errors="replace"
            )
            found["pahole"] = shown.stdout
        return found
    except (OSError, subprocess.SubprocessError) as fault:
        return {"error": str(fault)}


if __name__ == "__main__":
    main(sys.argv[1])
