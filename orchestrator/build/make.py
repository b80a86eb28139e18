"""make in its sandbox: configure, check, compile, with the time it took added up."""

import os
import re
from pathlib import Path

from kvm import disk
from kvm.arch import get as get_arch
from kvm.errors import BuildError, InfraError, UserError
from orchestrator.build import ccache, kconfig, kconfig_ask
from orchestrator.build.findings.words import in_tree
from orchestrator.build.kconfig import Dropped
from orchestrator.build.order import Order
from orchestrator.build.sandbox import OBJ, SRC, Sandbox
from orchestrator.build.unsandboxed import Unsandboxed

FULL_BYTES = 16 << 20  # less room than this is none
CONFIG_BYTES = 16 << 20  # 100 times an allyesconfig's
STATS_BYTES = 64 << 20  # 100 times an allyesconfig's
_WORDS_SHOWN = 500  # of the line that says why; Kbuild's are shorter
# A guest has deadlines, a build has time: where they want the same processor, it is the guest's
BELOW_GUESTS = ("nice", "-n", "10")
_END_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
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

# SIGKILL's words: of gcc (and collect2) of a program that it started, of make of its own and of a shell's.
_KILLED = re.compile(
    r"^.*(?:Killed signal terminated program|terminated with signal 9|\*\*\* \[.*\] (?:Killed|Error 137)\b).*$",
    re.MULTILINE,
)


class Unfinished(BuildError):
    """make was killed, at a limit or by somebody: what it left cannot be trusted."""

    unfinished = True


class Make:
    """One order in its sandbox; `log` receives all that make says."""

    def __init__(self, order: Order, sandbox: Sandbox | Unsandboxed, log: Path) -> None:
        self.order = order
        self.sandbox = sandbox
        self.log = log
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        log.write_bytes(b"")

    @property
    def command(self) -> tuple[str, ...]:
        """make with what it is told of directories, architecture and toolchain, inside the sandbox."""
        order = self.order
        fixed = "make", "-C", SRC, f"O={OBJ}", f"ARCH={get_arch(order.cell.arch).kbuild}"
        return (*fixed, *order.toolchain.variables, *order.variables)

    @property
    def config(self) -> str:
        """The .config as make left it; raises BuildError if there is none that can be read."""
        try:
            return disk.read_text(self.sandbox.obj / ".config", CONFIG_BYTES)
        except OSError as fault:
            raise BuildError(
                f"{self.order.cell}: make left .config unreadable: {fault.strerror}", log=self.log
            ) from fault

    def configure(self) -> None:
        """Merge the fragments onto what the configuration starts from; every option that they ask for must be there."""
        wish, config = self.order.wish, self.sandbox.obj / ".config"
        before = self.config if config.is_file() else None
        time = config.stat() if before else None
        if wish.is_goal:
            self.run(wish.start)
            start = self.config
        else:
            start = wish.start
        config.write_text(f"{start}\n{wish.optional}{wish.fragments}", encoding="utf-8")
        self.run("olddefconfig")
        if wish.enable and (more := kconfig_ask.enable(self.sandbox, self.order, wish.enable)):
            config.write_text(f"{self.config}{more}{wish.fragments}", encoding="utf-8")
            self.run("olddefconfig")
        if before == self.config and time:  # the same answer must not rebuild what hangs on its time
            os.utime(config, ns=(time.st_atime_ns, time.st_mtime_ns))
        self._check(kconfig.dropped(wish.fragments, self.config))

    def compile(self) -> None:
        """Build the image, and the modules if there are any: what a series touches may be one."""
        try:
            (self.sandbox.obj / _STATS).unlink(missing_ok=True)  # of another make
        except OSError as fault:
            raise BuildError(f"{self.order.cell}: {_STATS}: {fault.strerror}", log=self.log) from fault
        modules = ["modules"] if "m" in kconfig.parse(self.config).values() else []
        self.run(Path(get_arch(self.order.cell.arch).image).name, *modules, f"-j{self.order.jobs}")

    def run(self, *goals: str) -> None:
        """Run make for `goals`; raises BuildError when it fails or exceeds a limit."""
        order = self.order
        argv = [*self.command, *goals]
        # bwrap does not reap what it ran, so its own usage says nothing: GNU time asks inside. Where no bwrap ends all
        # of it, make must end when time does.
        usage = ["time", "--quiet", "--format=%U %S", f"--output={OBJ}/{_USAGE}"]
        timed = [*usage, *_END_WITH_PARENT, *BELOW_GUESTS, *argv]
        done = self.sandbox.run(timed, output=self.log, timeout=order.limit_seconds)
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
        if (signum := _killed(done.returncode)) > 0:
            raise Unfinished(f"{order.cell}: make {goals[0]} was killed by signal {signum}", log=self.log)
        if done.returncode:
            raise self._failure(goals[0])

    def ccache(self) -> tuple[int, int]:
        """Return how many compilations ccache answered, and how many it was asked."""
        try:
            return ccache.read(disk.read_text(self.sandbox.obj / _STATS, STATS_BYTES))
        except OSError:
            return 0, 0

    def _check(self, dropped: list[Dropped]) -> None:
        """Raise a UserError for options that were asked for and are not there, but where the series decides that."""
        lost = [loss for loss in dropped if not self.order.is_for_the_series(loss.option)]
        if lost:
            names = ", ".join(f"CONFIG_{loss.option}" for loss in lost)
            reasons = kconfig_ask.why(self.sandbox, self.order, [loss.option for loss in lost])
            raise UserError(
                f"{self.order.cell}: olddefconfig dropped {names}: {kconfig.describe(lost, reasons)}",
                hint="add what they depend on to the fragment, or take them out",
                log=self.log,
            )

    def _failure(self, goal: str) -> BuildError | InfraError:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if "No space left on device" in text and disk.room(self.sandbox.obj) < FULL_BYTES:
            return InfraError(f"{self.order.cell}: the disk is full", hint="`kdelta gc` frees space", log=self.log)
        if killed := _KILLED.search(text):
            return Unfinished(
                f"{self.order.cell}: make {goal}: a program of it was killed: {in_tree(killed[0][:_WORDS_SHOWN])}",
                hint="by the host for want of memory? fewer --jobs need less",
                log=self.log,
            )
        first = re.search(r"^(.*\berror: .*|.*\*\*\* .*)$", text, re.MULTILINE)
        words = first[1][:_WORDS_SHOWN] if first else "make gave no reason"
        return BuildError(f"{self.order.cell}: make {goal} failed: {in_tree(words)}", log=self.log)


def _killed(status: int) -> int:
    """Return the signal that ended make, or what it ran in: time(1) and bwrap say 128 more; 0 or less if none did."""
    return -status if status < 0 else status - 128


def _cpu_seconds(usage: Path) -> float:
    try:
        said = re.fullmatch(r"(\d{1,9}\.\d\d) (\d{1,9}\.\d\d)\n", disk.read_text(usage, 1 << 10))
    except OSError:  # make was killed before it ended
        return 0.0
    return float(said[1]) + float(said[2]) if said else 0.0
