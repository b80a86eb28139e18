"""SSH to a guest, for people and tools: throw-away keys, a pinned host key."""

import contextlib
import io
import logging
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.message import Message

PORT = 22
FAULTS = (paramiko.SSHException, OSError, EOFError)
logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a guest that dies is told once, by us

_RAW = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


@dataclass(frozen=True)
class Keys:
    """One guest's keys: the host's as dropbear stores it, and who may log in, also as the file that ssh reads."""

    dropbear: bytes
    host: paramiko.PKey
    client: paramiko.PKey
    client_file: str

    @property
    def authorized(self) -> str:
        """The line for authorized_keys."""
        return f"{self.client.get_name()} {self.client.get_base64()} kdelta"


@dataclass(frozen=True)
class Access:
    """An SSH server on 127.0.0.1:`port` that shows `keys.host`, and where root logs in with `keys.client`."""

    port: int
    keys: Keys

    @property
    def known_host(self) -> str:
        """The line for known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.keys.host.get_name()} {self.keys.host.get_base64()}"

    def command(self, directory: Path) -> list[str]:
        """Return what lets a person in; the files that it names go into `directory`, which is the caller's alone."""
        key, hosts = directory / "ssh_key", directory / "ssh_known_hosts"
        key.touch(0o600)
        key.write_text(self.keys.client_file, encoding="ascii")
        hosts.write_text(f"{self.known_host}\n", encoding="ascii")
        files = ("-i", str(key), "-o", f"UserKnownHostsFile={hosts}")
        return ["ssh", "-F", "none", *files, "-o", "IdentitiesOnly=yes", "-p", str(self.port), "root@127.0.0.1"]

    @contextlib.contextmanager
    def log_in(self, timeout: float) -> Iterator[paramiko.Transport]:
        """Lend a connection as root; raises FAULTS when none comes about, each step of it in `timeout` seconds."""
        transport = paramiko.Transport(socket.create_connection(("127.0.0.1", self.port), timeout=timeout))
        with contextlib.closing(transport):
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
            transport.connect(hostkey=self.keys.host, username="root", pkey=self.keys.client)
            yield transport


def make_keys() -> Keys:
    """Make fresh ed25519 keys for one guest."""
    host, client = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return Keys(_dropbear(host), _paramiko(host), _paramiko(client), _openssh(client))


def server(keys: Keys) -> str:
    """Return the command that starts the guest's server; its standard input is `keys.dropbear`.

    It returns when dropbear listens. -s: keys only; -j -k: no forwarding; -W: a window that lets a large file flow.
    """
    host_key = "/etc/dropbear/host_key"
    return (
        f"umask 077 && cat >{host_key} && echo {shlex.quote(keys.authorized)} >/root/.ssh/authorized_keys"
        f" && dropbear -s -j -k -W 1048576 -r {host_key}"
    )


def _openssh(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def _paramiko(key: Ed25519PrivateKey) -> paramiko.PKey:
    return paramiko.Ed25519Key(file_obj=io.StringIO(_openssh(key)))


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """dropbear's own file format: the key's type, then private and public part as one string (its ed25519.c)."""
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    message = Message()
    message.add_string("ssh-ed25519")
    message.add_string(key.private_bytes(*_RAW) + public)
    return message.asbytes()
