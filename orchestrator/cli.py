"""kdelta's commands: the only place that reads flags, prints answers, and exits."""

import errno
import os
import signal
import sys
import traceback
from pathlib import Path

import click

from kvm import disk, errors, proc
from kvm.errors import Error, InfraError, Interrupted, UserError
from orchestrator import actions, cache, scratch, show
from orchestrator.commands import (
    b4,
    bisect,
    cluster,
    guests,
    history,
    machine,
    mutate,
    nightly,
    report,
    rootfs,
    run,
    stages,
)
from orchestrator.publish import clean

_HINTS = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise `ulimit -n`"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "does it belong to another user?"),
}
EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 2, 125, 130


def entry() -> None:
    """Run the command line and exit as docs/architecture.md says; click's own exit codes are not used."""
    hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else []  # nohup ignores it
    for signum in (signal.SIGINT, signal.SIGTERM, *hung_up):
        signal.signal(signum, lambda *_: proc.stop.set())
    sys.exit(_guarded())


def _guarded() -> int:  # noqa: PLR0911  (one return per kind of end)
    try:
        with scratch.own():
            result = main.main(prog_name="kdelta", standalone_mode=False)
        sys.stdout.flush()
    except (Interrupted, KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as fault:
        fault.show()
        return EXIT_USAGE
    except Error as fault:
        _explain(fault)
        return EXIT_USAGE if isinstance(fault, UserError) else EXIT_INCONCLUSIVE
    except BrokenPipeError:  # whoever read our answer has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INCONCLUSIVE
    except OSError as fault:
        named = errors.of_system(fault)
        if fault.errno == errno.ENAMETOOLONG:  # we give none
            _explain(UserError(named[-1000:], hint="no file has such a name: look at what was given"))
            return EXIT_USAGE
        _explain(InfraError(named, hint=_HINTS.get(fault.errno or 0, "is the disk full or read-only?")))
        return EXIT_INCONCLUSIVE
    except Exception:
        traceback.print_exc()
        click.echo("Error: this is a fault of kdelta itself; please report it with the lines above", err=True)
        return EXIT_INCONCLUSIVE
    return result if isinstance(result, int) else 0


def _explain(fault: Error) -> None:
    words = [f"Error: {fault.message}"]
    words += [f"  log:  {fault.log}"] if fault.log else []
    words += [f"  hint: {fault.hint}"] if fault.hint else []
    for line in words:  # each may quote a guest or a patch
        click.echo(actions.harmless(clean.printable(line)), err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdelta", prog_name="kdelta")
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr which processes are started.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Instead of $KDELTA_CACHE or ~/.cache/kdelta.")
@click.option(
    "--history",
    envvar="KDELTA_HISTORY",
    metavar="PATH|URL|off",
    help="Where results of all runs are kept. [default: results/history.sqlite]",
)
@click.pass_context
def main(context: click.Context, verbose: bool, cache_dir: Path | None, history: str | None) -> None:
    """Say what a Linux kernel patch series changes, before it is posted.

    Builds the base and the patched kernel, boots both under QEMU, runs the same tests on both, compares, and judges.
    Exit: 0 validated or clean, 1 regressed or unmet, 2 usage, 125 inconclusive, 130 interrupted.

    \b
    Examples:
      kdelta run                          what pipeline.yaml says
      kdelta run my-series/ --arch arm64
      kdelta plan my-series/              what would be built, and what is cached
      kdelta doctor                       is this machine fit for it
    """
    show.log(verbose)
    context.meta["history"] = history or str(Path("results", "history.sqlite").absolute())
    context.obj = (disk.expanded(cache_dir).resolve() if cache_dir else cache.default_root()).absolute()


for command in (
    *(run.run, run.plan),
    *(stages.build, stages.boot, stages.test, stages.diff, stages.resume, bisect.bisect, mutate.mutate, report.report),
    *(nightly.nightly, b4.b4_check),
    *(history.history, history.compare, history.flakes),
    *(guests.shell, guests.debug, rootfs.rootfs),
    *(cluster.worker, cluster.scheduler, cluster.attach, cluster.cluster, cluster.errand),
    *(machine.doctor_, machine.gc, machine.init, machine.completion),
):
    main.add_command(command)
