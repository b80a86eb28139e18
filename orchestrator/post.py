"""What is said to servers by HTTP: bounded in time, tried again, with a token that goes to nobody else."""

import contextlib
import ipaddress
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from kvm import proc
from kvm.errors import InfraError, UserError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

ANSWER_BYTES = 4 << 20
_SAID = 200  # characters of a refusal that are repeated
_AGAIN = (429, 500, 502, 503, 504)

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds: for a connection, for an answer, for all that is said; and how often is tried."""

    connect: float = 5
    answer: float = 20
    whole: float = 120
    tries: int = 4
    pause: float = 0.5  # before the third try, then twice that


class Refused(InfraError):
    """A server answered, and not with what was asked for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Peer:
    """A server, spoken to for so long at most. `token` is the value of the header Authorization."""

    def __init__(self, url: str, token: str = "", patience: Patience | None = None) -> None:
        self.host = _host(url)
        self._url, self._token, self._patience = url.rstrip("/"), token, patience or Patience()
        self._until = time.monotonic() + self._patience.whole
        if not self.host:
            raise UserError("the address is none", hint="https://HOST/...")
        if token and not secret(url):
            raise UserError(f"{self.host} would get a token that anybody can read", hint="name an https:// address")

    def get(self, path: str, **query: str) -> Any:
        """The JSON that is there; raises InfraError whose words hold no more of the URL than its host."""
        return _json(self.read("GET", path, params=query))

    def post(self, path: str, body: object) -> Any:
        """Say `body`, as JSON; returns what is answered."""
        return _json(self.read("POST", path, json=body))

    def read(self, method: str, path: str, most: int = ANSWER_BYTES, **what: Any) -> bytes:
        """Up to `most` bytes of what is answered to `what`, in requests' words."""
        left = max(0.0, self._until - time.monotonic())
        try:
            return _within(left, lambda: self._spoken(method, path, most, **what))
        except TimeoutError as fault:
            raise InfraError(f"{self.host}: not done after {self._patience.whole:g} s") from fault

    def _spoken(self, method: str, path: str, most: int, **what: Any) -> bytes:
        wait = self._patience.connect, self._patience.answer
        with _explained(self.host), _session(self._patience) as session:
            asked: dict[str, Any] = {"timeout": wait, "allow_redirects": False, "stream": True, "auth": self._sign}
            with session.request(method, self._url + path, **asked, **what) as answer:
                return _content(answer, self.host, most)

    def _sign(self, request: "PreparedRequest") -> "PreparedRequest":
        """Our token or none: without this, one of ~/.netrc would go."""
        if self._token:
            request.headers["Authorization"] = self._token
        return request


def secret(url: str) -> bool:
    """Does nobody between here and there read what is said?"""
    return url.startswith("https://") or is_loopback(_host(url))


def is_loopback(host: str) -> bool:
    """Does only this machine reach it?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):  # brackets that hold no address
        return urlsplit(url).hostname or ""
    return ""


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Do it, and wait no longer: a server that sends a byte from time to time never lets a socket's time-out fire."""
    done: Future[T] = Future()
    reading, writing = os.pipe()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as fault:
            done.set_exception(fault)
        os.close(writing)

    threading.Thread(target=run, daemon=True).start()
    try:
        if not proc.wait_readable([reading], seconds):
            raise TimeoutError
    finally:
        os.close(reading)
    return done.result()


@contextlib.contextmanager
def _session(patience: Patience) -> "Iterator[Session]":
    from requests import Session  # noqa: PLC0415  (0.1 s that a run which tells nobody does without)
    from requests.adapters import HTTPAdapter  # noqa: PLC0415
    from urllib3 import Retry  # noqa: PLC0415

    again = Retry(
        patience.tries - 1,
        status_forcelist=_AGAIN,
        allowed_methods=None,  # what is posted twice replaces itself
        backoff_factor=patience.pause / 2,
        respect_retry_after_header=False,  # it may say a day
        raise_on_status=False,
    )
    with Session() as session:
        session.headers["User-Agent"] = "kdelta"
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        yield session


def _content(answer: "Response", host: str, most: int) -> bytes:
    if answer.is_redirect:
        raise InfraError(f"{host} redirects to another address, which is not followed", hint="name that one yourself")
    said: bytes = answer.raw.read(most, decode_content=True)
    if not answer.ok:
        words = said.decode(errors="replace")[:_SAID]
        raise Refused(f"{host} answers {answer.status_code} {answer.reason}: {words}", answer.status_code)
    return said


def _json(said: bytes) -> Any:
    try:
        return json.loads(said or b"null")
    except ValueError:
        return None


@contextlib.contextmanager
def _explained(host: str) -> Iterator[None]:
    """Faults in words of ours: the library's hold the URL, which may be the secret itself."""
    from requests import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except (RequestException, HTTPError) as fault:
        reason = getattr(fault.args[0] if fault.args else fault, "reason", None)
        words = str(reason).rpartition("): ")[2] if reason else type(fault).__name__
        raise InfraError(f"{host} cannot be told: {words}") from fault
