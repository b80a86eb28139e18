"""A suite's C sources in, its static program for one architecture out, from the cache if it was built before."""

from pathlib import Path

from kvm import proc
from kvm.errors import UserError
from orchestrator import cache
from orchestrator.build import toolchain
from orchestrator.build.sandbox import PATH
from orchestrator.trial.suites.suite import Suite

RECIPE = 2  # raise it when the same sources would give another program
_FLAGS = ("-std=gnu11", "-O2", "-g0", "-Wall", "-static", "-pthread")


def program(suite: Suite, arch: str, cache_dir: Path) -> Path:
    """Return the suite's static program for `arch`; raises UserError when its C does not compile."""
    tools = toolchain.find(arch)
    headers = sorted((suite.directory.parent / "include").glob("*.h")) + sorted(suite.directory.glob("*.h"))
    sources = [suite.directory / name for name in suite.sources]
    contents = [cache.sha256(path) for path in (*headers, *sources)]
    inputs = [RECIPE, tools.identity, _FLAGS, suite.name, contents]
    final = cache.keep(cache_dir / "suites" / cache.key(inputs))
    if not cache.find(final, lambda directory: directory / suite.name):
        with cache.publish(final) as draft:
            here = f"-ffile-prefix-map={suite.directory.parent}/="  # what __FILE__ says is the same everywhere
            argv = [tools.cc, *_FLAGS, here, f"-I{suite.directory.parent / 'include'}", f"-I{suite.directory}"]
            done = proc.run([*argv, *sources, "-o", draft / suite.name], timeout=300, env={"PATH": PATH})
            if done.returncode:
                raise UserError(
                    f"suite {suite.name} does not compile for {arch}: {_first_error(done.output)}",
                    hint="`kdelta doctor` names the packages that a suite needs",
                )
            cache.seal(draft)
    return final / suite.name


def _first_error(output: str) -> str:
    lines = [line for line in output.splitlines() if "error" in line] or output.splitlines()
    return lines[0] if lines else "the compiler gave no reason"
