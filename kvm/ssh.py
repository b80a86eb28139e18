"""SSH to a guest: throw-away keys, a pinned host key, deadlines of our own (paramiko has none that hold)."""

import contextlib
import io
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.message import Message

T = TypeVar("T")
FAULTS = (paramiko.SSHException, OSError, EOFError)
logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a guest that dies is told once, by us

_RAW = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


@dataclass(frozen=True)
class Keys:
    """One guest's keys: the host's as dropbear stores it, and who may log in."""

    dropbear: bytes
    host: paramiko.PKey
    client: paramiko.PKey

    @property
    def authorized(self) -> str:
        """The line for authorized_keys."""
        return f"{self.client.get_name()} {self.client.get_base64()} kdelta"


def make_keys() -> Keys:
    """Make fresh ed25519 keys for one guest."""
    host, client = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return Keys(_dropbear(host), _paramiko(host), _paramiko(client))


def dial(port: int, timeout: float) -> paramiko.Transport:
    """Connect to 127.0.0.1:`port`, without a word of SSH yet; the caller closes it."""
    transport = paramiko.Transport(socket.create_connection(("127.0.0.1", port), timeout=timeout))
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
    return transport


def log_in(transport: paramiko.Transport, keys: Keys) -> None:
    """Log in as root, if the other end holds the host key; blocks, raises FAULTS."""
    transport.connect(hostkey=keys.host, username="root", pkey=keys.client)


def start(transport: paramiko.Transport, command: str) -> paramiko.Channel:
    """Start a shell command; blocks, raises FAULTS."""
    channel = transport.open_session()
    channel.exec_command(command)
    return channel


@contextlib.contextmanager
def on_thread(call: Callable[[], T], abort: Callable[[], None]) -> Iterator[tuple[int, Future[T]]]:
    """Run a blocking call of paramiko's on a thread; the descriptor becomes readable when the future is done.

    A call that still runs when the block is left is made to fail by `abort`.
    """
    fd, future = os.eventfd(0), Future[T]()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        os.eventfd_write(fd, 1)

    thread = threading.Thread(target=work, name="ssh call", daemon=True)
    thread.start()
    try:
        yield fd, future
    finally:
        if not future.done():
            abort()
        thread.join()
        os.close(fd)


def _paramiko(key: Ed25519PrivateKey) -> paramiko.PKey:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return paramiko.Ed25519Key(file_obj=io.StringIO(text.decode()))


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """dropbear's own file format: the key's type, then private and public part as one string (its ed25519.c)."""
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    message = Message()
    message.add_string("ssh-ed25519")
    message.add_string(key.private_bytes(*_RAW) + public)
    return message.asbytes()
