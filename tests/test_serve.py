"""The production server, for real: its own process, its own port, its own database."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
START_SECONDS = 30


class Server:
    """One `serve`, and what it printed when it was ready."""

    def __init__(self, environ: dict[str, str], port: int, *options: str) -> None:
        self.port = port
        self.process = subprocess.Popen(
            [*FLASK, "serve", "--json", "--port", str(port), *options],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ready(self) -> dict[str, Any]:
        """Wait for the ready line."""
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        watchdog.cancel()
        assert lines, self.process.stderr.read()
        return json.loads("".join(lines))

    def get(self, path: str, seconds: float = 5) -> int:
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            return urllib.request.urlopen(url, timeout=seconds).status
        except urllib.error.HTTPError as error:
            return error.code

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20), time.monotonic() - began

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


FLASK = (sys.executable, "-m", "flask", "--app", "wsgi")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PORTAL_")}
    kept.pop("PORT", None)
    return {
        **kept,
        "DATABASE_URL": f"sqlite:///{tmp_path}/portal.db",
        "PORTAL_SECRET_KEY": "k" * 40,
    }


@pytest.fixture
def start(environ) -> Iterator:
    servers: list[Server] = []

    def make(*options: str, port: int | None = None) -> Server:
        servers.append(Server(environ, port or free_port(), *options))
        return servers[-1]

    yield make
    for server in servers:
        server.end()


def get_token(port: int, secret: str) -> int:
    basic = base64.b64encode(f"demo:{secret}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    with closing(connection):
        body = "grant_type=client_credentials&scope=reports:read"
        connection.request("POST", "/oauth/token", body, headers)
        return connection.getresponse().status


def test_the_ready_line_comes_when_the_server_answers_and_its_secret_works(start):
    server = start("--demo")
    shown = server.ready()
    assert server.get("/healthz") == server.get("/readyz") == 200
    assert shown["address"] == f"http://localhost:{server.port}"
    assert shown["setup_link"].startswith(f"{shown['address']}/setup/")
    assert shown["curl"].endswith(f"{shown['address']}/oauth/token")
    assert get_token(server.port, shown["client_secret"]) == 200


def test_it_refuses_to_start_on_an_old_schema(environ):
    assert run(environ, "db", "upgrade").returncode == 0
    with closing(sqlite3.connect(environ["DATABASE_URL"].removeprefix("sqlite:///"))) as file:
        file.execute("DELETE FROM schema_migration WHERE name LIKE '0024%'")
        file.commit()
    done = run(environ, "serve", "--port", str(free_port()))
    assert done.returncode == 1
    assert done.stderr == (
        "Error: The database is not up to date: run flask --app wsgi db upgrade first.\n"
    )


def test_it_refuses_to_start_where_there_is_no_portal(environ):
    done = run(environ, "serve", "--port", str(free_port()))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: There is no portal in {environ['DATABASE_URL']} yet:")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line_and_leaves_the_demo_secret_alone(start, environ):
    server = start("--demo")
    shown = server.ready()
    done = run(environ, "serve", "--demo", "--port", str(server.port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"Port {server.port} is in use" in done.stderr
    assert f"make run PORT={server.port + 1}" in done.stderr
    assert get_token(server.port, shown["client_secret"]) == 200


@pytest.mark.parametrize(
    "options", [("--port", "0"), ("--port", "x"), ("--workers", "0"), ("--threads", "many")]
)
def test_options_that_cannot_be(environ, options):
    done = run(environ, "serve", *options)
    assert done.returncode == 2
    assert re.fullmatch(r"Error: .+\n", done.stderr)


def test_an_address_of_another_machine_is_told_apart_from_a_port_in_use(environ):
    done = run(environ, "serve", "--host", "192.0.2.1")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: 192.0.2.1 is no address of this machine: choose another one, for example"
        " --host 127.0.0.1.\n"
    )


def test_two_starts_may_share_a_new_database(start):
    first, second = start("--demo"), start("--demo")
    for server in (first, second):
        server.ready()
        assert server.get("/readyz") == 200


def test_sigterm_under_load_cuts_no_request(start):
    server = start("--demo")
    secret = server.ready()["client_secret"]
    answers: list[object] = []

    def load() -> None:
        while True:
            try:
                answers.append(get_token(server.port, secret))
            except ConnectionRefusedError:
                return
            except OSError as error:
                answers.append(error)
                return

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    code, seconds = server.stop()
    for thread in threads:
        thread.join()
    assert code == 0
    assert seconds < 10
    # A connection that the kernel took for a server already gone is reset before it is read,
    # perhaps while the request is still being sent.
    never_read = (ConnectionResetError, BrokenPipeError)
    resets = [answer for answer in answers if isinstance(answer, never_read)]
    assert len(resets) <= len(threads)
    assert {answer for answer in answers if answer not in resets} == {200}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_connection_that_is_kept_open_is_told_of_the_end_and_not_reset(start, number):
    """A proxy would answer its own client 502 for each that is closed under its hands."""
    server = start("--demo", "--workers", "2")
    server.ready()
    kept = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(6)]
    for connection in kept:
        get_over(connection)
    os.killpg(server.process.pid, number)  # SIGHUP goes to all of them, as from a terminal
    told = 0
    while kept:
        connection = kept.pop(0)
        if get_over(connection) == "close":
            told += 1
            connection.close()
        else:
            kept.append(connection)
    assert told == 6
    assert server.process.wait(20) == 0


def get_over(connection: http.client.HTTPConnection) -> str | None:
    """Ask over an open connection; what the answer says about keeping it."""
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read()
    return answer.getheader("Connection")


def test_a_file_has_one_date(start):
    server = start("--demo")
    server.ready()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request("GET", "/static/portal.css")
        assert len(connection.getresponse().headers.get_all("Date")) == 1


def test_nohup_keeps_it_running(environ, start):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = start("--demo")
    finally:
        signal.signal(signal.SIGHUP, before)
    server.ready()
    os.killpg(server.process.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert server.get("/healthz") == 200


@pytest.mark.parametrize("milliseconds", [0, 5, 15, 50, 200])
def test_it_ends_as_soon_as_it_has_begun(start, milliseconds):
    server = start("--demo")
    deadline = time.monotonic() + START_SECONDS
    while len(workers_of(server)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(milliseconds / 1000)
    code, seconds = server.stop()
    assert code == 0
    assert seconds < 5
    assert "Traceback" not in server.process.stderr.read()


def test_ctrl_c_ends_it_at_once(start):
    server = start("--demo")
    server.ready()
    time.sleep(0.3)
    began = time.monotonic()
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does
    assert server.process.wait(20) == 0
    assert time.monotonic() - began < 3


def test_a_killed_server_leaves_the_port_free(start):
    server = start("--demo")
    server.ready()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    time.sleep(1)
    assert start("--demo", port=server.port).ready()


def test_stalled_uploads_stop_nobody_and_not_the_exit_either(start):
    server = start("--demo")
    server.ready()
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for connection in stalled:
        connection.sendall(
            b"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 1000\r\n\r\ngrant_type="
        )
    time.sleep(0.5)
    began = time.monotonic()
    assert server.get("/.well-known/oauth-authorization-server") == 200
    assert time.monotonic() - began < 1
    code, seconds = server.stop()
    for connection in stalled:
        connection.close()
    assert code == 0
    assert seconds < 10


def test_whoever_watches_is_answered_while_everybody_waits_for_the_database(start, environ):
    server = start("--demo")
    secret = server.ready()["client_secret"]
    answers: list[int] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(get_token(server.port, secret)))
        for _ in range(16)
    ]
    path = environ["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for thread in waiting:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        for _ in range(8):  # both workers
            assert server.get("/healthz") == server.get("/readyz") == 200
        assert time.monotonic() - began < 2
        assert answers == []
        other.execute("ROLLBACK")
    for thread in waiting:
        thread.join()
    assert answers == [200] * 16


def test_a_body_that_is_too_long_is_refused_and_not_kept(start):
    server = start("--demo")
    server.ready()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"x" * 300_000, iter([b"x" * 100_000] * 3)):
        connection.request("POST", "/oauth/token", body, headers)
        assert connection.getresponse().status == 413
        connection.close()


def test_two_workers_count_together_and_log_as_json(start, environ, tmp_path):
    token = "m" * 40
    environ |= {"PORTAL_METRICS_TOKEN": token, "TMPDIR": str(tmp_path)}
    environ |= {"PORTAL_LOG": "json", "PORTAL_ACCESS_LOG": "1", "PORTAL_LOG_LEVEL": "debug"}
    server = start("--demo", "--workers", "2")
    secret = server.ready()["client_secret"]
    issued = 0
    (folder,) = tmp_path.glob("portal-metrics-*")
    # Each connection goes to the worker that takes it first.
    while len(list(folder.glob("counter_*.db"))) < 2 and issued < 400:
        assert get_token(server.port, secret) == 200
        issued += 1
    assert len(list(folder.glob("counter_*.db"))) == 2
    for _ in range(4):  # whoever answers
        text = metrics(server.port, token)
        assert f'tokens_issued_total{{grant="client_credentials"}} {issued}.0' in text
        assert f'_count{{endpoint="oauth.token",status="200"}} {issued}.0' in text
    assert server.stop()[0] == 0
    assert not folder.exists()
    lines = [json.loads(line) for line in server.process.stderr.read().splitlines()]
    routes = [line["route"] for line in lines if line["logger"] == "portal.access"]
    assert routes.count("/oauth/token") == issued
    assert routes.count("/metrics") == 4
    # Whoever waited for the disk, too, is found by the id that the answer carried.
    assert len({line["request_id"] for line in lines}) == len(lines)
    assert secret not in str(lines)
    assert token not in str(lines)


def metrics(port: int, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    return urllib.request.urlopen(request, timeout=5).read().decode()


def run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLASK, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def workers_of(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_worker_that_is_alone_maps_the_database(start, tmp_path, workers):
    """SQLite would map it anew whenever another one wrote."""
    server = start("--demo", "--workers", str(workers))
    secret = server.ready()["client_secret"]
    assert {get_token(server.port, secret) for _ in range(20)} == {200}
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in workers_of(server)]
    assert len(maps) == workers
    assert any(f"{tmp_path}/portal.db\n" in lines for lines in maps) is (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_starts_without_its_database_says_so(start, tmp_path, workers):
    server = start("--demo", "--workers", str(workers))
    server.ready()
    path = tmp_path / "portal.db"
    path.rename(tmp_path / "away.db")
    path.mkdir()
    for pid in workers_of(server):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            assert (server.get("/healthz"), server.get("/readyz")) == (200, 503)
            return
        except OSError:  # no worker yet
            time.sleep(0.1)
    raise AssertionError("nobody answers")
