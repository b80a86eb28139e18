"""KUnit's tests that are modules: taken out of the build under test, and loaded in the order that they are named in."""

import tarfile
from pathlib import Path

from kvm.errors import UserError
from orchestrator.trial.suites.stage import Stage, inside
from orchestrator.trial.suites.suite import Suite

_MOST_BYTES = 256 << 20


def stage(suite: Suite, archive: Path | None, staged: Stage) -> str:
    """Stage the modules, and return the command that loads them.

    It prints what the kernel's ring has left of what was said meanwhile, for a console that is silent.
    """
    found = _members(archive) if archive else {}
    if missing := [name for name in suite.modules if name not in found]:
        raise UserError(
            f"suite {suite.name}: the kernel was built without the modules {', '.join(missing)}",
            hint="their options under needs.config, as in `config: [MODULES, KUNIT=m, KUNIT_EXAMPLE_TEST=m]`",
        )
    for name in suite.modules:
        staged.binaries[f"{name}.ko"] = found[name]
    loads = " && ".join(f"insmod {inside(suite.name)}/{name}.ko" for name in suite.modules)
    # what the kernel said before is not this suite's
    return f"dmesg -c >/dev/null; {loads}; status=$?; dmesg; exit $status"


def _members(archive: Path) -> dict[str, bytes]:
    """Return the modules by name, in which - and _ are the same."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() and member.size <= _MOST_BYTES else None
            if content and member.name.endswith(".ko"):
                name = Path(member.name).stem
                found[name] = found[name.replace("_", "-")] = found[name.replace("-", "_")] = content.read()
    return found
