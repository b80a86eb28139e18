"""A guest that follows a script: what a real one may do, without a kernel. tests/vm/test_contract.py holds it to that.

A program is a shell script of the words below; a real guest runs it, the scripted one reads it. A "kernel" of the fake
tree is a text: lines `boot: KIND` say how its boot fails, `boot-kmsg: WORDS` what it says, unless that is drawn;
the lines after `program:` are what every other program does.
"""

import contextlib
import io
import re
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvm import ssh
from kvm.errors import BootError, GuestLost
from kvm.guest import CommandResult
from kvm.qemu import Machine
from kvm.ssh import Access
from kvm.vm import Limits
from orchestrator.trial.suites import stage
from orchestrator.trial.suites.payload import Payload
from orchestrator.trial.suites.run import Run
from orchestrator.trial.suites.stage import Stage
from orchestrator.trial.suites.suite import Suite

Draw = Callable[[], bool]

# `panic` and `die` sleep, as the program that asked for it does while the kernel goes down.
WORDS = """\
#!/bin/sh
say() { echo "$@"; }
mutter() { printf %s "$*"; }
complain() { echo "$@" >&2; }
nap() { sleep "$1"; }
panic() { echo c >/proc/sysrq-trigger; sleep 60; }
die() { echo b >/proc/sysrq-trigger; sleep 60; }
taint() { echo "$1" >/proc/sys/kernel/tainted; }
hush() { dmesg -n 1; }
kmsg() { echo "$@" >/dev/kmsg; }
rarely() { [ $(($(od -A n -N 1 -t u1 /dev/urandom) % 5)) != 0 ] || "$@"; }
mostly() { [ $(($(od -A n -N 1 -t u1 /dev/urandom) % 5)) = 0 ] && echo "not $*" || echo "$@"; }
"""


def program(*lines: str) -> str:
    """A script that both kinds of guest understand."""
    return WORDS + "".join(f"{line}\n" for line in lines)


def payload(suite: Suite, path: Path, cache_dir: Path) -> Payload:
    """A suite that is the program at `path` and nothing else."""
    archive = stage.pack(suite.name, Stage({path.name: path}), cache_dir)
    return Payload(suite, archive, (Run("", f"{stage.inside(suite.name)}/{path.name}"),))


