"""The production server: its workers, and a graceful end."""

import errno
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
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from portal import worker

log = logging.getLogger(__name__)

WORKERS = 2
THREADS = 2
BACKLOG = 1024
#: How long requests may take to finish after SIGTERM; the whole exit stays under ten seconds.
GRACE_SECONDS = 7
READY_SECONDS = 60
#: A worker that dies at once is not replaced faster than this.
RESPAWN_SECONDS = 0.5
#: What ends the server.
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

fork = multiprocessing.get_context("fork")


class CannotListen(Exception):
    """The address is not to be had; the text says why, without a full stop."""


class NoSuchHost(CannotListen):
    """It is the host that this machine does not have."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; CannotListen when the host or the port is not to be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror:
        raise NoSuchHost(f"There is no host {host} here") from None
    except PermissionError:
        raise CannotListen(f"Port {port} needs more rights than you have") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise NoSuchHost(f"{host} is no address of this machine") from None
        in_use = f"Port {port} is in use"
        raise CannotListen(
            in_use if error.errno == errno.EADDRINUSE else error.strerror or in_use
        ) from None


def run(listening: socket.socket, workers: int, threads: int, on_ready: Callable[[], None]) -> None:
    """Serve `wsgi:app` until SIGTERM or Ctrl+C; `on_ready` is called once it really answers.

    `wsgi` is imported anew, since the port may have given the issuer another address.
    """
    os.environ["PORT"] = str(listening.getsockname()[1])
    sys.modules.pop("wsgi", None)
    app = import_module("wsgi").app
    # What is loaded by now stays in memory that the workers share.
    gc.freeze()

    def work() -> None:
        worker.run(app, listening, threads, GRACE_SECONDS, is_alone=workers == 1)

    # Once the workers have let go of it, too, whoever connects is refused and goes elsewhere.
    team = Team(workers, work, listening.close)
    threading.Thread(target=_when_ready, args=(listening, on_ready), daemon=True).start()
    team.work()


class Team:
    """Processes that do the same; one that dies is replaced until the team is told to stop."""

    def __init__(
        self, size: int, task: Callable[[], None], on_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._size, self._task, self._on_stop = size, task, on_stop
        self._members: list[BaseProcess] = []
        self._stops = False

    def work(self) -> None:
        """Return when every member has ended, after SIGTERM, Ctrl+C or the terminal's end."""
        for number in ENDS:
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup
                signal.signal(number, lambda *_: self._stop())
        while not self._stops:
            self._fill()
            if self._stops:
                break
            wait([member.sentinel for member in self._members])
            lost = [member for member in self._members if not member.is_alive()]
            if lost and not self._stops:
                log.error("a worker ended by itself and is replaced")
                time.sleep(RESPAWN_SECONDS)
        self._end()

    def _fill(self) -> None:
        self._members = [member for member in self._members if member.is_alive()]
        while len(self._members) < self._size and not self._stops:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
            member = fork.Process(target=self._member)
            member.start()
            self._members.append(member)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _member(self) -> None:
        # The others go to the whole group, but the members hear of them from the parent, by this
        # one; what the parent does at it is not for them.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if self._stops:
            return
        threading.Thread(target=_end_with_parent, daemon=True).start()
        self._task()

    def _stop(self) -> None:
        self._stops = True
        self._on_stop()
        for member in self._members:
            member.terminate()

    def _end(self) -> None:
        self._stop()  # whoever started while the signal came
        deadline = time.monotonic() + GRACE_SECONDS + 1
        for member in self._members:
            member.join(max(0, deadline - time.monotonic()))
            if member.is_alive():
                member.kill()
                member.join()


def _end_with_parent() -> None:
    """Leave no worker behind on the port when the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _when_ready(listening: socket.socket, on_ready: Callable[[], None]) -> None:
    address, port = listening.getsockname()[:2]
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
