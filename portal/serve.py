"""The production server: granian, its workers, and a graceful end."""

import gc
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from portal import worker

ROOT = Path(__file__).parent.parent
WORKERS = 2
THREADS = 2
#: How long requests may take to finish after SIGTERM; the whole exit stays under ten seconds.
GRACE_SECONDS = 7
READY_SECONDS = 60


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
    os.environ[worker.THREADS] = str(threads)
    server = Granian(
        "portal.worker:make_worker",
        factory=True,
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        workers=workers,
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
