"""Who answers: each server a process tree of its own on loopback, started as people start it."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from bench.load import Plan, ask
from bench.seed import DAY, SECRET_KEY

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
STOP_SECONDS = 10
SETTLE_SECONDS = 3


class Failed(Exception):
    """A server that does not start, or not answer rightly; the text says what it said."""


def number(url: str, query: str) -> int:
    """The one number that a query finds in the database at `url`."""
    if url.startswith("postgresql:"):
        import psycopg

        with psycopg.connect(url) as connection:
            row = connection.execute(query).fetchone()
    else:
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            row = connection.execute(query).fetchone()
    return int(row[0] or 0) if row else 0


def refuse_filled(url: str) -> None:
    """Failed unless this is the address of a database without anything in it."""
    if url.startswith("sqlite:///"):
        filled = Path(url.removeprefix("sqlite:///")).exists()
    elif url.startswith("postgresql://"):
        filled = _has_tables(url)
    else:
        raise Failed("The database's address must start with sqlite:/// or postgresql://.")
    if filled:
        raise Failed("That database is in use: name an empty one, since it will be filled.")


def _has_tables(url: str) -> bool:
    import psycopg

    tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public'"
    try:
        return number(url, tables) > 0
    except psycopg.Error as error:
        raise Failed(f"The database does not answer: {error}") from None


class Server:
    """A running server: its port, its root process, and the database that it writes to."""

    def __init__(self, title: str, port: int, pid: int, cold_ms: float, url: str = "") -> None:
        self.title, self.port, self.pid = title, port, pid
        #: From its start to the first right answer.
        self.cold_ms = cold_ms
        self.url = url

    def count(self, query: str) -> int:
        """One number from the database, read beside the server."""
        return number(self.url, query)

    def settled(self, query: str) -> int:
        """The same, once the requests that were cut off at the end of a round are through."""
        last, end = self.count(query), time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            time.sleep(0.05)
            if (now := self.count(query)) == last:
                break
            last = now
        return last


@contextmanager
def running(
    title: str,
    command: list[str],
    probe: Plan,
    port: int,
    environ: Mapping[str, str],
    url: str = "",
) -> Iterator[Server]:
    """A server that lives as long as the block; `probe` is its first request.

    Raises Failed with what it printed when it does not answer that rightly in time.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PORTAL_", "DATABASE_"))}
    with TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean, **environ},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            problem = _first_answer(process, port, probe)
            cold_ms = (time.perf_counter() - began) * 1e3
            if problem:
                output.seek(0)
                raise Failed(f"{title}: {problem}\n{output.read()[-2000:]}")
            yield Server(title, port, process.pid, cold_ms, url)
        finally:
            _stop(process)


def _first_answer(process: subprocess.Popen, port: int, probe: Plan) -> str | None:
    """Wait for the first answer; returns what is wrong with it."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"it ended with code {process.returncode}."
        try:
            wrong = ask(port, probe)
        except OSError:  # not yet
            time.sleep(0.005)
        else:
            return wrong and f"it answered {wrong}"
    return f"no answer within {START_SECONDS} seconds."


def _stop(process: subprocess.Popen) -> None:
    """SIGTERM, and SIGKILL for whatever of its session is left after ten seconds."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Ports:
    """Free ports on loopback, counted up from the first one."""

    def __init__(self, first: int) -> None:
        self._next = first

    def take(self) -> int:
        while True:
            port, self._next = self._next, self._next + 1
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return port


def hello_command(port: int, workers: int, threads: int) -> list[str]:
    return [sys.executable, "-m", "bench.hello", *map(str, (port, workers, threads))]


def portal_command(port: int, workers: int, threads: int, app: str = "wsgi") -> list[str]:
    """`flask serve`, as the manual says."""
    return [
        *(sys.executable, "-m", "flask", "--app", app, "serve", "--port", str(port)),
        *("--workers", str(workers), "--threads", str(threads)),
    ]


def portal_environ(url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "PORTAL_SECRET_KEY": SECRET_KEY,
        "PORTAL_ACCESS_TOKEN_SECONDS": str(DAY),  # the tokens to introspect outlive the run
    }
