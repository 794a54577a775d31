"""The production server: granian, its workers, and a graceful end."""

import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from copy import deepcopy
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LOGGING_CONFIG, LogLevels

from portal.security import MAX_BODY_BYTES

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


def run(address: str, port: int, workers: int, threads: int, on_ready: Callable[[], None]) -> None:
    """Serve `wsgi:app` until SIGTERM or Ctrl+C; `on_ready` is called once it really answers.

    Each worker imports `wsgi` anew, so settings reach it through the environment alone.
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
        websockets=False,
        working_dir=ROOT,
        log_access=False,
        log_level=LogLevels.error,
        log_dictconfig=_log_to_stderr(),
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
    turns = threading.BoundedSemaphore(int(os.environ[TURNS]))

    def call(environ: Environ, start_response: Callable) -> Iterable[bytes]:
        if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
            # One byte more than is allowed, so that the app still sees that it is too much.
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(MAX_BODY_BYTES + 1))
        with turns:
            return app(environ, start_response)

    return call


def _end_with_parent() -> None:
    """Leave no worker behind on the port when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _log_to_stderr() -> dict[str, Any]:
    config: dict[str, Any] = deepcopy(LOGGING_CONFIG)
    for handler in config["handlers"].values():
        handler["stream"] = "ext://sys.stderr"
    return config


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
