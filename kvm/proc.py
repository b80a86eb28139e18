"""The one module that starts processes: no shell, no inherited stdin, an owner, a deadline."""

import contextlib
import ctypes
import logging
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvm.errors import InfraError, Interrupted, UserError

log = logging.getLogger(__name__)

TERM_GRACE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1  # Linux include/uapi/linux/prctl.h
POLICE_SECONDS = 0.2  # a fork bomb makes a thousand processes in that time, not more


def _event() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


class _Stop:
    """The process-wide stop token: a signal concerns the whole process, so every wait watches this one fd."""

    def __init__(self) -> None:
        self.fd = _event()

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)

    def is_set(self) -> bool:
        return is_readable(self.fd, 0)

    def obey(self) -> None:
        """Raise Interrupted if it is set: for work that starts no process and waits for nothing."""
        if self.is_set():
            raise Interrupted

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def renew(self) -> None:
        """Be the token of a process that was forked, not its parent's."""
        os.close(self.fd)
        self.fd = _event()


stop = _Stop()


@dataclass(frozen=True)
class Completed:
    """How a process ended; `seconds` is wall time, `cpu_seconds` user plus system of it and all it waited for."""

    argv: tuple[str, ...]
    returncode: int
    output: str
    seconds: float
    cpu_seconds: float
    timed_out: bool
    charge: str = ""  # why the police ended it


def end_with(parent: int, signum: signal.Signals) -> None:
    """Get `signum` when `parent`, which forked this process, ends: `ended_with_us` does that for what is started."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:  # it was quicker
        os.kill(os.getpid(), signum)


def ended_with_us(argv: Sequence[str], signame: str = "KILL") -> list[str]:
    """Return the words that start `argv` so that it gets a signal when the thread that starts it ends, killed or not.

    That may have ended before setpriv(1) asked for it: of such a parent nobody tells any more.
    """
    if_parent_lives = ("sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid()))
    return ["setpriv", "--pdeathsig", signame, *if_parent_lives, *argv]


def is_readable(fd: int, timeout: float | None) -> bool:
    """Wait for one descriptor, whatever its number, and for no stop request; `timeout` in seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else int(timeout * 1000)))


def wait_readable(fds: Sequence[int], timeout: float | None) -> set[int]:
    """Wait until one of `fds` is readable and return those that are (empty at the timeout, in seconds).

    Raises Interrupted as soon as the process-wide stop token is set.
    """
    poll = select.poll()
    for fd in (*fds, stop.fd):
        poll.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
    milliseconds = None if timeout is None else max(0, int(timeout * 1000) + 1)
    ready = {fd for fd, _ in poll.poll(milliseconds)}
    if stop.fd in ready:
        raise Interrupted
    return ready


def read(fd: int, most: int) -> bytes:
    """Read what comes on `fd`, to its end or `most` bytes; a stop request ends the wait."""
    content = bytearray()
    while len(content) < most:
        wait_readable([fd], None)
        piece = os.read(fd, min(1 << 20, most - len(content)))
        if not piece:
            break
        content += piece
    return bytes(content)


