"""The production server: granian, its workers, and a graceful end."""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from peewee import OperationalError

from portal import sweep
from portal.database import on_sqlite
from portal.disk import putting_off
from portal.security import MACHINE_ENDPOINTS, MAX_BODY_BYTES

log = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
WORKERS = 2
THREADS = 2
#: Threads that receive a request's body, a worker; those alone that have a turn use the database.
RECEIVERS = 48
#: A thread that ends takes its SQLite connection along; ten minutes is granian's most.
THREAD_IDLE_SECONDS = 600
#: How long requests may take to finish after SIGTERM; the whole exit stays under ten seconds.
GRACE_SECONDS = 7
READY_SECONDS = 60
#: Whoever watches is answered at once, also when each turn waits for a database that hangs.
WITHOUT_TURN = {"/healthz", "/readyz", "/metrics"}
#: So much of a body that is too long is read and thrown away before the answer.
DISCARDED_BYTES = 32 * 1024 * 1024
#: What is sent when the disk did not keep what was about to be answered.
UNAVAILABLE = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("Retry-After", "5"),
)
#: How the number of turns reaches the workers.
TURNS = "SERVE_TURNS"

Environ = dict[str, Any]


class CannotListen(Exception):
    """The address is not to be had; the text says why, without a full stop."""


def resolve(host: str, port: int) -> str:
    """The IP address to listen on; CannotListen when it or the port is not free.

    granian itself would share the port with another portal and split the requests between them.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        raise CannotListen(f"There is no host {host} here") from None
    except PermissionError:
        raise CannotListen(f"Port {port} needs more rights than you have") from None
    except OSError as error:
        in_use = f"Port {port} is in use"
        raise CannotListen(in_use if error.errno == 98 else error.strerror or in_use) from None
    return str(address[0])


def run(
    address: str,
    port: int,
    workers: int,
    threads: int,
    log: dict[str, Any],
    on_ready: Callable[[], None],
) -> None:
    """Serve `wsgi:app` until SIGTERM or Ctrl+C; `on_ready` is called once it really answers.

    Each worker imports `wsgi` anew, so settings reach it through the environment alone. `log` is
    the set-up of the log, as `logging.config` takes it.
    """
    sys.modules.pop("wsgi", None)
    os.environ["PORT"] = str(port)
    os.environ[TURNS] = str(threads)
    server = Granian(
        "portal.serve:patient_app",
        factory=True,
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=max(RECEIVERS, threads),
        blocking_threads_idle_timeout=THREAD_IDLE_SECONDS,
        workers_kill_timeout=GRACE_SECONDS,
        # Otherwise one worker's death would be everybody's.
        respawn_failed_workers=True,
        websockets=False,
        working_dir=ROOT,
        log_access=False,
        log_level=LogLevels.error,
        log_dictconfig=log,
    )
    watcher = threading.Thread(target=_when_ready, args=(address, port, on_ready), daemon=True)
    server.on_startup(watcher.start)
    # What is loaded by now stays in memory that the workers share.
    gc.freeze()
    server.serve()


def patient_app() -> Callable[[Environ, Callable], Iterable[bytes]]:
    """`wsgi:app` for a worker: it waits for a request's body before it takes a thread's turn.

    Few turns are fastest, for Python's threads get in each other's way; but few threads alone
    would let a handful of stalled uploads stop everybody.
    """
    # Ctrl+C goes to the whole group. The parent alone answers it, by SIGTERM to its workers: two
    # signals at once can leave a worker of granian waiting for a lock that it holds itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = import_module("wsgi").app
    sweep.start(app)
    pages = threading.BoundedSemaphore(int(os.environ[TURNS]))
    # What machines ask takes less time than two threads would lose to each other, and SQLite
    # writes one after the other anyhow.
    machines = threading.Lock() if on_sqlite() else pages

    def call(environ: Environ, start_response: Callable) -> Iterable[bytes]:
        if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
            _receive(environ)
            if _is_cut(environ):
                # Half a form must not be acted upon. Nobody is there to read why.
                start_response("400 Bad Request", [("Content-Length", "0")])
                return []
        if environ["PATH_INFO"] in WITHOUT_TURN:
            return app(environ, start_response)
        turn = machines if environ["PATH_INFO"] in MACHINE_ENDPOINTS else pages
        try:
            # The next one works while this one waits for the disk.
            with putting_off(), turn:
                return app(environ, start_response)
        except OperationalError as error:
            log.error("database: %s", error)
            start_response("503 SERVICE UNAVAILABLE", [*UNAVAILABLE])
            return [b'{"error": "temporarily_unavailable"}']

    return call


def _receive(environ: Environ) -> None:
    """Take in the request's body; of one that is too long only enough for the app to see that."""
    stream = environ["wsgi.input"]
    body = stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        # Most clients send everything before they read that it was too much.
        for _ in range(DISCARDED_BYTES // MAX_BODY_BYTES):
            if not stream.read(MAX_BODY_BYTES):
                break
    if environ.pop("HTTP_TRANSFER_ENCODING", None):
        # Its end has been seen, so the app may know the length.
        environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = BytesIO(body)


def _is_cut(environ: Environ) -> bool:
    """Whether the client went away before it had sent all that it announced."""
    announced = int(environ["CONTENT_LENGTH"])
    return environ["wsgi.input"].getbuffer().nbytes < min(announced, MAX_BODY_BYTES + 1)


def _end_with_parent() -> None:
    """Leave no worker behind on the port when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _when_ready(address: str, port: int, on_ready: Callable[[], None]) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104
    url = f"http://[{host}]:{port}/healthz" if ":" in host else f"http://{host}:{port}/healthz"
    for _ in range(READY_SECONDS * 20):
        time.sleep(0.05)
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                on_ready()
                return
        except OSError:  # not yet
            continue
