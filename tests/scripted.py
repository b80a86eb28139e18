"""A guest that follows a script: what a real one may do, without a kernel. tests/vm/test_contract.py holds it to that.

A program is a shell script of the words below; a real guest runs it, the scripted one reads it. A "kernel" of the fake
tree is a text: lines `boot: KIND` say how its boot fails, the lines after `program:` are what every other program does.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kvm.errors import BootError, GuestLost
from kvm.guest import CommandResult
from kvm.qemu import Machine
from kvm.vm import Limits

# `panic` and `die` sleep, as the program that asked for it does while the kernel goes down.
WORDS = """\
#!/bin/sh
say() { echo "$@"; }
mutter() { printf %s "$*"; }
complain() { echo "$@" >&2; }
nap() { sleep "$1"; }
panic() { echo c >/proc/sysrq-trigger; sleep 60; }
die() { echo b >/proc/sysrq-trigger; sleep 60; }
"""


def program(*lines: str) -> str:
    """A script that both kinds of guest understand."""
    return WORDS + "".join(f"{line}\n" for line in lines)


class ScriptedGuest:
    """The part of kvm.guest.Guest that a trial uses."""

    def __init__(self, image: str, console: Path) -> None:
        self.console = console
        self.boot_seconds = 0.1
        self._image = image
        self._programs: dict[str, list[str]] = {}
        self._fate: GuestLost | None = None

    def copy(self, console: Path) -> "ScriptedGuest":
        """Another guest, with the same programs."""
        other = ScriptedGuest(self._image, console)
        other._programs = dict(self._programs)
        return other

    def push(self, path: Path, to: str) -> None:
        self._alive()
        content = path.read_bytes()
        text = content.decode() if content.startswith(b"#!") else self._image.partition("program:\n")[2]
        self._programs[to] = text.removeprefix(WORDS).splitlines()

    def log_line(self, text: str) -> None:
        self._alive()
        self._tell(f"kdelta: {text}")

    def run(self, command: str, *, timeout: float, stdin: bytes = b"", output_limit: int = 16 << 20) -> CommandResult:
        self._alive()
        stdout, stderr, status, timed_out = b"", b"", 0, False
        for line in self._lines(command.split()):
            word, _, rest = line.partition(" ")
            if word == "say":
                stdout += f"{rest.strip(chr(39))}\n".encode()
            elif word == "mutter":
                stdout += rest.strip(chr(39)).encode()
            elif word == "complain":
                stderr += f"{rest.strip(chr(39))}\n".encode()
            elif word == "nap" and float(rest) > timeout:
                timed_out = True
                break
            elif word == "exit":
                status = int(rest)
                break
            elif word == "panic":
                self._tell("Kernel panic - not syncing: scripted")
                self._lost("panic: scripted", "panic", stdout)
            elif word == "die":
                self._lost("QEMU ended (guest-reset)", "reboot", stdout)
        return CommandResult(
            exit_status=-1 if timed_out else status,
            stdout=stdout[:output_limit],
            stderr=stderr,
            timed_out=timed_out,
            truncated=len(stdout) > output_limit,
            seconds=0.01,
        )

    def _lines(self, words: list[str]) -> list[str]:
        """What a command line runs: all of a program, its list of tests, or the lines that end with a test's name."""
        program, asked = next(
            (
                (self._programs[word], words[number + 1 :])
                for number, word in enumerate(words)
                if word in self._programs
            ),
            ([], []),
        )
        if asked == ["--list"]:
            return [f"say {line.split()[-1]}" for line in program if not line.startswith("say 1..")]
        return ["say 1..1", *(line for line in program if line.split()[-1] == asked[0])] if asked else program

    def _lost(self, words: str, kind: str, stdout: bytes) -> None:
        self._fate = GuestLost(words, kind=kind, log=self.console)
        raise GuestLost(words, kind=kind, log=self.console, stdout=stdout)

    def _alive(self) -> None:
        if self._fate:
            raise self._fate

    def _tell(self, line: str) -> None:
        with self.console.open("a") as console:
            console.write(f"{line}\n")


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
    machine: Machine, *, workdir: Path, limits: Limits, prepare: Callable[[ScriptedGuest], None] = lambda _: None
) -> Iterator[ScriptedSnapshot]:
    """Boot what the image says."""
    booted = _booted(machine, workdir)
    prepare(booted)
    yield ScriptedSnapshot(booted)


def _new(workdir: Path) -> Path:
    """Make a guest's files, and return its console."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "qemu.sh").write_text("#!/bin/sh\n")
    console = workdir / "console.log"
    console.write_text(f"[{time.time()}] scripted kernel\n")
    return console


def _booted(machine: Machine, workdir: Path) -> ScriptedGuest:
    console = _new(workdir)
    image = machine.image.read_text(errors="replace")
    for kind in [line.removeprefix("boot: ") for line in image.splitlines() if line.startswith("boot: ")]:
        words = {"panic": "panic: scripted boot", "hang": "silent for 30 s"}.get(kind, kind)
        with console.open("a") as out:
            out.write(f"{words.replace('panic: ', 'Kernel panic - not syncing: ')}\n")
        raise BootError(words, kind=kind, log=console, hint=f"boot it by hand with {workdir / 'qemu.sh'}")
    return ScriptedGuest(image, console)
