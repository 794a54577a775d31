"""Little HTTP servers on 127.0.0.1 that a back channel reaches, good ones and bad ones."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs


class Received(NamedTuple):
    at: float
    path: str
    headers: dict[str, str]
    form: dict[str, list[str]]


class Receiver:
    """Takes logout tokens; `answer` decides what it says."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.before_answer: Callable[[], None] = lambda: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.received.append(
                    Received(time.monotonic(), self.path, dict(self.headers), parse_qs(body))
                )
                receiver.before_answer()
                try:
                    self.send_response(receiver.status)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                except OSError:
                    pass  # the portal has hung up

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.uri = f"http://127.0.0.1:{self.server.server_port}/logout?tenant=1"

    @property
    def tokens(self) -> list[str]:
        return [token for got in self.received for token in got.form["logout_token"]]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def receivers() -> Iterator[Callable[[], Receiver]]:
    """Makes receivers, and closes them at the end."""
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    try:
        yield make
    finally:
        for receiver in made:
            receiver.close()
