"""What a build tries and the sandbox denies, noted although the build says nothing of it.

The filter of system calls asks us (seccomp_unotify(2)) about those that a build has no use for: sockets, keyrings,
tracing, and files opened for writing, which are looked at by name. We decide about the first, and note; where something
may be written is decided by what is mounted there, so that a name that is changed behind our back gains nothing.
"""

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from inotify_simple import INotify, flags

from orchestrator.build import seccomp
from orchestrator.build.seccomp import Call

MOST = 20  # attempts that are told; a build may make millions
_PATH_BYTES, _SHOWN = 4096, 200
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_ASKED = struct.Struct("<QIIiIQ6Q")  # struct seccomp_notif: id, pid, flags, then struct seccomp_data
_ANSWER = struct.Struct("<QqiI")  # struct seccomp_notif_resp: id, value, error, flags
_GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_INSIDE = Path(__file__).with_name("watch_inside.py")
_AT_FDCWD = 0xFFFFFF9C
_KEYS = (
    *(".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519", ".ssh/config", ".gnupg/secring.gpg", ".aws/credentials"),
    *(".netrc", ".git-credentials"),
)
_NO_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nThis is none: kdelta wants to know who looks for one.\n"


class Watch:
    """Ears for one sandbox: `words` go before its command; `noted` receives what is told of it."""

    def __init__(self, own: Sequence[str], noted: list[str]) -> None:
        self._own = tuple(own)
        self._noted = noted
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._listen, name="watch", daemon=True)
        self._thread.start()

    @property
    def words(self) -> tuple[str, ...]:
        """What goes before the command."""
        script = _INSIDE.read_text(encoding="utf-8")
        number = seccomp.number()
        return ("python3", "-ISc", script, str(self.fd), str(number), seccomp.program(watched=True).hex())

    @property
    def fd(self) -> int:
        """The descriptor that the sandbox inherits."""
        return self._theirs.fileno()

    def close(self) -> None:
        """Stop to listen: what still runs gets no answer but an error."""
        os.eventfd_write(self._over, 1)
        self._thread.join()
        self._theirs.close()
        self._ours.close()
        os.close(self._over)

    def _listen(self) -> None:
        try:
            if (self._ours.fileno(), select.POLLIN) in self._poll(self._ours.fileno()).poll():
                _, [listener], _, _ = socket.recv_fds(self._ours, 1, 1)
                try:
                    self._serve(listener)
                finally:
                    os.close(listener)  # from now on the kernel answers, with an error
        except (OSError, LookupError, ValueError) as fault:
            self._noted.append(f"cannot be watched any more: {fault}")

    def _serve(self, listener: int) -> None:
        asked = self._poll(listener)
        while (listener, select.POLLIN) in asked.poll():
            self._answer(listener)

    def _poll(self, fd: int) -> select.poll:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._over, select.POLLIN)
        return poll

    def _answer(self, listener: int) -> None:
        """Receive one call, note it, and say what becomes of it."""
        asked = bytearray(_ASKED.size)
        with contextlib.suppress(FileNotFoundError):  # who called is dead
            fcntl.ioctl(listener, _RECEIVE, asked)
            identity, pid, _, number, arch, _, *arguments = _ASKED.unpack(asked)
            call = seccomp.meaning(arch, number)
            error = self._judge(call, pid, arguments)
            fcntl.ioctl(listener, _SEND, _ANSWER.pack(identity, 0, -error, 0 if error else _GO_ON))

    def _judge(self, call: Call, pid: int, arguments: Sequence[int]) -> int:
        """Return the error that the call ends with; 0 if it goes on."""
        if call.path is None:
            if call is not seccomp.SOCKET:
                self._note(pid, f"called {call.name}")
                return errno.EPERM
            family = arguments[0] & 0xFFFFFFFF
            self._note(pid, f"opened a socket ({_FAMILIES.get(family, f'family {family}')})")
            return 0 if family in seccomp.CONTAINED else errno.EAFNOSUPPORT
        path = _path(pid, call.path, arguments, at=call.at)
        if path and not self._is_own(path):
            self._note(pid, f"{call.name} {path[:_SHOWN]}")
        return 0

    def _is_own(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self._own)

    def _note(self, pid: int, deed: str) -> None:
        """Keep each deed of a program once."""
        try:
            name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
        except OSError:
            name = "a process"
        words = f"{name} {deed}"
        if words not in self._noted and len(self._noted) <= MOST:
            self._noted.append(words if len(self._noted) < MOST else "and more")


_FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6", 17: "AF_PACKET", 38: "AF_ALG", 40: "AF_VSOCK"}


def _path(pid: int, place: int, arguments: Sequence[int], *, at: bool) -> str:
    """Return the whole name that argument `place` gives, by the directory before it if it is `at` that.

    It is "" where it cannot be read; the kernel neither can.
    """
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            name = _string(memory, arguments[place])
        finally:
            os.close(memory)
        if name.startswith("/"):
            return os.path.normpath(name)
        directory = arguments[place - 1] & 0xFFFFFFFF if at else _AT_FDCWD
        link = "cwd" if directory == _AT_FDCWD else f"fd/{directory}"
        return os.path.normpath(os.path.join(os.readlink(f"/proc/{pid}/{link}"), name))  # noqa: PTH115, PTH118
    except (OSError, OverflowError):  # the latter for an address that is none
        return ""


def _string(memory: int, address: int) -> str:
    """Read to the end of the page, and on if it does not end there."""
    found = os.pread(memory, min(_PATH_BYTES, 4096 - address % 4096), address)
    if b"\0" not in found and len(found) < _PATH_BYTES:
        with contextlib.suppress(OSError):
            found += os.pread(memory, _PATH_BYTES - len(found), address + len(found))
    return found.split(b"\0", 1)[0].decode("utf-8", "replace")


class Decoys:
    """What looks like keys, where a home is: `places` are what a sandbox shows, and we see what is read of it."""

    def __init__(self, top: Path, homes: Sequence[str]) -> None:
        self._inotify = INotify(nonblocking=True)
        self._names: dict[int, str] = {}
        for name in _KEYS:
            file = top / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(_NO_KEY, encoding="utf-8")
            self._names[self._inotify.add_watch(file, flags.OPEN)] = name
        self.places = {f"{home}/{entry.name}": entry for home in homes for entry in top.iterdir()}

    def opened(self) -> list[str]:
        """Say which were opened so far."""
        return list(dict.fromkeys(self._names[event.wd] for event in self._inotify.read(0) if event.wd in self._names))

    def close(self) -> None:
        """Look no more."""
        self._inotify.close()


@contextlib.contextmanager
def decoys(homes: Sequence[str], noted: list[str]) -> Iterator[Mapping[str, Path]]:
    """Lend decoys for `homes`, by the places where a sandbox shows them, and note which are opened."""
    with (
        tempfile.TemporaryDirectory(prefix="kdelta-decoys-") as top,
        contextlib.closing(Decoys(Path(top), homes)) as lent,
    ):
        yield lent.places
        noted += [words for name in lent.opened() if (words := f"something read ~/{name}") not in noted]


@contextlib.contextmanager
def listen(own: Sequence[str], noted: list[str]) -> Iterator[Watch]:
    """Lend ears for one sandbox, in which a build may write below `own`."""
    with contextlib.closing(Watch(own, noted)) as watch:
        yield watch