@dataclass
class _Said:
    """What a command has said so far, and how it ended."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0
    timed_out: bool = False


class ScriptedGuest:
    """The part of kvm.guest.Guest that a trial uses."""

    def __init__(self, image: str, console: Path, draw: Draw = bool) -> None:
        self.console = console
        self.draw = draw
        self.boot_seconds = 0.1
        self._image = image
        self._programs: dict[str, list[str]] = {}
        self._archives: dict[str, bytes] = {}
        self._fate: GuestLost | None = None
        self._taint = 0
        self._hushed = False

    def copy(self, console: Path) -> "ScriptedGuest":
        """Another guest, with the same programs."""
        other = ScriptedGuest(self._image, console, self.draw)
        other._programs = dict(self._programs)
        return other

    def push(self, path: Path, to: str) -> None:
        self._alive()
        if path.suffix == ".tar":
            self._archives[to] = path.read_bytes()
        else:
            self._add(path.read_bytes(), to)

    def _add(self, content: bytes, to: str) -> None:
        script = content.startswith(b"#!")
        text = content.decode("utf-8", "replace") if script else self._image.partition("program:\n")[2]
        self._programs[to] = text.removeprefix(WORDS).splitlines()

    def inside(self, command: str) -> str:
        return command

    def open_ssh(self) -> Access:
        self._alive()
        return Access(2222, ssh.make_keys())

    def linger(self) -> None:
        self._tell("somebody ended it")

    def keep(self, into: Path) -> None:
        into.mkdir(parents=True)
        (into / "state").write_text("as it was")

    def begin(self) -> None:
        pass

    def log_line(self, text: str) -> None:
        self._alive()
        self._tell(f"kdelta: {text}")

    def run(self, command: str, *, timeout: float, stdin: bytes = b"", output_limit: int = 16 << 20) -> CommandResult:
        """Do what stands on each line of a command: one may run a program, others are what is wrapped around it."""
        self._alive()
        said = _Said()
        for line in command.splitlines():
            if token := re.match(r'echo "(\S+) \$\(cat /proc/sys/kernel/tainted', line):
                said.stderr += f"{token[1]} {self._taint}\n".encode()
            elif mark := re.search(r"echo '?<5>([^']*)'? >/dev/kmsg", line):
                self._tell(mark[1])
            elif unpacked := re.search(r"tar -xf (\S+) -C (\S+)", line):
                self._unpack(*unpacked.groups())
            else:
                self._follow(self._lines(_words(line)), timeout, said)
            if said.timed_out:
                break
        return CommandResult(
            exit_status=-1 if said.timed_out else said.status,
            stdout=said.stdout[:output_limit],
            stderr=said.stderr,
            timed_out=said.timed_out,
            truncated=len(said.stdout) > output_limit,
            seconds=0.01,
        )

    def _follow(self, script: list[str], timeout: float, said: "_Said") -> None:  # noqa: PLR0912
        for line in script:
            word, _, rest = line.partition(" ")
            if word == "say":
                said.stdout += f"{rest.strip(chr(39))}\n".encode()
            elif word == "mostly":  # one time in five it says `not` before it; here when it is drawn
                said.stdout += f"{'not ' * self.draw()}{rest}\n".encode()
            elif word == "rarely":  # one time in five it does what follows; here when it is drawn
                self._follow([rest] * self.draw(), timeout, said)
            elif word == "kmsg":
                self._tell(rest.strip(chr(39)))
            elif word == "mutter":
                said.stdout += rest.strip(chr(39)).encode()
            elif word == "complain":
                said.stderr += f"{rest.strip(chr(39))}\n".encode()
            elif word == "nap" and float(rest) > timeout:
                said.timed_out = True
                return
            elif word == "taint":
                self._taint |= int(rest)
            elif word == "hush":
                self._hushed = True
            elif word == "exit":
                said.status = int(rest)
                return
            elif word == "panic":
                self._tell("Kernel panic - not syncing: scripted")
                self._lost("panic: scripted", "panic", said.stdout)
            elif word == "die":
                self._lost("QEMU ended (guest-reset)", "reboot", said.stdout)

    def _unpack(self, archive: str, into: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(self._archives[archive])) as members:
            for member in filter(tarfile.TarInfo.isfile, members):
                content = members.extractfile(member)
                assert content
                self._add(content.read(), f"{into}/{member.name}")

    def _lines(self, words: list[str]) -> list[str]:
        """What a command line runs: all of a program, its list of tests, or what it and the kernel say of one."""
        program, asked = next(
            (
                (self._programs[word], words[number + 1 :])
                for number, word in enumerate(words)
                if word in self._programs
            ),
            ([], []),
        )
        if asked == ["--list"]:
            return [f"say {line.split()[-1]}" for line in program if not line.startswith(("say 1..", "kmsg"))]
        own = [line for line in program if line.split()[-1] == asked[0] or line.startswith("kmsg")] if asked else []
        return ["say 1..1", *own] if asked else program

    def _lost(self, words: str, kind: str, stdout: bytes) -> None:
        self._fate = GuestLost(words, kind=kind, log=self.console)
        raise GuestLost(words, kind=kind, log=self.console, stdout=stdout)

    def _alive(self) -> None:
        if self._fate:
            raise self._fate

    def _tell(self, line: str) -> None:
        if self._hushed:
            return
        with self.console.open("a") as console:
            console.write(f"{line}\n")


def _words(line: str) -> list[str]:
    """The words of a command line, of one that another shell is told those of its own."""
    words = shlex.split(line)
    return shlex.split(words[2]) if words[:2] == ["sh", "-c"] else words


class ScriptedSnapshot:
    """Guests with the programs that the booted one had been given."""

    def __init__(self, booted: ScriptedGuest) -> None:
        self.boot_seconds = booted.boot_seconds
        self._booted = booted

    @contextlib.contextmanager
    def restore(self, *, workdir: Path, limits: Limits) -> Iterator[ScriptedGuest]:
        yield self._booted.copy(_new(workdir))


@contextlib.contextmanager
def take(
    machine: Machine,
    *,
    workdir: Path,
    limits: Limits,
    prepare: Callable[[ScriptedGuest], None] = lambda _: None,
    draw: Draw = bool,
) -> Iterator[ScriptedSnapshot]:
    """Boot what the image says; `draw` says each time whether what mostly works fails."""
    booted = _booted(machine, workdir, draw)
    prepare(booted)
    yield ScriptedSnapshot(booted)


def _new(workdir: Path) -> Path:
    """Make a guest's files, and return its console."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "qemu.sh").write_text("#!/bin/sh\n")
    console = workdir / "console.log"
    console.write_text(f"[{time.monotonic():12.6f}] scripted kernel\n")
    return console


def _booted(machine: Machine, workdir: Path, draw: Draw) -> ScriptedGuest:
    console = _new(workdir)
    image = machine.image.read_text(errors="replace")
    said = [line.removeprefix("boot-kmsg: ") for line in image.splitlines() if line.startswith("boot-kmsg: ")]
    if said and not draw():
        with console.open("a") as out:
            out.writelines(f"{words}\n" for words in said)
    for kind in [line.removeprefix("boot: ") for line in image.splitlines() if line.startswith("boot: ")]:
        words = {"panic": "panic: scripted boot", "hang": "silent for 30 s"}.get(kind, kind)
        with console.open("a") as out:
            out.write(f"{words.replace('panic: ', 'Kernel panic - not syncing: ')}\n")
        raise BootError(words, kind=kind, log=console, hint=f"boot it by hand with {workdir / 'qemu.sh'}")
    return ScriptedGuest(image, console, draw)
