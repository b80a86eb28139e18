"""What every guest of a cell is given before its first program."""

import contextlib
from collections.abc import Iterator

from kvm.errors import BootError, RefusedError, UserError
from kvm.fate import Fate
from kvm.guest import Guest, must
from orchestrator.model import Side
from orchestrator.trial import counters
from orchestrator.trial.suites.stage import INSIDE, SCRATCH, inside
from orchestrator.trial.trial import Trial


def guest(trial: Trial, given: Guest) -> None:
    """Give a guest what every one of the cell has: swap, an empty disk, and the suites' programs.

    Raises BootError where a patched kernel refuses it; of base, which ends the run, that is a RefusedError.
    """
    with refusal(trial.cell.side):
        _prepare(trial, given)


@contextlib.contextmanager
def refusal(side: Side) -> Iterator[None]:
    """What a guest is given and refuses is no boot where patched's kernel does so, and else a fault as it is."""
    try:
        yield
    except (RefusedError, UserError) as fault:
        if side is Side.PATCHED:
            raise BootError(fault.message, kind=Fate.NO_BOOT, log=fault.log) from fault
        raise


def _prepare(trial: Trial, guest: Guest) -> None:
    def do(command: str, what: str) -> None:
        must(guest, command, f"{trial.cell}: {what}", trial.limits)

    if trial.counts:
        counters.begin(trial.directory)
        counters.boot(guest, trial.limits, trial.directory)
    if trial.machine.disk_mib:
        do("mkswap /dev/vda && swapon /dev/vda", "no swap in the guest")
    if trial.machine.more_mib:
        do(f"ln -s {'vdb' if trial.machine.disk_mib else 'vda'} {SCRATCH}", "no disk in the guest")
    # ramfs is never swapped out: what lies there takes no part in what a test of memory sees
    do(f"mkdir {INSIDE} && mount -t ramfs suites {INSIDE}", "no place for suites in the guest")
    for payload in trial.payloads:
        where = inside(payload.suite.name)
        guest.push(payload.archive, f"{where}.tar")
        unpack = f"mkdir {where} && tar -xf {where}.tar -C {where} && rm {where}.tar"
        do(unpack, f"suite {payload.suite.name} was not unpacked")
    if trial.counts:
        counters.reset(guest, trial.limits)
