"""make in its sandbox: configure, check, compile, with the time it took added up."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kvm import disk
from kvm.arch import get as get_arch
from kvm.errors import BuildError, InfraError, UserError
from orchestrator.build import kconfig
from orchestrator.build.findings.words import in_tree
from orchestrator.build.order import Order
from orchestrator.build.sandbox import OBJ, SRC, Sandbox
from orchestrator.build.unsandboxed import END_WITH_PARENT, Unsandboxed

FULL_BYTES = 16 << 20  # less room than this is none
_USAGE = ".cpu-seconds"
_STATS = ".ccache-stats"

# Whatever differs between two builds of one tree by itself is nailed down (Documentation/kbuild/reproducible-builds).
ENV = {
    "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
    "KBUILD_BUILD_USER": "kdelta",
    "KBUILD_BUILD_HOST": "kdelta",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
    "CCACHE_STATSLOG": f"{OBJ}/{_STATS}",
}


class Unfinished(BuildError):
    """make was killed at a limit: what it left cannot be trusted."""


class Make:
    """One order in its sandbox; `log` receives all that make says."""

    def __init__(self, order: Order, sandbox: Sandbox | Unsandboxed, log: Path) -> None:
        self.order = order
        self.sandbox = sandbox
        self.log = log
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        log.write_bytes(b"")
        (sandbox.obj / _STATS).unlink(missing_ok=True)

    @property
    def command(self) -> tuple[str, ...]:
        """make with what it is told of directories, architecture and toolchain, inside the sandbox."""
        order = self.order
        fixed = "make", "-C", SRC, f"O={OBJ}", f"ARCH={order.cell.arch}"
        return (*fixed, *order.toolchain.variables, *order.variables)

    def configure(self) -> None:
        """Merge the fragments onto what the configuration starts from; every option that they ask for must be there."""
        wish, config = self.order.wish, self.sandbox.obj / ".config"
        before = config.read_bytes() if config.is_file() else None
        time = config.stat() if before else None
        if wish.is_goal:
            self.run(wish.start)
            start = config.read_text(encoding="utf-8")
        else:
            start = wish.start
        config.write_text(f"{start}\n{wish.optional}{wish.fragments}", encoding="utf-8")
        self.run("olddefconfig")
        if before == config.read_bytes() and time:  # the same answer must not rebuild what hangs on its time
            os.utime(config, ns=(time.st_atime_ns, time.st_mtime_ns))
        if lost := kconfig.dropped(wish.fragments, config.read_text(encoding="utf-8")):
            names = ", ".join(f"CONFIG_{loss.option}" for loss in lost)
            raise UserError(
                f"{self.order.cell}: olddefconfig dropped {names}: {kconfig.describe(lost, self._why(lost))}",
                hint="add what they depend on to the fragment, or take them out",
                log=self.log,
            )

    def compile(self) -> None:
        """Build the image."""
        arch = get_arch(self.order.cell.arch)
        self.run(Path(arch.image).name, f"-j{self.order.jobs}")

    def run(self, *goals: str) -> None:
        """Run make for `goals`; raises BuildError when it fails or exceeds a limit."""
        order = self.order
        argv = [*self.command, *goals]
        # bwrap does not reap what it ran, so its own usage says nothing: GNU time asks inside. Where no bwrap ends all
        # of it, make must end when time does.
        timed = ["time", "--quiet", "--format=%U %S", f"--output={OBJ}/{_USAGE}", *END_WITH_PARENT, *argv]
        with order.quota.fence() as fence:
            police, limit = order.quota.exceeded, order.limit_seconds
            done = self.sandbox.run(timed, before=fence, output=self.log, timeout=limit, police=police)
        self.seconds += done.seconds
        self.cpu_seconds += _cpu_seconds(self.sandbox.obj / _USAGE)
        if done.charge:
            raise Unfinished(f"{order.cell}: {done.charge}, and was ended", log=self.log)
        if done.timed_out:
            raise Unfinished(
                f"{order.cell}: make {goals[0]} did not end in {order.limit_seconds:.0f} s",
                hint="limits.build in pipeline.yaml",
                log=self.log,
            )
        if done.returncode:
            raise self._failure(goals[0])

    def ccache(self) -> tuple[int, int]:
        """Return how many compilations ccache answered, and how many it was asked."""
        try:
            words = (self.sandbox.obj / _STATS).read_text(encoding="utf-8", errors="replace").split()
        except OSError:
            return 0, 0
        hits = words.count("direct_cache_hit") + words.count("preprocessed_cache_hit")
        return hits, hits + words.count("cache_miss")

    def _failure(self, goal: str) -> BuildError | InfraError:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if "No space left on device" in text and disk.room(self.sandbox.obj) < FULL_BYTES:
            return InfraError(f"{self.order.cell}: the disk is full", hint="`kdelta gc` frees space", log=self.log)
        first = re.search(r"^(bwrap: .*|.*\berror: .*|.*\*\*\* .*)$", text, re.MULTILINE)
        words = first[1] if first else "make gave no reason"
        if words.startswith("bwrap: "):
            return InfraError(f"{self.order.cell}: the sandbox did not start: {words}", log=self.log)
        return BuildError(f"{self.order.cell}: make {goal} failed: {in_tree(words)}", log=self.log)

    def _why(self, lost: list[kconfig.Dropped]) -> dict[str, str]:
        """Ask Kconfig itself which dependency is not met; no answer is no fault."""
        import kconfiglib  # noqa: PLC0415  (only here, and it is large)

        arch, tools = get_arch(self.order.cell.arch), self.order.toolchain
        env: Mapping[str, str] = {
            **{"srctree": SRC, "ARCH": arch.name, "SRCARCH": arch.srcarch, "CONFIG_": "CONFIG_"},
            **{"CC": tools.cc, "LD": tools.ld, "KERNELVERSION": self.order.source.release},
        }
        readable = {
            "/tmp/why/why.py": Path(__file__).with_name("kconfig_why.py"),  # noqa: S108
            "/tmp/why/kconfiglib.py": Path(kconfiglib.__file__),  # noqa: S108
        }
        inside = replace(self.sandbox, env={**self.sandbox.env, **env}, readable=readable)
        argv = ["python3", *readable, *(loss.option for loss in lost)]
        done = inside.run(argv, timeout=120)
        return dict(line.split("\t", 1) for line in done.output.splitlines() if "\t" in line)


def _cpu_seconds(usage: Path) -> float:
    try:
        return sum(float(word) for word in usage.read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # make was killed before it ended
        return 0.0
