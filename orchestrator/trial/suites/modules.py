"""KUnit's tests that are modules: taken out of the build under test, and loaded in the order that they are named in."""

import tarfile
from pathlib import Path

from kvm.errors import UserError
from orchestrator.trial.suites.stage import Stage, inside
from orchestrator.trial.suites.suite import Suite

_MOST_BYTES = 256 << 20
# Older kernels give a module's suites no plan: as many as ended were to run; one that did not end is seen.
_PLAN = r"""grep -q '\] K\?TAP version' .log || {
ended=$(grep -c '\] \(not \)\?ok ' .log)
[ "$ended" = 0 ] || printf '[    0.000000] %s\n' 'TAP version 14' "1..$ended"
}"""


def stage(suite: Suite, archive: Path | None, staged: Stage) -> str:
    """Stage the modules, and return the command that loads them and reads what the kernel says meanwhile."""
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
    return f"dmesg -c >/dev/null; {loads}; status=$?; dmesg >.log; {_PLAN}; cat .log; exit $status"


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
