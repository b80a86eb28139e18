"""One guest command around a program: its name on the console, and the kernel's taint, before and after it."""

import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model import OURS

_TAINT = "/proc/sys/kernel/tainted"
_NEAR_THE_END = 1 << 20  # bytes of a console
_LETTERS = "PFSRMBUDAWCIOELKXTN"  # by the flags' bits: Linux kernel/panic.c, taint_flags


@dataclass(frozen=True)
class Wrapped:
    """A program's command line, wrapped; `token` marks the words that are not the program's."""

    name: str
    command: str
    token: str

    @property
    def late(self) -> str:
        """What tells, after a program that was killed, what the wrapped command had no time to."""
        return f"{_tell(self.token)}\n{_say(f'{self.name} ends')}"

    def unwrap(self, stderr: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Take our words out of its stderr: the taint before it and, if it came to that, the one after it."""
        ours = re.compile(rf"{self.token} (\d{{1,10}})\n".encode())
        return ours.sub(b"", stderr), tuple(int(found) for found in ours.findall(stderr))

    def heard(self, console: Path) -> bool:
        """Does the console tell of the end? If not, it may have told of nothing else either."""
        with console.open("rb") as log:
            log.seek(max(0, console.stat().st_size - _NEAR_THE_END))
            return f"{OURS}{self.name} ends".encode() in log.read(_NEAR_THE_END)


def wrap(name: str, program: str) -> Wrapped:
    """Wrap the command line `program`, each thing on a line of its own; its stdin and stdout stay untouched."""
    token = f"kdelta-taint-{secrets.token_hex(8)}"
    lines = (
        _say(f"{name} starts"),
        _tell(token),
        program,
        "kdelta_status=$?",
        _tell(token),
        _say(f"{name} ends"),
        "exit $kdelta_status",
    )
    return Wrapped(name, "\n".join(lines), token)


def added(before: int, after: int) -> str:
    """Say which flags of the taint are new, by their letters."""
    new = after & ~before
    return "".join(letter for bit, letter in enumerate(_LETTERS) if new >> bit & 1)


def _say(words: str) -> str:
    return f"echo {shlex.quote(f'<5>{OURS}{words}')} >/dev/kmsg"


def _tell(token: str) -> str:
    # ash's `read` asks for a byte at a time, and of a sysctl the first one is all that it gets
    return f'echo "{token} $(cat {_TAINT} 2>/dev/null)" >&2'
