"""A booted kernel that takes commands; it lives inside its `with` and nothing of it outlives that."""

import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pexpect

from kvm import proc, qemu, state, terminal
from kvm.agent import BrokenError, Command
from kvm.console import Event
from kvm.errors import InfraError, RefusedError, UserError
from kvm.fate import Trouble
from kvm.qemu import Machine
from kvm.root import Root
from kvm.vm import VM, Limits

if TYPE_CHECKING:
    from kvm.ssh import Access

_LONGEST_SECONDS = 7 * 86400.0  # a person may forget a shell
_ASKED = 3  # so often in its time is a silent guest asked whether it is alive


@dataclass(frozen=True)
class CommandResult:
    """What one command gave. `truncated` says that it printed more than was kept."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    seconds: float


class Guest:
    """A kernel that reached its ready line, and whose agent takes commands."""

    def __init__(self, running: VM, boot_seconds: float, limits: Limits) -> None:
        self._root: Root | None = None
        self.console = running.console.path
        self.boot_seconds = boot_seconds
        self._vm = running
        self._limits = limits
        running.console.most = limits.console_bytes
        self._access: Access | None = None

    def run(self, command: str, *, timeout: float, stdin: bytes = b"", output_limit: int = 16 << 20) -> CommandResult:
        """Run a shell command as root, to its end or to `timeout` seconds, when all its processes are killed.

        Raises GuestLost the moment the kernel panics, QEMU ends or the agent's port breaks, with what was said so far.
        """
        began = time.monotonic()
        going = Command(self._vm.agent, stdin, output_limit)
        try:
            going.start(command)
            timed_out = not self._follow(going, timeout)
        except BrokenError as fault:
            self._end(self._vm.trouble(str(fault)), going)
        return CommandResult(
            exit_status=-1 if timed_out else going.status,
            stdout=bytes(going.stdout),
            stderr=bytes(going.stderr),
            timed_out=timed_out,
            truncated=going.truncated,
            seconds=time.monotonic() - began,
        )

    def enter(self, root: Root) -> None:
        """Mount a root file system of the user's for `inside`; raises UserError when that cannot be."""
        done = self.run(root.mount, timeout=self._limits.command_seconds)
        if done.exit_status or done.timed_out:
            said = self._limits.late() if done.timed_out else done.stderr.decode("utf-8", "replace").strip()
            raise UserError(
                f"root file system {root.path}: {said}",
                hint="it needs the directories proc, sys, dev, tmp and run, and a file system that the kernel has",
                log=self.console,
            )
        self._root = root

    def inside(self, command: str) -> str:
        """Turn a program with its words into what runs it in the root file system that was entered, if one was."""
        return self._root.inside(command) if self._root else command

    def push(self, path: Path, to: str) -> None:
        """Copy a file into the guest, executable."""
        quoted = shlex.quote(to)
        command, what = f"cat >{quoted} && chmod 755 {quoted}", f"{path.name} could not be pushed to {to}"
        must(self, command, what, self._limits, stdin=path.read_bytes())

    def interact(self) -> None:
        """Lend the caller's terminal to a shell on the guest's console, until that ends."""
        shell = self.inside("sh -l")
        self._vm.console.lent = True
        with terminal.lend(self.console, self._vm.keyboard):
            self.run(f"setsid cttyhack {shell}; true", timeout=_LONGEST_SECONDS)

    def linger(self) -> None:
        """Wait until the guest is ended, from inside or by what else ends guests."""
        with contextlib.suppress(BrokenError):
            while self._vm.wait(_LONGEST_SECONDS) not in (Event.TROUBLE, Event.END):
                pass

    def keep(self, into: Path) -> None:
        """Write all that it is to the new directory `into`, which `snapshot.reopen` reads; it goes on."""
        with self._vm.outliving():
            state.keep(self._vm, into, self._limits)

    def begin(self) -> None:
        """Begin with another program: what the kernel warned of before explains nothing of its end."""
        self._vm.console.alarm = None

    def log_line(self, text: str) -> None:
        """Write a line into the guest's kernel log, and so onto its console."""
        self.run(f"echo {shlex.quote(f'<5>kdelta: {text}')} >/dev/kmsg", timeout=self._limits.command_seconds)

    def open_ssh(self) -> "Access":
        """Let people and tools in: an SSH server in the guest, with keys of this moment, at a port of the host's own.

        Nobody else holds a key; the port is open on 127.0.0.1 for as long as the guest lives.
        """
        from kvm import ssh  # noqa: PLC0415  (paramiko takes 0.2 s, and most guests need none of it)

        if self._access is None:
            keys = ssh.make_keys()
            what = "the guest's SSH server did not start"
            must(self, ssh.server(keys), what, self._limits, stdin=keys.dropbear)
            self._access = ssh.Access(self._vm.forward(ssh.PORT), keys)
        return self._access

    def _follow(self, going: Command, timeout: float) -> bool:
        """Follow a command to its end, true, or until it is killed because `timeout` seconds are over."""
        self._answers(lambda: going.started, going)
        if self._until(lambda: going.ended, going, timeout):
            return True
        going.kill()
        self._answers(lambda: going.ended, going)
        return False

    def _answers(self, reached: Callable[[], bool], going: Command) -> None:
        """Wait for what a guest that is alive does at once."""
        patience = self._limits.command_seconds
        if not self._until(reached, going, patience):
            self._end(self._vm.hang(f"no answer for {self._limits.spell('boot', patience)}"), going)

    def _until(self, reached: Callable[[], bool], going: Command, seconds: float) -> bool:
        """Move a command's streams until it is where it should be, true, or `seconds` are over.

        A guest that says nothing is asked whether it is alive, and is not waited for when it says nothing to that.
        """
        began, patience = time.monotonic(), self._limits.silence_seconds
        while not reached() and (remaining := began + seconds - time.monotonic()) > 0:
            silent = time.monotonic() - max(began, self._vm.heard)
            if silent > patience:
                self._end(self._vm.hang(f"silent for {self._limits.spell('silence', patience)}"), going)
            match self._vm.wait(min(remaining, patience / _ASKED, patience - silent)):
                case Event.TROUBLE | Event.END:
                    self._end(self._vm.trouble(), going)
                case Event.QUIET:
                    self._vm.agent.ask()
            going.step()
        return reached()

    def _end(self, trouble: Trouble, going: Command) -> NoReturn:
        raise self._vm.lost(trouble, going.said())


