"""A process in which all is loaded, and that forks one for each errand: to load it takes longer than many an errand."""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from kvm import proc
from kvm.errors import InfraError

_MESSAGE_BYTES = 1 << 16


class Fork:
    """One that was forked; `pidfd` becomes readable when it ends."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; true once it has ended."""
        return self._pidfd in proc.wait_readable([self._pidfd], timeout)

    def end(self, grace: float) -> None:
        """SIGTERM, `grace` seconds, SIGKILL; returns when it has ended."""
        for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)
            if proc.is_readable(self._pidfd, patience):
                return


class Forks:
    """Starts errands by way of a process `argv` that runs `serve`, and is started again if somebody killed it.

    With whoever holds this ends that process, and with it all that it forked: each gets SIGTERM.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._line: socket.socket | None = self._begin()

    @contextmanager
    def start(self, words: Sequence[str], stdout: int, stderr: int, grace: float) -> Iterator[Fork]:
        """Own a process with `words` behind those of `argv`; it is ended when the block is left."""
        with self._lock:
            pidfd = self._ask(words, stdout, stderr)
        try:
            fork = Fork(pidfd)
            try:
                yield fork
            finally:
                fork.end(grace)
        finally:
            os.close(pidfd)

    def close(self) -> None:
        """End it, and all that it forked."""
        with self._lock:
            self._forget()

    def _ask(self, words: Sequence[str], stdout: int, stderr: int) -> int:
        for _ in range(2):  # somebody may have killed it since the last errand
            line = self._line = self._line or self._begin()
            with suppress(ConnectionError):
                socket.send_fds(line, [json.dumps(words).encode()], [stdout, stderr])
                fault, fds, *_ = socket.recv_fds(line, _MESSAGE_BYTES, 1)
                if fds:
                    return fds[0]
                if fault:
                    raise InfraError(f"no process for an errand: {fault.decode()}")
            self._forget()
        raise InfraError(f"no process for an errand: {self._argv[0]} does not answer", hint="its words are above")

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._held.enter_context(ours)
        with theirs:
            self._held.enter_context(proc.spawn(self._argv, stdin=theirs.fileno(), stderr=sys.stderr.fileno()))
        return ours

    def _forget(self) -> None:
        self._held.close()
        self._line = None


def serve(main: Callable[[], object]) -> None:
    """Fork a process that does `main`, with what is asked for on stdin as its arguments, until nobody asks any more."""
    with socket.socket(fileno=os.dup(0)) as line:
        while True:
            request, fds, *_ = socket.recv_fds(line, _MESSAGE_BYTES, 2)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not request:
                return
            parent, pid = os.getpid(), _forked(line)
            if pid == 0:
                _become(parent, json.loads(request), fds)
                break
            if pid:
                _hand_over(line, pid)
            for fd in fds:
                os.close(fd)
    main()


def _forked(line: socket.socket) -> int | None:
    try:
        return os.fork()
    except OSError as fault:
        line.send(str(fault).encode())
        return None


def _hand_over(line: socket.socket, pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)  # it is not reaped yet
    except OSError as fault:
        os.kill(pid, signal.SIGKILL)  # nobody could end it
        line.send(str(fault).encode())
        return
    socket.send_fds(line, [b"."], [pidfd])
    os.close(pidfd)


def _become(parent: int, words: list[str], fds: list[int]) -> None:
    """Be the process that was asked for, as if it had been started."""
    os.setsid()
    proc.end_with(parent, signal.SIGTERM)
    for here, there in enumerate([os.open(os.devnull, os.O_RDONLY), *fds]):
        os.dup2(there, here)
        os.close(there)
    sys.argv += words
    proc.stop.renew()
