"""A real server on this machine that gives the answers it is told to give, or none."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def server(*answers: Answer) -> Iterator[tuple[str, list[BaseHTTPRequestHandler]]]:
    """One that gives these answers in turn, the last of them for ever; yields its URL and what it was asked."""
    asked: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        body = b""

        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self)
            with contextlib.suppress(OSError):  # who asked is gone
                answers[min(len(asked), len(answers)) - 1](self)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", asked
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def says(status: int, body: object = None, **headers: str) -> Answer:
    """An answer."""
    words = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        for name, value in {"Content-Length": str(len(words)), **headers}.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(words)

    return answer


def hangs_up(to: BaseHTTPRequestHandler) -> None:
    to.connection.close()


def is_silent(to: BaseHTTPRequestHandler) -> None:
    time.sleep(0.4)


def drips(to: BaseHTTPRequestHandler) -> None:
    for _ in range(100):
        to.wfile.write(b"H")
        time.sleep(0.02)
