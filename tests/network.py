"""Several hosts on this machine: network namespaces at one switch, in a user namespace where anybody may make them."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SWITCH = "switch"
_STAY = "echo; exec sleep infinity"  # a line when the namespace is there; it is as long as somebody is in it


@dataclass
class Network:
    """Hosts by their names, and the switch that they are at; each is held by a process."""

    held: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def at(self, name: str) -> list[str]:
        """What is put before a command so that it runs there."""
        return ["nsenter", f"--target={self.held[name].pid}", "--user", "--net", "--preserve-credentials", "--"]

    def address(self, name: str) -> str:
        return f"10.0.0.{list(self.held).index(name)}"

    def cut(self, name: str) -> None:
        """Pull the plug of `name`: who talks to it hears nothing, not even that it is gone."""
        self._run(SWITCH, "ip", "link", "set", name, "down")

    def join(self, name: str) -> None:
        self._run(SWITCH, "ip", "link", "set", name, "up")

    def add(self, name: str) -> None:
        """Make a host, and plug it in."""
        self._hold(name, [*self.at(SWITCH), "unshare", "--net"], "ip link set lo up")
        self._run(SWITCH, "ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", str(self.held[name].pid))
        self._run(SWITCH, "ip", "link", "set", name, "master", "br0", "up")
        self._run(name, "ip", "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        self._run(name, "ip", "link", "set", "eth0", "up")

    def begin(self) -> None:
        unshared = ["unshare", "--user", "--map-root-user", "--net"]
        self._hold(SWITCH, unshared, "ip link add br0 type bridge && ip link set br0 up")

    def end(self) -> None:
        for process in reversed(self.held.values()):
            process.kill()
            process.communicate()

    def _hold(self, name: str, prefix: Sequence[str], first: str) -> None:
        argv = [*prefix, "sh", "-c", f"{first} && {_STAY}"]
        self.held[name] = process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline(), f"no namespace for {name}"

    def _run(self, name: str, *words: str) -> None:
        subprocess.run([*self.at(name), *words], check=True)


@contextlib.contextmanager
def of(*hosts: str) -> Iterator[Network]:
    """Lend a network of these hosts."""
    network = Network()
    try:
        network.begin()
        for name in hosts:
            network.add(name)
        yield network
    finally:
        network.end()
