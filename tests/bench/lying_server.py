"""A small server of the tests that keeps its promises, or breaks the one that a test names."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

#: Every so many answers the promise is broken.
EVERY = 20


class Ledger:
    """The rows that the server says it keeps, and the live refresh tokens."""

    def __init__(self, path: Path, lie: str) -> None:
        self.path, self.lie = path, lie
        self.url = f"sqlite:///{path}"
        self._lock, self._number = threading.Lock(), count(1)
        self.live = {f"start-{place}" for place in range(64)}
        self.asked_at: list[float] = []
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE token (id INTEGER PRIMARY KEY)")

    def answer(self, form: str) -> tuple[int, str] | None:
        """Status and body; None to hang up instead."""
        with self._lock:
            self.asked_at.append(time.time())
            number = next(self._number)
            lies = number % EVERY == 0
            rows = {"loses a row": 0, "keeps a row too many": 40}.get(self.lie, 1) if lies else 1
            with closing(sqlite3.connect(self.path)) as connection, connection:
                connection.executemany("INSERT INTO token VALUES (NULL)", [()] * rows)
            if lies and self.lie == "answers wrongly":
                return 200, '{"error": "none"}'
            if lies and self.lie == "fails":
                return 500, '{"access_token": "x"}'
            if lies and self.lie == "hangs up":
                return None
            return self._refresh(form, number)

    def _refresh(self, form: str, number: int) -> tuple[int, str]:
        used = form.partition("refresh_token=")[2]
        if used and used not in self.live:
            return 400, '{"error": "invalid_grant"}'
        self.live.discard(used)
        self.live.add(f"next-{number}")
        return 200, json.dumps({"access_token": "x", "refresh_token": f"next-{number}"})


@contextmanager
def lying_server(path: Path, lie: str = "") -> Iterator[tuple[int, Ledger]]:
    """Serve on loopback; yields the port and the ledger."""
    ledger = Ledger(path, lie)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = ledger.answer(form)
            if answer is None:
                self.close_connection = True
                return
            body = answer[1].encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *args: object) -> None:
            pass  # the load hangs up at the end of a round

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port, ledger
        finally:
            server.shutdown()
            thread.join()
