"""A worker of `serve`: hands granian's requests (RSGI) to the WSGI application.

One thread takes the requests in and answers those of the protocol by itself: that is done before
they could be handed to another thread. Pages go to threads of their own, and so does whatever must
wait: for PostgreSQL, for a lock, for the disk. A body is taken in before anybody works on it,
so stalled uploads hold nobody up.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from typing import Any, NamedTuple

from peewee import OperationalError

from portal import sweep
from portal.database import Busy, lose_patience, on_sqlite
from portal.disk import Disk, putting_off
from portal.security import MACHINE_ENDPOINTS, MAX_BODY_BYTES

log = logging.getLogger(__name__)

#: How the number of threads for pages reaches the workers.
THREADS = "SERVE_THREADS"
#: Whoever watches is answered at once, also when every page waits for a database that hangs.
WATCHED = {"/healthz", "/readyz", "/metrics"}
#: What applications ask, and send people to. Nothing here hashes a password, which takes long.
AT_ONCE = (*MACHINE_ENDPOINTS, "/oauth/authorize", "/oauth/userinfo", "/oauth/jwks")
#: So much of a body that is too long is read and thrown away before the answer.
DISCARDED_BYTES = 32 * 1024 * 1024
#: An answer that is longer is sent while it is made.
STREAMED_BYTES = 1024 * 1024

Environ = dict[str, Any]
App = Callable[[Environ, Callable], Iterable[bytes]]
Headers = list[tuple[str, str]]


class Answer(NamedTuple):
    """What a WSGI application said. `more` is the rest of an answer that is still being made."""

    status: int
    headers: Headers
    body: bytes
    more: Iterator[bytes] | None = None


#: When the disk did not keep what was about to be answered.
UNAVAILABLE = Answer(
    503,
    [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Retry-After", "5")],
    b'{"error": "temporarily_unavailable"}',
)
#: Half a form must not be acted upon. Nobody is there to read why.
CUT = Answer(400, [], b"")


def make_worker() -> Callable:
    """What granian calls in each worker, once."""
    # Ctrl+C goes to the whole group. The parent alone answers it, by SIGTERM to its workers: two
    # signals at once can leave a worker of granian waiting for a lock that it holds itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = import_module("wsgi").app
    sweep.start(app)
    return Worker(app, int(os.environ[THREADS])).handle


def _end_with_parent() -> None:
    """Leave no worker behind on the port when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Worker:
    """Decides in which thread a request is answered, and answers it."""

    def __init__(self, app: App, threads: int) -> None:
        self._app = app
        self._pages = ThreadPoolExecutor(threads, "page")
        self._patient = ThreadPoolExecutor(threads, "patient")
        self._watch = ThreadPoolExecutor(2, "watch")
        self._flushes = Flushes()
        # PostgreSQL is asked over the network: meanwhile this thread has other things to do.
        self._at_once = frozenset(AT_ONCE if on_sqlite() else ())

    async def handle(self, scope: Any, protocol: Any) -> None:
        """One request, as RSGI hands it over."""
        environ = make_environ(scope)
        if not await _receive(environ, protocol):
            answer = CUT
        elif environ["PATH_INFO"] in self._at_once:
            answer = await self._answer_at_once(environ)
        else:
            pool = self._watch if environ["PATH_INFO"] in WATCHED else self._pages
            answer = await _in(pool, _ask, self._app, environ)
        if answer.more is None:
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        else:
            await self._stream(answer, answer.more, protocol)

    async def _answer_at_once(self, environ: Environ) -> Answer:
        lose_patience()
        try:
            with putting_off() as owed:
                answer = _ask(self._app, environ)
            for disk in owed:
                await self._flushes.wait(disk)
        except Busy:
            environ["wsgi.input"].seek(0)
            # In threads of their own: pages that only read need not wait for who writes.
            return await _in(self._patient, _ask, self._app, environ)
        except OperationalError as error:
            log.error("database: %s", error)
            return UNAVAILABLE
        return answer

    async def _stream(self, answer: Answer, more: Iterator[bytes], protocol: Any) -> None:
        transport = protocol.response_stream(answer.status, answer.headers)
        chunk: bytes | None = answer.body
        while chunk is not None:
            await transport.send_bytes(chunk)
            chunk = await _in(self._pages, next, more, None)


