"""How a guest can end, and what says so: lines of the console, and QEMU's own reason."""

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

_TIME = rb"(?:<\d+>)?(?:\[ *(?P<time>\d{1,9}\.\d+)\](?:\[ *[TC]\d+\])? )?"
_HEAD = re.compile(_TIME)
_STAMP = re.compile(rb"\[ *(?P<time>\d{1,9}\.\d+)\](?:\[ *[TC]\d+\])? ")


class Fate(StrEnum):
    """How a guest ended before its time."""

    PANIC = "panic"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    OUT_OF_MEMORY = "out-of-memory"
    REBOOT = "reboot"  # the kernel asked for it
    TRIPLE_FAULT = "triple-fault"
    POWEROFF = "poweroff"
    FLOOD = "flood"  # more words on the console than anybody reads
    LIVELOCK = "livelock"  # silent, does not answer, and every CPU runs with interrupts off
    HANG = "hang"  # silent, and does not answer
    NO_BOOT = "no-boot"  # without a word
    KILLED = "killed"  # QEMU was, from outside
    LOST = "lost"  # the connection broke, or QEMU itself answers no more, crashed or gave up

    @property
    def survivable(self) -> bool:
        """Can a guest go on after it? Then it is an alarm, which names the end only of a guest that ends badly."""
        return self in _ALARMS


_ALARMS = (Fate.SOFT_LOCKUP, Fate.HARD_LOCKUP, Fate.RCU_STALL, Fate.HUNG_TASK, Fate.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Trouble:
    """What ends a guest, or may: its fate, and the kernel's words about it."""

    fate: Fate
    words: str


# From the start of a message; the first group is kept. Linux kernel/panic.c, kernel/watchdog*.c,
# kernel/rcu/tree_stall.h, kernel/hung_task.c, mm/oom_kill.c, arch/x86/kernel/nmi.c.
_RULES: tuple[tuple[Fate, re.Pattern[bytes]], ...] = tuple(
    (fate, re.compile(pattern))
    for fate, pattern in (
        (Fate.PANIC, rb"Kernel panic - not syncing(?:: (.*))?"),
        (Fate.SOFT_LOCKUP, rb"(?:watchdog: )?BUG: (soft lockup - .*)"),
        (Fate.HARD_LOCKUP, rb"(?:\w+ )?(?:watchdog: )?(?:CPU\d+: )?(Watchdog detected hard LOCKUP on cpu.*)"),
        (Fate.RCU_STALL, rb"(?:rcu: )?INFO: (\w+ (?:self-)?detected (?:expedited )?stalls? on .*)"),
        (Fate.RCU_STALL, rb"(?:rcu: )?(rcu\w+ kthread (?:starved for|timer wakeup didn't happen for) .*)"),
        (Fate.HUNG_TASK, rb"INFO: (task .* blocked (?:in I/O wait )?for more than \d+ seconds.*)"),
        (Fate.OUT_OF_MEMORY, rb"(Out of memory(?: \(oom_kill_allocating_task\))?: Killed process .*)"),
    )
)
# What every rule needs: floods are looked through at the speed of one search.
WORTH = re.compile(
    rb"Kernel panic|soft lockup|hard LOCKUP| stalls? on |kthread |for more than|Out of memory|Linux version "
)
_QUOTED = 300  # characters of QEMU's last words
_STARVED = "System is deadlocked on memory"  # a panic, whose words do not say of what
BANNER = re.compile(_TIME + rb"Linux version \d")

# QMP's SHUTDOWN reasons (QEMU qapi/run-state.json); after a panic, whose line is said before, a guest resets.
_REASONS = {"guest-reset": Fate.REBOOT, "guest-shutdown": Fate.POWEROFF, "guest-panic": Fate.PANIC}


def ready(nonce: str) -> re.Pattern[bytes]:
    """What matches the line that /init writes when the guest takes commands."""
    return re.compile(_TIME + re.escape(f"kdelta: ready {nonce}".encode()) + b"$")


def of_line(line: bytes, since: float = 0.0) -> Trouble | None:
    """Say what trouble a line of the console tells of.

    A kernel in need does not wait for the end of a line that somebody began. What is quoted has an older stamp than
    `since`, the kernel's time before that line.
    """
    starts = [_head(line).end()]
    starts += [one.end() for one in _STAMP.finditer(line, starts[0]) if float(one["time"]) >= since]
    for fate, rule in _RULES:
        for start in starts:
            if found := rule.match(line, start):
                words = (found[1] or b"no reason given").decode("utf-8", "replace").strip()
                return Trouble(fate, f"out of memory: {words}" if words == _STARVED else words)
    return None


def time_of(line: bytes, before: float) -> float:
    """Return the kernel's time of a line, in seconds; `before` if it has none at its start."""
    return float(_head(line)["time"] or before)


def _head(line: bytes) -> re.Match[bytes]:
    found = _HEAD.match(line)
    assert found  # all of it is optional
    return found


def of_end(reason: str | None, status: int, log: bytes = b"") -> Trouble:
    """Say how QEMU ended, by the reason that it gave, or else its exit status (less than 0: a signal).

    Its `log` tells of a triple fault under TCG, and why it gave up.
    """
    if _REASONS.get(reason or "") is Fate.REBOOT and b"Triple fault" in log:
        return Trouble(Fate.TRIPLE_FAULT, f"QEMU ended ({reason}) and says: Triple fault")
    if reason:
        return Trouble(_REASONS.get(reason, Fate.KILLED), f"QEMU ended ({reason})")
    if status == -signal.SIGKILL:
        return Trouble(Fate.KILLED, "QEMU was killed")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    words = log.decode("utf-8", "replace").strip()[-_QUOTED:]
    return Trouble(Fate.LOST, f"QEMU itself ended {how}{f': {words}' if words else ''}")


# QEMU's `info registers`: the flag register and its bit, and the bit's value where interrupts are off.
_INTERRUPTS = (
    (re.compile(r"[ER]FL=([0-9a-f]{8})"), 1 << 9, 0),
    (re.compile(r"PSTATE=([0-9a-f]{8})"), 1 << 7, 1 << 7),
    (re.compile(r"\bmstatus +([0-9a-f]+)"), 1 << 1, 0),  # SIE: kernels run in supervisor mode
)


def interrupts_off(registers: str) -> bool:
    """Say whether every CPU whose registers these are takes no interrupt."""
    flags = [(int(word, 16) & bit) == off for rule, bit, off in _INTERRUPTS for word in rule.findall(registers)]
    return bool(flags) and all(flags)
