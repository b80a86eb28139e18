"""The host's end of the agent that runs commands in a guest; agent.c has the protocol. All that it says is hostile."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

CHUNK = 1 << 16  # the longest frame, and the most stdin that is on its way
_HEAD = struct.Struct("<cI")
_NUMBER = struct.Struct("<I")
_ALIVE = b"A"


class BrokenError(Exception):
    """No agent is at the other end, or it says what none would say."""


class Agent:
    """Frames to and from the guest, over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self.fd = sock.fileno()  # readable when there is something to receive
        self.heard = time.monotonic()  # when it last said something

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send a frame; what may be on its way has room in the socket's buffer, so that this never blocks."""
        frame = _HEAD.pack(kind, len(content)) + content
        try:
            if self._socket.send(frame, socket.MSG_DONTWAIT) == len(frame):
                return
        except BlockingIOError:
            pass
        except OSError as error:
            raise BrokenError(f"the guest's port: {error.strerror}") from error
        raise BrokenError("the guest takes nothing any more")

    def ask(self) -> None:
        """Have it say something, whatever else it does."""
        self.send(_ALIVE)

    def renew(self, seed: bytes) -> None:
        """Give the guest the time of now, and 32 random bytes to seed its generator with."""
        self.send(b"T", struct.pack("<q", time.time_ns()) + seed)

    def receive(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what has arrived, without waiting: frames as kind and content."""
        try:
            chunk = self._socket.recv(4 * CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            raise BrokenError("the guest's port is closed")
        self._buffer += chunk
        self.heard = time.monotonic()
        while len(self._buffer) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer)
            if size > CHUNK:
                raise BrokenError(f"the guest's agent sends a frame of {size} bytes")
            if len(self._buffer) < (whole := _HEAD.size + size):
                return
            content = bytes(self._buffer[_HEAD.size : whole])
            del self._buffer[:whole]
            yield kind, content


class Command:
    """A command in the guest, one at a time: its streams, moved as frames come."""

    def __init__(self, agent: Agent, stdin: bytes, output_limit: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False
        self.started = False
        self.ended = False
        self.status = -1  # as a shell says it: 128 and more for a signal
        self._agent = agent
        self._stdin = memoryview(stdin)
        self._limit = output_limit
        self._room = CHUNK
        self._fed = False

    def start(self, command: str) -> None:
        """Have `sh -c` run it."""
        self._agent.send(b"C", command.encode())
        self._feed()

    def kill(self) -> None:
        """Kill its session; it still says how it ended."""
        self._agent.send(b"K")

    def step(self) -> None:
        """Take what has arrived, without waiting; raises BrokenError when that is nothing an agent says."""
        for kind, content in self._agent.receive():
            if kind == _ALIVE:  # perhaps asked for while the last command ran
                continue
            if self.ended:
                raise BrokenError("the guest's agent speaks without a command")
            self._take(kind, content)

    def said(self) -> bytes:
        """Return all of stdout that has arrived."""
        with contextlib.suppress(BrokenError):
            self.step()
        return bytes(self.stdout)

    def _take(self, kind: bytes, content: bytes) -> None:
        match kind:
            case b"O":
                self._keep(self.stdout, content)
            case b"E":
                self._keep(self.stderr, content)
            case b"S":
                self.started = True
            case b"W" if self._room + _number(content) <= CHUNK:
                self._room += _number(content)
                self._feed()
            case b"X":
                self._end(_number(content))
            case _:
                raise BrokenError(f"the guest's agent says {kind!r}")

    def _end(self, how: int) -> None:
        signal = how & 0x7F  # wait(2)'s words
        self.status = 128 + signal if signal else how >> 8 & 0xFF
        self.ended = True

    def _feed(self) -> None:
        """Send as much of stdin as may be on its way, and then its end."""
        chunk, self._stdin = self._stdin[: self._room], self._stdin[self._room :]
        self._room -= len(chunk)
        if chunk:
            self._agent.send(b"I", bytes(chunk))
        if not self._stdin and not self._fed:
            self._fed = True
            self._agent.send(b"I")

    def _keep(self, kept: bytearray, chunk: bytes) -> None:
        room = self._limit - len(kept)
        kept += chunk[: max(0, room)]
        self.truncated |= len(chunk) > room


def _number(content: bytes) -> int:
    if len(content) != _NUMBER.size:
        raise BrokenError(f"the guest's agent sends {len(content)} bytes for a number")
    return int(_NUMBER.unpack(content)[0])
