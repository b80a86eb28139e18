"""The line to the scheduler: one errand in, what came of it out; it outlives the scheduler's restart."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kvm import proc
from kvm.errors import InfraError, UserError
from orchestrator.cluster import ability, hand
from orchestrator.cluster.ability import Ability
from orchestrator.cluster.hand import Words

if TYPE_CHECKING:
    from distributed import Client, Future, Security

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # how soon it is noticed that nobody can do it, or that the scheduler is there again
_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 20.0  # until it is said that nobody can do it yet
_RETRIES = 2  # of an errand that fails by a machine's fault; a worker that dies is counted by the scheduler


class Line:
    """What is asked of workers goes here. Without a scheduler, or a worker that may do it, it gives up after `patience`
    seconds.
    """

    def __init__(self, url: str, security: "Security | None", patience: float) -> None:
        self.url, self.patience = url, patience
        self._security = security
        self._guard = threading.Lock()
        self._known: Client | None = None
        self._hear: dict[str, Callable[[Words], None]] = {}
        self._said: set[str] = set()

    def do(self, args: tuple[str, ...], wanted: Ability, mib: float, hear: Callable[[Words], None]) -> str:
        """Have `hand.perform(*args)` done by a worker with `wanted` and so much memory; return the hash that it tells.

        Asked for again under the same last word, it is not done twice. A stop request ends it on the worker, too.
        """
        while True:
            client = self._client()
            self._listen(client, args[-1], hear)
            future = client.submit(
                hand.perform,
                *args,
                key=f"{hand.OURS}-{args[-1]}",
                resources=wanted.takes(mib),
                retries=_RETRIES,
            )
            told = self._waited(client, future, wanted, mib)
            if told is None:  # the scheduler is gone, and knows nothing of it when it comes back
                continue
            if fault := hand.fault(told):
                raise fault
            return str(told["told"])

    def _listen(self, client: "Client", name: str, hear: Callable[[Words], None]) -> None:
        """Hear what is said of an errand, and what was said before we came."""
        self._hear[name] = hear
        for event in client.get_events(hand.topic(name)):
            if event[1].get(hand.ERRAND) == name:
                hear(event[1])
        client.subscribe_topic(hand.topic(name), self._heard)

    def _heard(self, event: tuple[float, Words]) -> None:
        if hear := self._hear.get(event[1].get(hand.ERRAND, "")):
            hear(event[1])

    def best(self, wanted: Sequence[Ability], mib: float) -> Ability:
        """Return the first of them that a worker has; waits for one."""
        since = time.monotonic()
        while True:
            if found := next((one for one in wanted if self._is_there(one, mib)), None):
                return found
            self._despair(since, wanted, mib)
            proc.wait_readable([], _LOOK_SECONDS)

    def close(self) -> None:
        """Hang up."""
        if self._known:
            self._known.close()

    def _waited(self, client: "Client", future: "Future", wanted: Ability, mib: float) -> Words | None:
        from distributed import KilledWorker, fire_and_forget  # noqa: PLC0415

        fire_and_forget(future)  # it goes on when we are gone
        since = time.monotonic()
        with _ended(future) as fd:
            try:
                while not proc.wait_readable([fd], _LOOK_SECONDS):
                    if self._is_there(wanted, mib):
                        since = time.monotonic()
                    self._despair(since, [wanted], mib)
            except BaseException:
                with contextlib.suppress(Exception):  # there may be no scheduler to tell
                    client.cancel([future], force=True)
                raise
        if future.status == "finished":
            words: Words = future.result()
            return words
        fault = future.exception() if future.status == "error" else None
        if isinstance(fault, KilledWorker):
            died = f"{fault.allowed_failures + 1} workers died with it, the last one at {fault.last_worker.address}"
            raise InfraError(f"{wanted.kind} {wanted.arch}: {died}", hint="look at the workers' logs") from fault
        if isinstance(fault, BaseException):
            raise fault
        return None

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return list(self._client().scheduler_info()["workers"].values())
        except OSError:  # the scheduler is gone for now
            return []

    def _is_there(self, wanted: Ability, mib: float) -> bool:
        """Is there a worker that may do it when it has nothing else to do?"""
        has = [worker["resources"] for worker in self._workers()]
        return any(one.get(wanted.tag, 0) >= 1 and one.get(ability.MEMORY, 0) >= mib for one in has)

    def _despair(self, since: float, wanted: Sequence[Ability], mib: float) -> None:
        """Give up when nobody could do it for too long, and say who is there."""
        asked = f"{' or '.join(one.words for one in wanted)} with {mib:.0f} MiB"
        waited = time.monotonic() - since
        if waited > min(_SILENT_SECONDS, self.patience):
            self._say(f"no worker at {self.url} for {asked}: it is waited for, {self.patience:g} s at most")
        if waited < self.patience:
            return
        first, alike = wanted[0], set[str]()
        for worker in self._workers():
            able = map(ability.read, worker.get(hand.OURS, ()))
            memory = f" with {worker['resources'].get(ability.MEMORY, 0):.0f} MiB"
            alike |= {f"{one.words}{memory}" for one in able if (one.kind, one.arch) == (first.kind, first.arch)}
        there = f"there is {'; '.join(sorted(alike))}" if alike else f"no worker does {first.kind} {first.arch}"
        hint = "install the same kdelta, compilers and QEMU on workers as here; `kdelta worker` says what it found"
        raise UserError(f"no worker for {asked} at {self.url} in {self.patience:g} s: {there}", hint=hint)

    def _say(self, words: str) -> None:
        """Let nobody wait for what he does not know of; once."""
        if words not in self._said:
            self._said.add(words)
            log.warning("%s", words)

    def _client(self) -> "Client":
        from distributed import Client  # noqa: PLC0415

        since = time.monotonic()
        with self._guard:
            while not (self._known and self._known.status == "running"):
                if self._known and self._known.status == "connecting":
                    pass  # by itself
                else:
                    with contextlib.suppress(OSError):
                        self._known = Client(
                            self.url,
                            security=self._security,
                            timeout=min(_CONNECT_SECONDS, self.patience),
                            set_as_default=False,
                        )
                        continue
                    self._say(f"no scheduler at {self.url}: it is waited for, {self.patience:g} s at most")
                if time.monotonic() - since > self.patience:
                    raise InfraError(f"no scheduler at {self.url} in {self.patience:g} s", hint="`kdelta scheduler`")
                proc.wait_readable([], _LOOK_SECONDS)
            return self._known


@contextlib.contextmanager
def _ended(future: "Future") -> Iterator[int]:
    """Lend a descriptor that is readable once it has ended."""
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    over = threading.Event()

    def tell(_: Any) -> None:
        if not over.is_set():
            os.eventfd_write(fd, 1)

    future.add_done_callback(tell)
    try:
        yield fd
    finally:
        over.set()
        os.close(fd)