class Process:
    """A started process: `pidfd` becomes readable when it ends; one thread at a time may wait for it.

    The thread that started it must live as long as the child does: the parent-death signal is tied to that (prctl(2),
    PR_SET_PDEATHSIG).
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._started = time.monotonic()
        self.pid = popen.pid
        self.pidfd = os.pidfd_open(popen.pid)
        self.stdin = popen.stdin
        self.returncode: int | None = None
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def wait(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds; true once the process has ended."""
        if self.returncode is None and self.pidfd in wait_readable([self.pidfd], timeout):
            self._reap()
        return self.returncode is not None

    def poll(self) -> int | None:
        """Return the exit status if the process has ended, without waiting."""
        if self.returncode is None and is_readable(self.pidfd, 0):
            self._reap()
        return self.returncode

    def end(self, grace: float = TERM_GRACE_SECONDS) -> None:
        """End the whole process group: SIGTERM, `grace` seconds, SIGKILL; returns when it is reaped."""
        for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            if self.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum)
            if is_readable(self.pidfd, patience):
                self._reap()

    def close(self) -> None:
        """End what still runs and give the descriptors back."""
        self.end()
        with contextlib.suppress(ProcessLookupError):  # what outlived its leader goes with it
            os.killpg(self.pid, signal.SIGKILL)
        if self.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        os.close(self.pidfd)

    def _reap(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        self.returncode = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - self._started
        self.cpu_seconds = usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
) -> Iterator[Process]:
    """Start `argv` in its own session and own it: it is ended and reaped when the block is left, however.

    `env` comes over this process's own environment; None takes a variable out of it, and PATH in it is where `argv` is
    looked for. A session of its own has no terminal: nothing that is started can type into the user's.
    """
    words = [str(word) for word in argv]
    variables = {**os.environ, "LC_ALL": "C", **(env or {})}
    log.debug("start: %s", " ".join(words))
    try:
        popen = subprocess.Popen(
            words,
            cwd=cwd,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:  # the second also of a directory in PATH that is not read
        if shutil.which(words[0], path=variables.get("PATH")):
            raise
        raise UserError(f"{words[0]} is not installed", hint="run `kdelta doctor`: it names the package") from error
    process = Process(popen)
    try:
        yield process
    finally:
        process.close()


def run(  # noqa: PLR0913  (what a process can be given)
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    input: bytes = b"",
    output: Path | None = None,
    errors: Path | None = None,
    timeout: float = 600.0,
    police: Callable[[int], str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `argv` to its end, or to `timeout` seconds; stdout and stderr together, into the file `output` if given.

    With a file `errors`, stderr goes there, and the output is what stands on stdout alone.
    A non-zero exit is the caller's to judge; `check` is the short way. `police` is asked about the pid again and again;
    the reason that it gives ends the process.
    """
    with contextlib.ExitStack() as stack:
        source = _source(input, stack)
        captured = stack.enter_context(tempfile.TemporaryFile("a+b"))
        sink = stack.enter_context(output.open("ab")) if output else captured
        stderr = stack.enter_context(errors.open("ab")).fileno() if errors else subprocess.STDOUT
        streams = {"stdin": source, "stdout": sink.fileno(), "stderr": stderr}
        process = stack.enter_context(spawn(argv, cwd=cwd, env=env, pass_fds=pass_fds, **streams))
        ended, charge = _wait(process, timeout, police)
        process.end(grace=0 if charge else TERM_GRACE_SECONDS)
        captured.seek(0)
        text = captured.read().decode("utf-8", "replace")
        assert process.returncode is not None
        return Completed(
            argv=tuple(str(word) for word in argv),
            returncode=process.returncode,
            output=text,
            seconds=process.seconds,
            cpu_seconds=process.cpu_seconds,
            timed_out=not ended and not charge,
            charge=charge,
        )


def _source(content: bytes, stack: contextlib.ExitStack) -> int:
    """Return the descriptor to read `content` from; for none it is one that cannot be written to the disk."""
    if not content:
        return subprocess.DEVNULL
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (the stack closes it)
    file.write(content)
    file.seek(0)
    return file.fileno()


def _wait(process: Process, timeout: float, police: Callable[[int], str] | None) -> tuple[bool, str]:
    """Wait for the end, the deadline or the police: whether it ended, and what it is charged with."""
    if police is None:
        return process.wait(timeout), ""
    deadline = time.monotonic() + timeout
    while (remaining := deadline - time.monotonic()) > 0:
        if process.wait(min(remaining, POLICE_SECONDS)):
            return True, ""
        if charge := police(process.pid):
            return False, charge
    return False, ""


def check(argv: Sequence[str | Path], *, timeout: float = 600.0, what: str | None = None, **kwargs: object) -> str:
    """Run `argv` and return its output; a non-zero exit or a timeout is an InfraError that quotes the last lines."""
    done = run(argv, timeout=timeout, **kwargs)  # type: ignore[arg-type]
    if done.timed_out:
        raise InfraError(f"{what or argv[0]}: no end after {timeout:.0f} s")
    if done.returncode:
        tail = "\n".join(done.output.strip().splitlines()[-8:])
        raise InfraError(f"{what or argv[0]} failed (exit {done.returncode}): {tail or 'no output'}")
    return done.output
