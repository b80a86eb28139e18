"""Scripts need their interpreter in the guest: busybox has some, packages bring others, a missing one is named."""

import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from kvm.errors import UserError
from orchestrator.trial.suites.debian import Packages
from orchestrator.trial.suites.run import Run
from orchestrator.trial.suites.stage import Stage, inside, shebang
from orchestrator.trial.suites.suite import Suite

_BUSYBOX = ("sh", "ash", "awk", "sed", "env")  # what the guest's own user land runs scripts with, in /bin


def links(suite: Suite, staged: Stage, runs: tuple[Run, ...], packages: Packages | None) -> Iterator[str]:
    """Yield the shell lines that give interpreters the names that scripts call them by; raises UserError for a missing.

    Only scripts that are run as tests are held to it: what lies beside them may never be.
    """
    tests = {run.program for run in runs}
    seen: set[str] = set()
    for at, path in staged.files.items():
        for name in _interpreters(shebang(path)):
            if name in seen or not (source := _source(suite, name, packages, at if at in tests else None)):
                continue
            seen.add(name)
            if source != name:
                link, above, origin = map(shlex.quote, (name, str(PurePosixPath(name).parent), source))
                yield f"[ -e {link} ] || {{ mkdir -p {above} && ln -s {origin} {link}; }}"


def _interpreters(words: list[str]) -> list[str]:
    """The paths that must exist; of `env NAME` both."""
    if not words or not words[0].startswith("/"):
        return []
    if PurePosixPath(words[0]).name != "env":
        return words[:1]
    named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return [words[0], *(f"/bin/{PurePosixPath(name).name}" for name in named[:1])]


def _source(suite: Suite, name: str, packages: Packages | None, script: str | None) -> str | None:
    """Where an interpreter is in the guest; None where it is not and nobody is known to miss it."""
    base = PurePosixPath(name).name
    if packages and (place := packages.program(base)):
        return f"{inside(suite.name)}/{place}"
    if base in _BUSYBOX:
        return f"/bin/{base}"
    if script is None:
        return None
    raise UserError(
        f"suite {suite.name}: the script {script} needs {name}, which the guest does not have; "
        f"looked among its own programs ({', '.join(_BUSYBOX)}) and in packages: {', '.join(suite.packages) or 'none'}",
        hint=f"the Debian package that ships it under `packages` in suite.yaml, as in `packages: [{base}]`",
    )
