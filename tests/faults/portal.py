"""The production server as a service manager runs it, and the programs that call it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask.testing import FlaskClient

from tests.conftest import SECRET_KEY
from tests.flows import RelyingApp, query

ROOT = Path(__file__).parent.parent.parent
SERVE = (sys.executable, "-m", "flask", "--app", "wsgi", "serve")
START_SECONDS = 30
WAIT_SECONDS = 20


class Answer:
    """What came back, with the words that the flows read from a test client's answer."""

    def __init__(self, response: http.client.HTTPResponse, seconds: float) -> None:
        self.status_code, self.headers = response.status, response.headers
        self.body, self.seconds = response.read(), seconds

    def get_json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def get_data(self, as_text: bool) -> str:
        return self.body.decode()


class Portal:
    """One `serve` after another on one port and one database."""

    def __init__(self, database_url: str, log: Path, before: Callable[[], None] | None = None):
        self.port, self.log, self._before = free_port(), log, before
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PORTAL_", "FLASK_"))},
            "DATABASE_URL": database_url,
            "PORTAL_SECRET_KEY": SECRET_KEY,
            "PORT": str(self.port),
        }

    def start(self) -> None:
        """Start it, by itself; returns when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                SERVE,
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._before,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"The portal did not start:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """The end of all its processes in the middle of whatever they do."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_SECONDS)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        return self.process.wait(WAIT_SECONDS), time.monotonic() - began

    def end(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()

    def workers(self) -> list[int]:
        """The process ids of the workers that run."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def memory(self) -> int:
        """The resident memory of all workers, in bytes."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.workers())
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")

    # What programs do

    def request(
        self, method: str, path: str, body: Any = None, headers: dict | None = None, seconds=15
    ) -> Answer:
        """One request on a connection of its own."""
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)) as it:
            it.request(method, path, body, headers or {})
            return Answer(it.getresponse(), time.monotonic() - began)

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path: str, data: dict, headers: dict | None = None) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.request("POST", path, urlencode(data, doseq=True), form)

    def post_form(self, path: str, data: dict) -> Answer:
        """What a browser without a session posts from a page of ours."""
        page = self.get(path)
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page.body)[1].decode()
        cookie = page.headers["Set-Cookie"].split(";")[0]
        return self.post(path, {"csrf_token": token, **data}, {"Cookie": cookie})

    def serving(self, rp: RelyingApp) -> RelyingApp:
        """The same application, as it calls this server."""
        return RelyingApp(self, rp.application, rp.secret)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)


class Load:
    """Threads that do one thing again and again; `with Load(4, act) as load: …`.

    `done` has what `act` returned, `failed` the errors of the network. A thread ends with the
    block, or after `most` turns.
    """

    def __init__(self, threads: int, act: Callable[[], Any], most: int = 5000) -> None:
        self._act, self._most, self._over = act, most, threading.Event()
        self.done: list[Any] = []
        self.failed: list[Exception] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def _work(self) -> None:
        for _ in range(self._most):
            if self._over.is_set():
                return
            try:
                self.done.append(self._act())
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(error)
                self._over.wait(0.02)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"


def wait_until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> float:
    """Wait until it is so; the seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get_code(rp: RelyingApp, browser: FlaskClient) -> str:
    """An authorisation code, as a person's browser brings it."""
    response = rp.authorize(browser)
    if response.status_code == 200:
        response = rp.decide(browser, response)
    return query(response)["code"]


def cookie_of(browser: FlaskClient) -> dict[str, str]:
    """The session of a signed-in browser, as a header."""
    return {"Cookie": f"portal_session={browser.get_cookie('portal_session').value}"}
