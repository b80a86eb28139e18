"""QEMU's machine protocol over an inherited socket: no path that could clash, no moment when it does not listen yet."""

import contextlib
import json
import socket
import time
from types import TracebackType
from typing import Any

from kvm import proc
from kvm.errors import InfraError

ANSWER_SECONDS = 60.0  # of a host that is busy: an end of QEMU is seen at once


class _Wait:
    """A wait that begins now: when it ends, and how long that is in words."""

    def __init__(self, seconds: float, spelled: str = "") -> None:
        self.end = time.monotonic() + seconds
        self.spelled = spelled or f"{seconds:g} s"


class Monitor:
    """A synchronous QMP client; owns its socket."""

    def __init__(self, sock: socket.socket, timeout: float = ANSWER_SECONDS) -> None:
        self._socket = sock
        self.fd = sock.fileno()  # readable when there is something to hear
        self.patience = timeout
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._receive("QMP")
        self.execute("qmp_capabilities")

    def execute(self, name: str, **arguments: object) -> Any:
        """Run one command and return its answer."""
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        return self._receive("return")

    def human(self, command: str) -> str:
        """Run a command of the human monitor, for what QMP has no words for."""
        return str(self.execute("human-monitor-command", **{"command-line": command}))

    def pass_file(self, name: str, fd: int) -> None:
        """Hand QEMU an open file, to be called `fd:NAME`."""
        command = json.dumps({"execute": "getfd", "arguments": {"fdname": name}}).encode()
        socket.send_fds(self._socket, [command], [fd])
        self._receive("return")

    def await_event(self, name: str, timeout: float, spelled: str = "") -> dict[str, Any]:
        """Return the data of the next event `name` that nobody has had yet; `spelled` says where `timeout` is from."""
        wait = _Wait(timeout, spelled)
        while True:
            while self._events:
                event = self._events.pop(0)
                if event["event"] == name:
                    return dict(event["data"])
            self._next(wait)

    def heard(self, name: str) -> list[dict[str, Any]]:
        """Return the data of all events `name` that have come, without waiting; no other event is kept."""
        with contextlib.suppress(InfraError):
            while True:
                self._next(_Wait(0))
        found = [dict(event["data"]) for event in self._events if event["event"] == name]
        self._events = [event for event in self._events if event["event"] == "SHUTDOWN"]
        return found

    def shutdown_reason(self) -> str | None:
        """Return why QEMU has ended, in its words (guest-reset, guest-shutdown ...); None if it did not say.

        It must have ended: all that is unread is read.
        """
        with contextlib.suppress(InfraError):
            while True:
                self._next(_Wait(0))
        reasons = [event["data"]["reason"] for event in self._events if event["event"] == "SHUTDOWN"]
        return reasons[-1] if reasons else None

    def _receive(self, wanted: str) -> Any:
        wait = _Wait(self.patience)
        while True:
            message = self._next(wait)
            if "error" in message:
                raise InfraError(f"QEMU's monitor: {message['error'].get('desc', message['error'])}")
            if wanted in message:
                return message[wanted]

    def _next(self, wait: "_Wait") -> dict[str, Any]:
        """Return the next message; events are kept for `await_event`."""
        message: dict[str, Any] = json.loads(self._line(wait))
        if "event" in message:
            self._events.append(message)
        return message

    def _line(self, wait: "_Wait") -> bytes:
        while b"\n" not in self._buffer:
            if not proc.wait_readable([self._socket.fileno()], wait.end - time.monotonic()):
                raise InfraError(f"QEMU's monitor did not answer for {wait.spelled}")
            try:
                chunk = self._socket.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise InfraError("QEMU's monitor is closed: QEMU ended")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
