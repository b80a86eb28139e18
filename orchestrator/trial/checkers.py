"""What a kernel that checks itself says at the end of a guest: what leaked, and which checker was off by then.

kmemleak looks by itself every ten minutes only. Both it and lockdep switch themselves off for good when they have had
enough: lockdep at its first report.
"""

from kvm.guest import Guest
from kvm.vm import Limits

_LOCKS = "/proc/lockdep_stats"
_LEAKS = "/sys/kernel/debug/kmemleak"
_VERBOSE = "/sys/module/kmemleak/parameters/verbose"  # Linux 4.19: the kernel says on its console what it found
# What is younger than 5 s counts as in use (mm/kmemleak.c, MSECS_MIN_AGE), and what changed since the last scan.
_LOOK = f"echo 1 >{_VERBOSE} && sleep 6 && echo scan >{_LEAKS} && echo scan >{_LEAKS}"


def look(guest: Guest, limits: Limits) -> set[str]:
    """Let the kernel look for what leaked, which is a report on its console, and return which checkers are off."""
    locks = f"[ ! -e {_LOCKS} ] || grep -q 'debug_locks: *1' {_LOCKS} || echo lockdep"
    leaks = f"[ ! -e {_LEAKS} ] || {{ {_LOOK}; }} || echo kmemleak"
    done = guest.run(f"{locks}; {leaks}", timeout=limits.command_seconds + 6 * limits.scale)
    return {*done.stdout.decode("ascii", "replace").split()} | ({"kmemleak"} if done.timed_out else set())
