"""Guests by hand: `shell`, `debug`."""

import functools
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from kvm import accel, disk, guest, rootfs, snapshot
from kvm.arch import ARCHES
from kvm.arch import get as get_arch
from kvm.errors import UserError
from kvm.guest import CommandResult, Guest
from kvm.qemu import Machine
from orchestrator import job, store, trials
from orchestrator.build import kbuild, lines, symbols
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.kbuild import KernelBuild
from orchestrator.build.lines import Lines
from orchestrator.build.sandbox import SRC
from orchestrator.build.symbols import Symbols
from orchestrator.commands import opening
from orchestrator.model import Cell, Side
from orchestrator.plan import Plan
from orchestrator.publish import clean
from orchestrator.trial import again
from orchestrator.trial.trial import Trial


def _of_cell(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which kernel of which run: the argument `directory`, and the others as `cell`."""

    @functools.wraps(command)
    def of_cell(*args: Any, arch: str, side: str, flavour: str, **others: Any) -> Any:
        return command(*args, cell=Cell(Side(side), arch, flavour), **others)

    for decorator in (
        click.argument("directory", metavar="[RUN]", required=False, type=click.Path(path_type=Path)),
        click.option("--flavour", default="fast", show_default=True, help="Which flavour."),
        click.option("--side", type=click.Choice([side.value for side in Side]), default="patched", show_default=True),
        click.option("--arch", type=click.Choice(list(ARCHES)), default="x86_64", show_default=True),
    ):
        of_cell = decorator(of_cell)
    return of_cell


@click.command()
@_of_cell
@click.option("--at", metavar="SUITE[/TEST]", help="Where that failed, or else run it first, and stay where it ended.")
@click.option(
    "--tries",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="With --at: in so many guests at most, until it fails.",
)
@click.option("--ssh", is_flag=True, help="Print a line that lets more terminals in, too.")
@click.pass_obj
def shell(cache_dir: Path, cell: Cell, directory: Path | None, at: str | None, tries: int, ssh: bool) -> int:
    """Boot one kernel of RUN with a shell on its console, on this terminal. `exit` ends it.

    With --at it is the guest in which TEST failed in a run with --keep-state. Else, and with --ssh, the guest is as
    pristine as in a run, and has its memory, swap and programs; TEST has just run in it, alone if its program lists it
    under --list, else with that. --tries finds the guest in which a flaky one failed.

    \b
    Examples:
      kdelta shell --arch arm64 --side base
      kdelta shell --ssh
      kdelta shell --at madvise_locked/drops_mlock
      kdelta shell --at kselftest_futex/futex_wait_timeout --tries 50
    """
    if tries > 1 and at is None:
        raise UserError("--tries wants --at: a test", hint="--at SUITE or SUITE/TEST")
    _need_terminal()
    run = opening.run_directory(directory)
    if at is None and not ssh:
        guest.interact(_machine(run, cell, cache_dir))
        return 0
    with tempfile.TemporaryDirectory(prefix="kdelta-shell-") as scratch:
        where = Path(scratch)
        trial, keys = _trial(job.planned(run), cell, run, where), where if ssh else None
        if at is None:
            with again.pristine(trial, snapshot.take) as alive:
                _hand_over(keys, alive, f"{cell} has booted")
            return 0
        known = again.find(trial, at).known
        kept = again.kept(trial, at, store.cell_directory(run, cell)) if tries == 1 else None
        if kept:
            with snapshot.reopen(trial.machine, kept, workdir=where, limits=trial.limits) as alive:
                _hand_over(keys, alive, f"{cell} is as {known} left it in the run")
        else:
            click.echo(f"note: {cell} boots, then {known} runs", err=True)
            again.enact(trial, snapshot.take, at, functools.partial(_show, keys), tries=tries)
    return 0


def _show(keys: Path | None, alive: Guest, done: CommandResult) -> None:
    """Show what a program gave, and hand its guest over."""
    click.echo(clean.printable((done.stdout + done.stderr).decode("utf-8", "replace")), nl=False)
    ended = f"did not end in {done.seconds:.0f} s" if done.timed_out else f"ended with status {done.exit_status}"
    _hand_over(keys, alive, f"the program {ended}")


def _hand_over(keys: Path | None, alive: Guest, words: str) -> None:
    """Let the terminal have the guest, and ssh by `keys`, a directory."""
    if keys:
        click.echo(f"note: {shlex.join(alive.open_ssh().command(keys))}", err=True)
    click.echo(f"note: {words}; `exit` ends the guest", err=True)
    alive.interact()


@click.command()
@_of_cell
@click.pass_obj
def debug(cache_dir: Path, cell: Cell, directory: Path | None) -> int:
    """Boot one kernel of RUN, halted before its first instruction, and print the line that lets gdb at it.

    Its console is this terminal: give the line in another one, where gdb's `continue` starts the kernel (`hbreak
    do_madvise` before that). What the series touches has lines and types; with `--flavour gdb`, built so, all has, and
    the kernel's own commands for gdb are there.

    \b
    Examples:
      kdelta debug --arch arm64
      kdelta build --flavour gdb && kdelta debug --flavour gdb
    """
    _need_terminal()
    run = opening.run_directory(directory)
    todo, machine = job.planned(run), _machine(run, cell, cache_dir)
    into = machine.image.with_name("gdb")
    kernel, sources = _built(todo, cell, run), todo.sources(cell.side)
    found = symbols.take(todo.orders[cell], machine.image, sources, cache_dir, into)
    place = Place(kernel.directory, sources, cache_dir / "ccache", todo.quota)
    touched = [] if found.lines else lines.make(place, todo.touched(cell.side), found.vmlinux, into)
    words = ["nokaslr"] if found.moves else []
    with disk.hold(*todo.entries), tempfile.TemporaryDirectory(prefix="kdelta-gdb-") as private:
        socket = Path(private) / "gdb"
        click.echo(shlex.join(_gdb(found, touched, socket)))
        click.echo(_advice(found, touched), err=True)
        guest.interact(machine, *words, options=("-S", f"-gdb unix:{socket},server=on,wait=off"))
        return 0


def _machine(run: Path, cell: Cell, cache_dir: Path) -> Machine:
    image = _image(run, cell, cache_dir)
    arch = get_arch(cell.arch)
    choice = accel.choose(arch, lambda: image, cache_dir)
    return Machine(arch, image, rootfs.build(arch, cache_dir), choice.used)


def _image(run: Path, cell: Cell, cache_dir: Path) -> Path:
    """The kernel that the run booted, or would."""
    image = run / cell.side / str(cell.lane) / "image"
    if not image.is_file():
        store.place(_built(job.planned(run), cell, run).image, store.cell_directory(run, cell) / "image")
    return image


def _built(todo: Plan, cell: Cell, run: Path) -> KernelBuild:
    if cell not in todo.orders:
        raise UserError(f"{run} has no {cell}", hint=f"it has {', '.join(map(str, todo.orders))}")
    if not (built := kbuild.find(todo.orders[cell], todo.cache_dir)):
        raise UserError(f"{cell} of {run} is not built", hint="`kdelta build` builds both sides")
    return built


def _trial(todo: Plan, cell: Cell, run: Path, directory: Path) -> Trial:
    kernel = _built(todo, cell, run)
    choice = accel.choose(get_arch(cell.arch), lambda: kernel.image, todo.cache_dir)
    return trials.trial(todo, trials.supply(todo, kernel, {}), choice, directory)


def _gdb(found: Symbols, touched: Sequence[Lines], socket: Path) -> list[str]:
    """The whole command line; gdb loads the tree's scripts because they are named, and none by itself."""
    program = "gdb-multiarch" if shutil.which("gdb-multiarch") else "gdb"
    words = [f'set substitute-path {SRC} "{found.sources}"'] if found.lines or touched else []
    if touched:
        loads = (f'add-symbol-file "{one.file}" {one.address:#x}' for one in touched)
        words += ["set confirm off", *loads, "set confirm on"]
    if found.scripts:
        words.append(f"source {found.scripts}")
    words.append(f"target remote {socket}")
    return [
        program,
        "-iex",
        "set auto-load off",
        str(found.vmlinux),
        *(part for word in words for part in ("-ex", word)),
    ]


def _advice(found: Symbols, touched: Sequence[Lines]) -> str:
    if found.scripts:
        return f"note: {found.scripts} is Python of the tree under test, and gdb runs it as you"
    some = "" if found.lines else f"lines are those of {', '.join(one.name for one in touched) or 'no object'}; "
    return f"note: {some}`kdelta build --flavour gdb` builds all, and the kernel's own commands for gdb"


def _need_terminal() -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise UserError("no terminal: the guest's console needs one", hint="call it from one, or under script(1)")