class Flushes:
    """Many requests wait for the disk, and one thread sees to it (see `portal.disk`)."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "disk")
        self._waiting: list[asyncio.Future] = []
        self._runs = False

    def wait(self, disk: Disk) -> asyncio.Future:
        """Done when what was committed before is on the disk; OperationalError when it is not."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if not self._runs:
            self._run(disk)
        return waiter

    def _run(self, disk: Disk) -> None:
        self._runs = True
        # Whoever comes later may have committed too late for this one.
        served, self._waiting = self._waiting, []

        def end(flush: asyncio.Future) -> None:
            error = flush.exception()
            for waiter in served:
                if waiter.done():  # the client went away
                    continue
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
            self._runs = False
            if self._waiting:
                self._run(disk)

        _in(self._thread, disk.flush).add_done_callback(end)


def _in(pool: ThreadPoolExecutor, call: Callable, *arguments: Any) -> asyncio.Future:
    return asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def _ask(app: App, environ: Environ) -> Answer:
    """Call the WSGI application and take in what it says (PEP 3333)."""
    status, headers = 500, []

    def start_response(line: str, given: Headers, exc_info: object = None) -> None:
        nonlocal status, headers
        status, headers = int(line[:3]), given

    body = app(environ, start_response)
    if isinstance(body, list):
        return Answer(status, headers, b"".join(body))
    chunks, size, rest = [], 0, iter(body)
    for chunk in rest:
        chunks.append(chunk)
        size += len(chunk)
        if size > STREAMED_BYTES:
            return Answer(status, headers, b"".join(chunks), _closing(rest, body))
    getattr(body, "close", _nothing)()
    return Answer(status, headers, b"".join(chunks))


def _closing(rest: Iterator[bytes], body: Any) -> Iterator[bytes]:
    try:
        yield from rest
    finally:
        getattr(body, "close", _nothing)()


def _nothing() -> None:
    """What a body without `close` does at its end."""


async def _receive(environ: Environ, protocol: Any) -> bool:
    """Take in the request's body; of one that is too long only enough for the app to see that.

    False when the client went away before it had sent all that it announced.
    """
    said = environ.get("CONTENT_LENGTH", "")
    if not said and "HTTP_TRANSFER_ENCODING" not in environ:
        return True
    announced = int(said) if said else None
    if announced is not None and announced <= MAX_BODY_BYTES:
        body = await protocol()
    else:
        body = await _receive_some(protocol)
    environ["wsgi.input"] = BytesIO(body)
    if announced is None:
        # Its end has been seen, so the app may know the length.
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(len(body))
        return True
    return len(body) >= min(announced, MAX_BODY_BYTES + 1)


async def _receive_some(protocol: Any) -> bytes:
    """As much as may be, and a little more where there is more."""
    chunks, size = [], 0
    async for chunk in protocol:
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        size += len(chunk)
        # Most clients send everything before they read that it was too much.
        if size > DISCARDED_BYTES:
            break
    return b"".join(chunks)[: MAX_BODY_BYTES + 1]


def make_environ(scope: Any) -> Environ:
    """The WSGI environment of a request without its body (PEP 3333)."""
    server, _, port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = _key(name)
        if key is None:
            continue
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value
    if scope.authority and "HTTP_HOST" not in environ:  # HTTP/2
        environ["HTTP_HOST"] = scope.authority
    return environ


@lru_cache(256)
def _key(header: str) -> str | None:
    """What a header is called in the environment.

    None for one with an underscore: it would pass for another, such as X-Forwarded-For.
    """
    if "_" in header:
        return None
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
