"""Memory that leaked, of a kernel with CONFIG_DEBUG_KMEMLEAK, which by itself looks for it every ten minutes."""

from kvm.guest import Guest
from kvm.vm import Limits

_FILE = "/sys/kernel/debug/kmemleak"
_VERBOSE = "/sys/module/kmemleak/parameters/verbose"  # Linux 4.19: the kernel says on its console what it found
# What is younger than 5 s counts as in use (mm/kmemleak.c, MSECS_MIN_AGE), and what changed since the last scan.
_LOOK = f"echo 1 >{_VERBOSE} && sleep 6 && echo scan >{_FILE} && echo scan >{_FILE}"


def look(guest: Guest, limits: Limits) -> None:
    """Let the kernel look for what leaked while its suites ran; what it finds is a report on its console."""
    guest.run(f"[ ! -w {_FILE} ] || {{ {_LOOK}; }}", timeout=limits.command_seconds + 6 * limits.scale)