def must(guest: Guest, command: str, what: str, limits: Limits, *, stdin: bytes = b"") -> None:
    """Run a command of our own, which does not fail in a guest that is well; raises RefusedError, which says `what`."""
    done = guest.run(command, timeout=limits.command_seconds, stdin=stdin)
    if done.exit_status or done.timed_out:
        said = limits.late() if done.timed_out else (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        raise RefusedError(f"{what}: {said}", log=guest.console)


def write_by_hand(machine: Machine, workdir: Path) -> None:
    """Leave qemu.sh in `workdir`, which boots the same machine with a shell."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "vmcore").unlink(missing_ok=True)  # of a guest that was here before
    by_hand = workdir / "qemu.sh"
    by_hand.write_text(qemu.script(machine, workdir), encoding="utf-8")
    by_hand.chmod(0o755)


def interact(machine: Machine, *words: str, options: Sequence[str] = ()) -> None:
    """Hand the terminal to a shell on the guest's console, until QEMU ends or the terminal is gone.

    `words` go to the kernel's command line, `options` to QEMU's.
    """
    line = " ".join(("kdelta.console=shell", *words))
    argv = qemu.argv(machine, words=line, channels=(*qemu.BY_HAND, *options))
    program, *rest = proc.ended_with_us(argv)
    child = pexpect.spawn(program, rest, timeout=None)
    try:
        over = terminal.join(child.child_fd)
    finally:
        child.close(force=True)
    if over and child.exitstatus:
        raise InfraError(f"QEMU ended with status {child.exitstatus}", hint="what it said stands above")
